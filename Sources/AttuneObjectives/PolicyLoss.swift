// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Losses that climb a reward with samples from the policy.
///
/// A method is one of these with an estimator of `Advantage`: `reinforce` with a running mean or a
/// value head is REINFORCE, with leave-one-out advantages RLOO; `ppo` with advantages of the whole
/// batch is REINFORCE++; the others come with group-normalised ones.
public enum PolicyLoss: String, CaseIterable, Codable, Sendable {
  case reinforce, ppo, grpo
  case drGrpo = "dr_grpo"
  case dapo, gspo, cispo

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .reinforce: "the policy gradient itself; no ratio, so one step a rollout"
    case .ppo: "clipped ratio to the sampling policy, a token, over the batch's tokens"
    case .grpo: "as ppo, each answer's tokens averaged first: long answers count less a token"
    case .drGrpo: "as ppo, summed over tokens and divided by a fixed length"
    case .dapo: "as ppo, clipped higher above than below"
    case .gspo: "one clipped ratio an answer: the geometric mean of its tokens' ratios"
    case .cispo: "policy gradient weighted by a ratio that is cut above and held constant"
    }
  }

  /// The formula of the loss to be minimised: q_t = e^{π_t − o_t}, n the tokens of a response, N those
  /// of the batch, B its responses, sg: held constant.
  public var formula: String {
    switch self {
    case .reinforce: "−Σ A_t·π_t / B"
    case .ppo: "−Σ min(q_t·A_t, clip(q_t, 1 ± 0.2)·A_t) / N"
    case .grpo: "−Σ min(q_t·A_t, clip(q_t, 1 ± 0.2)·A_t) / (n·B) + β·k3"
    case .drGrpo: "−Σ min(q_t·A_t, clip(q_t, 1 ± 0.2)·A_t) / (L_max·B)"
    case .dapo: "−Σ min(q_t·A_t, clip(q_t, 1 − 0.2, 1 + 0.28)·A_t) / N"
    case .gspo: "−Σ min(s·A, clip(s, 1 − 3e-4, 1 + 4e-4)·A) / B, s = e^{(π − o)/n}"
    case .cispo: "−Σ sg(min(q_t, 5))·A_t·π_t / N"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .reinforce: "Williams 1992; leave-one-out: Ahmadian et al. 2024, arXiv:2402.14740"
    case .ppo:
      "Schulman et al. 2017, arXiv:1707.06347; details: Huang et al. 2024, arXiv:2403.17031"
    case .grpo: "Shao et al. 2024, arXiv:2402.03300"
    case .drGrpo: "Liu et al. 2025, arXiv:2503.20783"
    case .dapo: "Yu et al. 2025, arXiv:2503.14476"
    case .gspo: "Zheng et al. 2025, arXiv:2507.18071"
    case .cispo: "MiniMax 2025, arXiv:2506.13585; bound of 5: ScaleRL, Khatri et al. 2025"
    }
  }

  /// The knobs that its paper uses.
  public var defaults: PolicySettings {
    var settings = PolicySettings()
    switch self {
    case .reinforce, .ppo, .drGrpo: break
    case .grpo: settings.klWeight = 0.04
    case .dapo: settings.clipHigh = 0.28
    case .gspo: (settings.clipLow, settings.clipHigh) = (3e-4, 4e-4)
    case .cispo: (settings.clipLow, settings.clipHigh) = (1, 4)
    }
    return settings
  }
}

/// A sampled response as the policy loss sees it: arrays over its tokens.
public struct PolicyRow: Sendable, Equatable {
  /// Log-probabilities under the policy that is trained.
  public var new: [Double]
  /// Log-probabilities under the policy that sampled, from the trainer's own forward pass.
  public var old: [Double]
  /// Advantages, computed once a rollout.
  public var advantages: [Double]
  /// Entropies under the policy that is trained; empty where the bonus is 0.
  public var entropies: [Double]
  /// Log-probabilities under the reference; empty where no KL term is in the loss.
  public var reference: [Double]
  /// Log-probabilities under what drew the response; empty where that was the policy with the
  /// trainer's own numbers.
  public var sampler: [Double]
  /// How much the response counts: 1 for a sample, its probability where all are enumerated.
  public var weight: Double

  /// Makes a row.
  ///
  /// - Parameters:
  ///   - new: Log-probabilities under the policy that is trained; not read by `statistics`.
  ///   - old: Log-probabilities under the policy that sampled.
  ///   - advantages: Advantages.
  ///   - entropies: Entropies, or empty.
  ///   - reference: Log-probabilities under the reference, or empty.
  ///   - sampler: Log-probabilities under what drew the response, or empty.
  ///   - weight: How much the response counts.
  public init(
    new: [Double], old: [Double], advantages: [Double], entropies: [Double] = [],
    reference: [Double] = [], sampler: [Double] = [], weight: Double = 1
  ) {
    self.new = new
    self.old = old
    self.advantages = advantages
    self.entropies = entropies
    self.reference = reference
    self.sampler = sampler
    self.weight = weight
  }
}

/// The knobs of a KL term in the loss, beside its weight.
public struct KLTermSettings: Codable, Sendable, Equatable {
  /// Its estimator. Per token it counts what a token does to its own KL, not to that of later ones.
  public var klEstimator = KLEstimator.k3
  /// Whether the term is of the whole response: then k2 has the gradient of KL(π‖ρ).
  public var klPerSequence = false
  /// Whether `k3` is weighted by e^{π−o}, which gives a whole response's the gradient of KL(π‖ρ).
  public var klRatioWeighted = false

  /// The defaults.
  public init() {}
}

/// The knobs of the policy losses.
public struct PolicySettings: Codable, Sendable, Equatable {
  /// ε below 1: the ratio is clipped at 1 − clipLow.
  public var clipLow = 0.2
  /// ε above 1: the ratio is clipped at 1 + clipHigh; `cispo` cuts its weight there.
  public var clipHigh = 0.2
  /// For A < 0 the loss is at most −c·A with this c > 1 (3 is usual); `nil` is off.
  public var dualClip: Double?
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// β of a KL term in the loss; 0 where it is in the reward.
  public var klWeight = 0.0
  /// How that term is estimated.
  public var klTerm = KLTermSettings()
  /// What makes up for responses that were drawn with other numbers than the trainer's.
  public var correction = SamplerCorrection()
  /// L_max of `dr_grpo`: the token limit that its sums are divided by.
  public var maximumLength = 0
  /// Log-ratio above which the ratio continues as its tangent line.
  public var logRatioBound = exponentialBound

  /// The defaults.
  public init() {}

  /// A ratio that is clipped at 1 ± one number, and an entropy bonus.
  public init(clip: Double, entropyBonus: Double = 0) {
    (clipLow, clipHigh) = (clip, clip)
    self.entropyBonus = entropyBonus
  }
}

/// What a policy loss needs to know of the whole batch: lengths, no scores.
public struct PolicyStatistics: Sendable, Equatable {
  /// Weighted number of response tokens of the batch.
  public var tokens: Double
  /// Weighted number of responses.
  public var rows: Double
}

extension PolicyLoss {
  /// Phase one: counts the response tokens of the batch.
  ///
  /// - Parameters:
  ///   - rows: All responses that the optimiser step sees.
  ///   - settings: The knobs.
  /// - Throws: `ObjectiveError` for a knob out of range or arrays of different lengths.
  public func statistics(
    of rows: [PolicyRow], settings: PolicySettings = PolicySettings()
  ) throws -> PolicyStatistics {
    guard settings.clipLow >= 0, settings.clipLow <= 1, settings.clipHigh >= 0 else {
      throw ObjectiveError(.badSetting, "clipLow must be within 0…1, clipHigh at least 0")
    }
    if let dual = settings.dualClip, !(dual > 1) {
      throw ObjectiveError(.badSetting, "dualClip must be above 1")
    }
    guard settings.logRatioBound > 0, settings.logRatioBound <= 300 else {
      throw ObjectiveError(.badSetting, "logRatioBound must be within 0…300")
    }
    guard settings.klWeight >= 0, settings.klWeight.isFinite else {
      throw ObjectiveError(.badSetting, "klWeight must be at least 0")
    }
    guard !settings.klTerm.klRatioWeighted || settings.klTerm.klEstimator == .k3 else {
      throw ObjectiveError(.badSetting, "klRatioWeighted is of k3, not of the other estimators")
    }
    guard settings.correction.importanceCap >= 1 else {
      throw ObjectiveError(.badSetting, "importanceCap must be at least 1")
    }
    guard self != .drGrpo || settings.maximumLength > 0 else {
      throw ObjectiveError(
        .badSetting, "dr_grpo needs maximumLength, the token limit that its sums are divided by")
    }
    for (i, row) in rows.enumerated() {
      guard row.old.count == row.advantages.count else {
        throw ObjectiveError(
          .badRows,
          "response \(i + 1) of the batch has \(row.old.count) tokens and "
            + "\(row.advantages.count) advantages")
      }
      guard row.sampler.isEmpty || row.sampler.count == row.old.count else {
        throw ObjectiveError(
          .badRows,
          "response \(i + 1) of the batch has \(row.old.count) tokens and "
            + "\(row.sampler.count) log-probabilities of the sampler")
      }
      guard settings.klWeight == 0 || row.reference.count == row.old.count else {
        throw ObjectiveError(
          .badRows,
          "response \(i + 1) of the batch lacks the reference's log-probabilities, which a KL term "
            + "in the loss needs")
      }
      guard self != .gspo || Set(row.advantages).count <= 1 else {
        throw ObjectiveError(
          .badRows,
          "response \(i + 1) of the batch has a different advantage for each token; gspo reads one a "
            + "response")
      }
    }
    return PolicyStatistics(
      tokens: rows.reduce(0) { $0 + $1.weight * Double($1.old.count) },
      rows: rows.reduce(0) { $0 + $1.weight })
  }

  /// Phase two: loss, gradients on log-probabilities and entropies, metrics of a piece.
  ///
  /// Where responses say what drew them, a token's loss is weighted as `SamplerCorrection` has it. KL
  /// term and entropy bonus have the loss's own normaliser; a KL of whole responses is not divided
  /// by the response's length.
  ///
  /// - Parameters:
  ///   - rows: The responses of the piece, with current log-probabilities.
  ///   - statistics: From `statistics(of:settings:)` over the whole batch.
  ///   - settings: The same knobs.
  public func loss(
    _ rows: [PolicyRow], statistics: PolicyStatistics,
    settings: PolicySettings = PolicySettings()
  ) -> LossResult {
    var result = LossResult()
    let wantsEntropy = settings.entropyBonus != 0
    let responseScale = responseScale(statistics, settings)
    var (policy, bonus, kl) = (0.0, 0.0, 0.0)
    for row in rows {
      precondition(
        row.new.count == row.old.count && row.new.count == row.advantages.count,
        "one log-probability and advantage a token")
      precondition(
        row.entropies.count == row.new.count || (!wantsEntropy && row.entropies.isEmpty),
        "one entropy a token")
      precondition(
        row.reference.count == row.new.count || settings.klWeight == 0,
        "one reference log-probability a token")
      precondition(
        row.sampler.isEmpty || row.sampler.count == row.new.count,
        "one log-probability of the sampler a token")
      var gradient = row.new.map { _ in 0.0 }
      let w = row.weight
      let averages = self == .grpo || self == .gspo
      let scale = w * responseScale / (averages ? Double(max(1, row.new.count)) : 1)
      let whole = (row.new.reduce(0, +) - row.old.reduce(0, +)) / Double(max(1, row.new.count))
      for t in row.new.indices {
        let logRatio = self == .gspo ? whole : row.new[t] - row.old[t]
        let term = token(row.new[t], logRatio, row.advantages[t], settings)
        var tokenScale = scale
        if !row.sampler.isEmpty {
          let weight = settings.correction.weight(policy: row.old[t], sampler: row.sampler[t])
          tokenScale *= weight.value
          if settings.correction.importanceWeights != .none {
            result.metrics.addMean(.importanceCutShare, total: weight.isCut ? w : 0, weight: w)
          }
        }
        policy += tokenScale * term.value
        gradient[t] = tokenScale * term.slope

        result.metrics.addMean(.clipShare, total: term.clips ? w : 0, weight: w)
        if settings.dualClip != nil {
          result.metrics.addMean(.dualClipShare, total: term.dual ? w : 0, weight: w)
        }
        let ratio = boundedExp(logRatio, bound: settings.logRatioBound).value
        result.metrics.addMean(.klUpdateK1, total: -w * logRatio, weight: w)
        result.metrics.addMean(.klUpdateK3, total: w * (ratio - 1 - logRatio), weight: w)
        result.metrics.addMean(.ratioMean, total: w * ratio, weight: w)
        result.metrics.addMaximum(.ratioMaximum, ratio)
        result.metrics.addMean(
          .saturated, total: logRatio > settings.logRatioBound ? w : 0, weight: w)
      }
      if settings.klWeight > 0 {
        kl += Self.klTerm(row, scale, w * responseScale, settings, &gradient)
      }
      result.logProbabilities.append(gradient)
      if !row.entropies.isEmpty {
        let sum = row.entropies.reduce(0, +)
        bonus += scale * settings.entropyBonus * sum
        result.metrics.addMean(.entropy, total: w * sum, weight: w * Double(row.entropies.count))
      }
      if wantsEntropy {
        result.entropies.append(row.entropies.map { _ in -scale * settings.entropyBonus })
      }
    }
    result.loss = policy - bonus + kl
    result.metrics.add(.policyLoss, policy)
    if wantsEntropy { result.metrics.add(.entropyLoss, -bonus) }
    if settings.klWeight > 0 { result.metrics.add(.klLoss, kl) }
    return result
  }

  /// What a response's KL is multiplied with, and a token's loss before `grpo` and `gspo` divide it by
  /// the response's length: the normaliser that the method is named for.
  private func responseScale(
    _ statistics: PolicyStatistics, _ settings: PolicySettings
  ) -> Double {
    let divisor =
      switch self {
      case .ppo, .dapo, .cispo: statistics.tokens
      case .reinforce, .grpo, .gspo: statistics.rows
      case .drGrpo: statistics.rows * Double(settings.maximumLength)
      }
    return divisor > 0 ? 1 / divisor : 0
  }

  private func token(
    _ new: Double, _ logRatio: Double, _ advantage: Double, _ settings: PolicySettings
  ) -> PolicyTerm {
    switch self {
    case .reinforce: PolicyTerm(value: -advantage * new, slope: -advantage)
    case .ppo, .grpo, .drGrpo, .dapo, .gspo: Self.clipped(logRatio, advantage, settings)
    case .cispo: Self.cispo(new, logRatio, advantage, settings)
    }
  }

  /// Clipped ratio: −min(q·A, clip(q, 1 − ε_low, 1 + ε_high)·A), q = e^{π − o}.
  ///
  /// Gradient: ∂/∂π = −q·A where the clip does not bind, else 0. It binds where A > 0 and
  /// q > 1 + ε_high, or A < 0 and q < 1 − ε_low; with a dual clip c also where A < 0 and q > c, and
  /// the loss of the token is −c·A there. With `gspo` π − o is the mean over the response's tokens,
  /// each of which has 1/n of the derivative; the normaliser holds that 1/n.
  ///
  /// Paper: Schulman et al. 2017, arXiv:1707.06347; dual clip: Ye et al. 2020, arXiv:1912.09729;
  /// a ratio a response: Zheng et al. 2025, arXiv:2507.18071.
  /// Differs from the paper: above a log-ratio of 20 the ratio is its tangent line.
  private static func clipped(
    _ logRatio: Double, _ advantage: Double, _ settings: PolicySettings
  ) -> PolicyTerm {
    let ratio = boundedExp(logRatio, bound: settings.logRatioBound)
    let clipped = min(max(ratio.value, 1 - settings.clipLow), 1 + settings.clipHigh)
    let clips = clipped * advantage < ratio.value * advantage
    let surrogate = clips ? clipped * advantage : ratio.value * advantage
    if let c = settings.dualClip, advantage < 0, surrogate < c * advantage {
      return PolicyTerm(value: -c * advantage, slope: 0, clips: clips, dual: true)
    }
    return PolicyTerm(
      value: -surrogate, slope: clips ? 0 : -ratio.slope * advantage, clips: clips)
  }

  /// CISPO: −sg(min(q, 1 + ε_high))·A·π, so that a clipped token still has a gradient.
  ///
  /// Gradient: −min(q, 1 + ε_high)·A, the weight held constant. The value is that of the surrogate,
  /// not of a quantity whose derivative the gradient is.
  ///
  /// Paper: MiniMax 2025, arXiv:2506.13585. Differs from the paper: nothing; it uses no lower clip.
  private static func cispo(
    _ new: Double, _ logRatio: Double, _ advantage: Double, _ settings: PolicySettings
  ) -> PolicyTerm {
    let ratio = boundedExp(logRatio, bound: settings.logRatioBound).value
    let weight = min(ratio, 1 + settings.clipHigh)
    return PolicyTerm(
      value: -weight * advantage * new, slope: -weight * advantage, clips: weight < ratio)
  }

  /// Adds β·KL of a response to its gradient; which estimator reaches what stands at `KLEstimator`.
  private static func klTerm(
    _ row: PolicyRow, _ tokenScale: Double, _ responseScale: Double, _ settings: PolicySettings,
    _ gradient: inout [Double]
  ) -> Double {
    func estimate(_ new: Double, _ reference: Double, _ old: Double) -> (Double, Double) {
      if settings.klTerm.klRatioWeighted {
        return KLEstimator.weightedK3(policy: new, reference: reference, old: old)
      }
      let estimator = settings.klTerm.klEstimator
      return (
        estimator.value(policy: new, reference: reference),
        estimator.gradient(policy: new, reference: reference)
      )
    }
    guard !settings.klTerm.klPerSequence else {
      let scale = settings.klWeight * responseScale
      let (value, slope) = estimate(
        row.new.reduce(0, +), row.reference.reduce(0, +), row.old.reduce(0, +))
      for t in gradient.indices { gradient[t] += scale * slope }
      return scale * value
    }
    let scale = settings.klWeight * tokenScale
    var total = 0.0
    for t in gradient.indices {
      let (value, slope) = estimate(row.new[t], row.reference[t], row.old[t])
      gradient[t] += scale * slope
      total += scale * value
    }
    return total
  }
}

/// The loss of a token before it is normalised, and its derivative with respect to the
/// log-probability.
private struct PolicyTerm {
  var value: Double
  var slope: Double
  var clips = false
  var dual = false
}
