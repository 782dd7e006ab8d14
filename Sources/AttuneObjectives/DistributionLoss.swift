// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Losses that match a target distribution p(y|x) = P(y|x)/Z(x), known up to its normaliser, with
/// samples from a proposal q: P = ρ·e^{r/β}, or ρ restricted to what a constraint allows.
public enum DistributionLoss: String, CaseIterable, Codable, Sendable {
  case dpg
  case gdcPlusPlus = "gdc++"
  case fdpg, brain

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .dpg: "likelihood of samples weighted by target over proposal, which adapts"
    case .gdcPlusPlus: "dpg with a baseline: the weight minus the policy's own"
    case .fdpg: "policy gradient on a pseudo-reward that descends a chosen divergence"
    case .brain: "a prompt's samples: the policy's softmax to the target's, baseline included"
    }
  }

  /// The formula, with π, q log-probabilities of a response, p = P/Z, t = π/p, sg: held constant.
  public var formula: String {
    switch self {
    case .dpg: "−sg(p/q)·log π, mean over a prompt's samples"
    case .gdcPlusPlus: "−sg(p/q − π/q)·log π, on the policy's own samples −sg(p/π − 1)·log π"
    case .fdpg: "−sg((π/q)·(−f′(t) − B))·log π, B a running mean of −f′"
    case .brain: "−Σ α_i·log π̂_i, α = sg(softmax(log P − log q)), π̂ = softmax(log π − log q)"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .dpg:
      "Parshakova et al. 2019, arXiv:1912.08517; Z(x): Korbak et al. 2021, arXiv:2112.00791"
    case .gdcPlusPlus: "Korbak et al. 2022, arXiv:2206.00761"
    case .fdpg: "Go et al. 2023, arXiv:2302.08215"
    case .brain: "Pandey et al. 2024, arXiv:2402.02479"
    }
  }

  /// The settings that the loss reads; any other that is set is refused.
  public var reads: [DistributionSettings.Knob] { self == .fdpg ? [.divergence] : [] }

  /// Whether values of other rows of the batch are needed, which takes one more forward pass: the
  /// pseudo-rewards that B is the mean of.
  public var needsCurrentScores: Bool { self == .fdpg }

  /// Whether a proposal other than the policy of the last rollout may be kept for many steps, to be
  /// replaced when the policy is closer to the target (`ProposalFit`).
  public var keepsProposal: Bool { self == .dpg }
}

/// The knobs of the distribution-matching losses.
public struct DistributionSettings: Codable, Sendable, Equatable {
  /// A knob, by the name that a recipe has for it.
  public enum Knob: String, CaseIterable, Codable, Sendable {
    case divergence
  }

  /// The divergence that `fdpg` descends; `nil`: forward KL.
  public var divergence: TargetDivergence?

  /// The defaults.
  public init() {}

  /// The knobs that are not at their default.
  var set: [Knob] { divergence == nil ? [] : [.divergence] }
}

/// B of `fdpg`: passed in, returned, kept in the checkpoint.
public struct DistributionState: Codable, Sendable, Equatable {
  /// Running mean of the pseudo-reward −f′; `nil` before the first batch.
  public var baseline: Double?

  /// Before the first batch.
  public init() {}
}

/// What a distribution-matching loss needs to know of the whole batch.
public struct DistributionStatistics: Sendable, Equatable {
  /// Weight of the prompts whose samples the target has any mass on.
  public var groups: Double
  /// B of `fdpg`, constant in the gradient; 0 for the others.
  public var baseline: Double
  /// The state after this batch.
  public var state: DistributionState
}

/// How far policy and proposal are from the target, in nats, by samples of the proposal.
public struct ProposalFit: Sendable, Equatable {
  /// KL(p ‖ π).
  public var policy: Double
  /// KL(p ‖ q).
  public var proposal: Double

  /// Whether the policy is the better proposal now.
  public var policyIsCloser: Bool { policy < proposal }

  /// Estimates both, by self-normalised weights p/q within each prompt, mean over prompts.
  ///
  /// - Parameter groups: Samples of the proposal with the policy's current log-probabilities.
  /// - Returns: `nil` where the target has mass on no sample.
  public init?(_ groups: [DistributionGroup]) {
    var (policy, proposal, weight) = (0.0, 0.0, 0.0)
    for group in groups {
      guard let shares = group.shares else { continue }
      for (i, share) in shares.enumerated() where share > 0 {
        let target = group.target[i] - group.partition
        policy += group.weight * share * (target - group.policy[i])
        proposal += group.weight * share * (target - group.proposal[i])
      }
      weight += group.weight
    }
    guard weight > 0 else { return nil }
    self.policy = policy / weight
    self.proposal = proposal / weight
  }
}

extension DistributionLoss {
  /// Phase one: checks settings and rows, counts prompts, and moves the baseline of `fdpg`.
  ///
  /// B of a batch is the running mean of the batches before it, so that it does not depend on the
  /// samples it is taken from; the first batch has none and uses its own mean. Afterwards
  /// B ← B + 0.1·(mean of the batch − B).
  ///
  /// - Parameters:
  ///   - groups: All prompts that the optimiser step sees; `fdpg` reads the policy's log-probabilities.
  ///   - settings: The knobs.
  ///   - state: From the batch before.
  /// - Throws: `ObjectiveError` for a knob that the loss does not read, lists of different lengths, a
  ///   log-probability that is no number, one sample where Z(x) is not known, or a target without
  ///   mass on a sample where the divergence is infinite there.
  public func statistics(
    of groups: [DistributionGroup], settings: DistributionSettings = DistributionSettings(),
    state: DistributionState = DistributionState()
  ) throws -> DistributionStatistics {
    for knob in settings.set where !reads.contains(knob) {
      throw ObjectiveError(.badSetting, "\(rawValue) does not read \(knob.rawValue): leave it out")
    }
    for (index, group) in groups.enumerated() {
      try check(group, "prompt \(index + 1) of the batch", settings)
    }
    let used = groups.filter { $0.shares != nil }
    var statistics = DistributionStatistics(
      groups: used.reduce(0) { $0 + $1.weight }, baseline: 0, state: state)
    guard self == .fdpg else { return statistics }
    let divergence = settings.divergence ?? .forwardKL
    var (total, weight) = (0.0, 0.0)
    for group in used {
      let logZ = group.partition
      let share = group.weight / Double(group.policy.count)
      for i in group.policy.indices {
        let ratio = group.policy[i] - group.proposal[i]
        let logT = group.policy[i] - group.target[i] + logZ
        total += share * divergence.weighted(ratio: ratio, logT: logT).value
        weight += share * exp(min(ratio, exponentialBound))
      }
    }
    let mean = weight > 0 ? total / weight : 0
    let baseline = state.baseline ?? mean
    statistics.baseline = baseline
    statistics.state.baseline = baseline + 0.1 * (mean - baseline)
    return statistics
  }

  /// Phase two: loss, gradient on each sample's log-probability (one list a prompt, one number a
  /// sample, the same for all its tokens), metrics of a piece.
  ///
  /// The value of `dpg`, `gdc++` and `fdpg` is that of the surrogate whose weights are held constant,
  /// no progress bar: `distribution/kl_target_policy` is. A prompt whose samples the target has no
  /// mass on is left out.
  ///
  /// - Parameters:
  ///   - groups: The prompts of the piece, with current log-probabilities.
  ///   - statistics: From `statistics(of:settings:state:)` over the whole batch.
  ///   - settings: The same knobs.
  public func loss(
    _ groups: [DistributionGroup], statistics: DistributionStatistics,
    settings: DistributionSettings = DistributionSettings()
  ) -> LossResult {
    var result = LossResult()
    let scale = statistics.groups > 0 ? 1 / statistics.groups : 0
    for group in groups {
      let n = group.policy.count
      guard let shares = group.shares else {
        result.logProbabilities.append(group.policy.map { _ in 0 })
        result.metrics.addMean(.effectiveSampleShare, total: 0, weight: group.weight)
        continue
      }
      let weight = scale * group.weight
      var gradient = group.policy.map { _ in 0.0 }
      var (value, saturated) = (0.0, 0)
      if self == .brain {
        (value, gradient) = Self.brain(group, shares)
      } else {
        let logZ = group.partition
        for i in group.policy.indices {
          let ratio = group.policy[i] - group.proposal[i]
          let term = sample(
            ratio, group.target[i] - logZ - group.proposal[i],
            settings.divergence ?? .forwardKL, statistics.baseline)
          value -= term.weight * group.policy[i] / Double(n)
          gradient[i] = -term.weight / Double(n)
          if term.saturated { saturated += 1 }
        }
      }
      result.loss += weight * value
      result.logProbabilities.append(gradient.map { weight * $0 })
      result.metrics.add(.distributionLoss, weight * value)
      result.metrics.addMean(
        .saturated, total: group.weight * Double(saturated), weight: group.weight * Double(n))
      measure(group, shares, &result.metrics)
    }
    if self == .fdpg { result.metrics.addMaximum(.pseudoRewardBaseline, statistics.baseline) }
    return result
  }

  /// The constant that a sample's log-probability is multiplied with, for a loss of −weight·π.
  ///
  /// - Parameters:
  ///   - ratio: log π − log q.
  ///   - targetRatio: log p − log q.
  private func sample(
    _ ratio: Double, _ targetRatio: Double, _ divergence: TargetDivergence, _ baseline: Double
  ) -> (weight: Double, saturated: Bool) {
    switch self {
    case .dpg: Self.dpg(targetRatio)
    case .gdcPlusPlus: Self.gdcPlusPlus(ratio, targetRatio)
    case .fdpg: Self.fdpg(ratio, targetRatio, divergence, baseline)
    case .brain: preconditionFailure("brain's softmax is over a prompt's samples")
    }
  }

  /// DPG: −(p/q)·log π. Gradient: −p/q, the weight held constant; its mean is that of KL(p ‖ π).
  ///
  /// Paper: Parshakova et al. 2019, arXiv:1912.08517. Differs from the paper: the weight is cut at
  /// e²⁰, and Z(x) is each prompt's own (Korbak et al. 2021, arXiv:2112.00791).
  private static func dpg(_ targetRatio: Double) -> (weight: Double, saturated: Bool) {
    (exp(min(targetRatio, exponentialBound)), targetRatio > exponentialBound)
  }

  /// GDC++: −(p/q − π/q)·log π. Gradient: −(p/q − π/q), held constant; 0 where π = p.
  ///
  /// Paper: Korbak et al. 2022, arXiv:2206.00761. Differs from the paper: both weights are cut at
  /// e²⁰.
  private static func gdcPlusPlus(
    _ ratio: Double, _ targetRatio: Double
  ) -> (weight: Double, saturated: Bool) {
    (
      exp(min(targetRatio, exponentialBound)) - exp(min(ratio, exponentialBound)),
      max(ratio, targetRatio) > exponentialBound
    )
  }

  /// f-DPG: −(π/q)·(−f′(t) − B)·log π, t = π/p. Gradient: −(π/q)·(−f′(t) − B), held constant.
  ///
  /// Paper: Go et al. 2023, arXiv:2302.08215. Differs from the paper: products of ratios are one
  /// exponential, cut at e²⁰.
  private static func fdpg(
    _ ratio: Double, _ targetRatio: Double, _ divergence: TargetDivergence, _ baseline: Double
  ) -> (weight: Double, saturated: Bool) {
    let pseudo = divergence.weighted(ratio: ratio, logT: ratio - targetRatio)
    return (
      pseudo.value - baseline * exp(min(ratio, exponentialBound)),
      pseudo.saturated || ratio > exponentialBound
    )
  }

  /// BRAIn: −Σ α_i·log π̂_i, α = softmax(log P − log q) held constant, π̂ = softmax(log π − log q).
  /// Gradient: π̂_i − α_i, a self-normalised baseline.
  ///
  /// Paper: Pandey et al. 2024, arXiv:2402.02479. Differs from the paper: nothing.
  private static func brain(
    _ group: DistributionGroup, _ shares: [Double]
  ) -> (value: Double, gradient: [Double]) {
    let logs = zip(group.policy, group.proposal).map { $0 - $1 }
    let total = logSumExp(logs)
    var value = 0.0
    var gradient = shares
    for (i, share) in shares.enumerated() {
      if share > 0 { value -= share * (logs[i] - total) }
      gradient[i] = exp(logs[i] - total) - share
    }
    return (value, gradient)
  }

  private func measure(
    _ group: DistributionGroup, _ shares: [Double], _ metrics: inout MetricTotals
  ) {
    let w = group.weight
    let squares = shares.reduce(0) { $0 + $1 * $1 }
    metrics.addMean(
      .effectiveSampleShare, total: w / (squares * Double(shares.count)), weight: w)
    metrics.addMean(.logPartition, total: w * group.partition, weight: w)
    metrics.addMean(
      .targetShareEntropy,
      total: w * shares.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }, weight: w)
    if let fit = ProposalFit([group]) {
      metrics.addMean(.klTargetPolicy, total: w * fit.policy, weight: w)
      metrics.addMean(.klTargetProposal, total: w * fit.proposal, weight: w)
    }
  }

  private func check(
    _ group: DistributionGroup, _ place: String, _ settings: DistributionSettings
  ) throws {
    let n = group.policy.count
    guard group.target.count == n, group.proposal.count == n, n > 0 else {
      throw ObjectiveError(
        .badRows,
        "\(place) has \(n) samples, \(group.target.count) targets and \(group.proposal.count) "
          + "log-probabilities of the proposal; each sample needs one of each")
    }
    guard
      group.policy.allSatisfy(\.isFinite), group.proposal.allSatisfy(\.isFinite),
      group.target.allSatisfy({ $0.isFinite || $0 == -.infinity }),
      group.logPartition?.isFinite ?? true
    else {
      throw ObjectiveError(
        .badRows, "\(place) has a log-probability, reward or log Z that is not a number")
    }
    guard n > 1 || (group.logPartition != nil && self != .brain) else {
      throw ObjectiveError(
        .badRows,
        "\(place) has one sample, whose weight among itself is 1 whatever its reward: draw at least "
          + "2 samples a prompt")
    }
    if self == .fdpg, settings.divergence == .reverseKL, group.target.contains(-.infinity) {
      throw ObjectiveError(
        .badRows,
        "\(place) has a sample on which the target has no mass, where the reverse KL is infinite: "
          + "use another divergence")
    }
  }
}
