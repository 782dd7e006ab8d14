// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The samples of one prompt as distribution matching sees them: arrays over the samples, sums over
/// each response's tokens.
///
/// A batch may be cut between groups, never within one: log Z(x) and the softmax of `brain` are over
/// the whole of it.
public struct DistributionGroup: Sendable, Equatable {
  /// π of each sample under the policy that is trained.
  public var policy: [Double]
  /// log P of each sample: the target before it is normalised; −∞ where it has no mass.
  public var target: [Double]
  /// log q of each sample under the policy that drew it.
  public var proposal: [Double]
  /// log Z(x) where it is known; `nil`: estimated from the samples, of which there must be two.
  public var logPartition: Double?
  /// How much the prompt counts.
  public var weight: Double

  /// Makes a group.
  ///
  /// - Parameters:
  ///   - policy: Log-probabilities under the policy that is trained.
  ///   - target: Logarithms of the target, not normalised.
  ///   - proposal: Log-probabilities under the policy that drew the samples.
  ///   - logPartition: log Z(x), where it is known.
  ///   - weight: How much the prompt counts.
  public init(
    policy: [Double], target: [Double], proposal: [Double], logPartition: Double? = nil,
    weight: Double = 1
  ) {
    self.policy = policy
    self.target = target
    self.proposal = proposal
    self.logPartition = logPartition
    self.weight = weight
  }

  /// log P = ρ + r/β for each sample: the optimum of E r − β·KL(π ‖ ρ) before it is normalised.
  ///
  /// - Parameters:
  ///   - reference: ρ of each sample.
  ///   - rewards: r of each sample.
  ///   - beta: β, above 0.
  public static func target(
    reference: [Double], rewards: [Double], beta: Double
  ) -> [Double] {
    precondition(reference.count == rewards.count && beta > 0, "one reward a sample, beta above 0")
    return zip(reference, rewards).map { $0 + $1 / beta }
  }

  /// log P − log q of each sample.
  var logWeights: [Double] { zip(target, proposal).map { $0 - $1 } }

  /// log Z(x): as given, or logmeanexp(log P − log q) (Korbak et al. 2022 (CDPG), arXiv:2112.00791).
  var partition: Double {
    logPartition ?? logSumExp(logWeights) - log(Double(max(1, policy.count)))
  }

  /// α = softmax(log P − log q); `nil` where the target has no mass on any sample.
  var shares: [Double]? {
    let logs = logWeights
    let total = logSumExp(logs)
    return total.isFinite ? logs.map { exp($0 - total) } : nil
  }
}

/// Divergences from the policy to the target that `fdpg` descends, by f′ of t = π/p.
///
/// Paper: Go et al. 2023, arXiv:2302.08215.
public enum TargetDivergence: String, CaseIterable, Codable, Sendable {
  case forwardKL = "forward_kl"
  case reverseKL = "reverse_kl"
  case jensenShannon = "js"
  case totalVariation = "tv"
  case chiSquared = "chi2"

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .forwardKL: "f′ = −1/t: KL(p‖π), covers the target (dpg with a baseline)"
    case .reverseKL: "f′ = log t + 1: KL(π‖p), the KL-regularised reward"
    case .jensenShannon: "f′ = log(2t/(1 + t)): Jensen–Shannon, between the two"
    case .totalVariation: "f′ = ½·sign(log t): total variation, bounded pseudo-rewards"
    case .chiSquared: "f′ = 1 − t⁻²: χ², the most afraid of what the policy misses"
    }
  }

  /// (π/q)·(−f′) as one exponential of summed logs, cut at the bound, and whether it was cut.
  ///
  /// - Parameters:
  ///   - ratio: log π − log q.
  ///   - logT: log t = log π − log p; ∞ where the target has no mass.
  func weighted(ratio: Double, logT: Double) -> (value: Double, saturated: Bool) {
    let weight = exp(min(ratio, exponentialBound))
    let cut = ratio > exponentialBound
    switch self {
    case .forwardKL:
      // p/q, never (π/q)·(p/π).
      return (exp(min(ratio - logT, exponentialBound)), ratio - logT > exponentialBound)
    case .reverseKL: return (weight * (-logT - 1), cut)
    case .jensenShannon: return (weight * (softplus(-logT) - 0.693147180559945), cut)
    case .totalVariation:
      return (weight * (logT > 0 ? -0.5 : logT < 0 ? 0.5 : 0), cut)
    case .chiSquared:
      // p²/(π·q) − π/q.
      let exponent = ratio - 2 * logT
      return (exp(min(exponent, exponentialBound)) - weight, cut || exponent > exponentialBound)
    }
  }
}
