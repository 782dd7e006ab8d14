// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// What makes up for answers that were drawn with other numbers than the policy is trained with, such
/// as 8-bit codes of its weights: a token's loss is multiplied by q = e^{o − s}, o its log-probability
/// in the trainer's own pass over the policy that sampled, s that under what drew it. The weight is
/// held constant; a KL term in the loss and the entropy bonus are not weighted, as in TRL and verl.
///
/// The product of all weights of the tokens before would make it exact, with a variance that nobody can
/// bear. Paper: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
/// training"; truncated weights: Ionides 2008.
public struct SamplerCorrection: Codable, Sendable, Equatable {
  /// How large weights are kept in bounds.
  public enum Form: String, Codable, Sendable, CaseIterable {
    /// min(q, C).
    case truncate
    /// q, and 0 above C: such a token is not trained on.
    case mask
    /// No weights.
    case none

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .truncate: "the weight is cut at the cap"
      case .mask: "a token whose weight is above the cap is left out"
      case .none: "no weights"
      }
    }
  }

  /// How large weights are kept in bounds.
  public var importanceWeights = Form.truncate
  /// C, the cap of a token's weight.
  public var importanceCap = 2.0

  /// The defaults.
  public init() {}

  /// The weight of a token.
  ///
  /// - Parameters:
  ///   - policy: Its log-probability in the trainer's own pass.
  ///   - sampler: That under what drew it.
  /// - Returns: The weight, and whether the cap bound it.
  public func weight(policy: Double, sampler: Double) -> (value: Double, isCut: Bool) {
    guard importanceWeights != .none else { return (1, false) }
    let ratio = exp(policy - sampler)
    guard ratio > importanceCap else { return (ratio, false) }
    return (importanceWeights == .mask ? 0 : importanceCap, true)
  }
}

/// How far what drew some answers is from the policy in the trainer's own pass, from the answers'
/// tokens: q = e^{o − s} as in `SamplerCorrection`, nothing cut.
public struct SamplerGap: Sendable, Equatable {
  /// KL(sampler ‖ policy) in nats a token: the mean of q − 1 − log q, never negative.
  public let klPerToken: Double
  /// KL(policy ‖ sampler) in nats a token: the mean of q·log q − q + 1, never negative.
  public let reverseKLPerToken: Double
  /// Effective sample size of the tokens' weights over their number: (Σq)² / (n·Σq²).
  public let effectiveShare: Double

  /// Compares.
  ///
  /// - Parameters:
  ///   - policy: Log-probabilities of the answers' tokens in the trainer's own pass.
  ///   - sampler: Those under what drew them.
  /// - Returns: Nil if there are no tokens.
  public init?(policy: [[Double]], sampler: [[Double]]) {
    var (count, kl, reverse, sum, squares) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for (policy, sampler) in zip(policy.joined(), sampler.joined()) {
      let q = exp(policy - sampler)
      count += 1
      kl += q - 1 - (policy - sampler)
      reverse += q * (policy - sampler) - q + 1
      sum += q
      squares += q * q
    }
    guard count > 0 else { return nil }
    klPerToken = kl / count
    reverseKLPerToken = reverse / count
    effectiveShare = squares > 0 ? sum * sum / (count * squares) : 0
  }
}
