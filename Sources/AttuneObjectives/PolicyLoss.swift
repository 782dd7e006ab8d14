// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Losses that climb a reward with samples from the policy.
public enum PolicyLoss: String, CaseIterable, Codable, Sendable {
  /// Proximal policy optimisation: a clipped ratio to the sampling policy for each token.
  case ppo

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .ppo: "clipped ratio to the sampling policy, a token: −min(q·A, clip(q)·A)"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .ppo:
      "Schulman et al. 2017, arXiv:1707.06347; details: Huang et al. 2024, arXiv:2403.17031"
    }
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
  /// How much the response counts: 1 for a sample, its probability where all are enumerated.
  public var weight: Double

  /// Makes a row.
  ///
  /// - Parameters:
  ///   - new: Log-probabilities under the policy that is trained; not read by `statistics`.
  ///   - old: Log-probabilities under the policy that sampled.
  ///   - advantages: Advantages.
  ///   - entropies: Entropies, or empty.
  ///   - weight: How much the response counts.
  public init(
    new: [Double], old: [Double], advantages: [Double], entropies: [Double] = [],
    weight: Double = 1
  ) {
    self.new = new
    self.old = old
    self.advantages = advantages
    self.entropies = entropies
    self.weight = weight
  }
}

/// The knobs of the policy losses.
public struct PolicySettings: Codable, Sendable, Equatable {
  /// ε below 1: the ratio is clipped at 1 − clipLow.
  public var clipLow = 0.2
  /// ε above 1: the ratio is clipped at 1 + clipHigh.
  public var clipHigh = 0.2
  /// For A < 0 the loss is at most −c·A with this c > 1 (3 is usual); `nil` is off.
  public var dualClip: Double?
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// Log-ratio above which the ratio continues as its tangent line.
  public var logRatioBound = exponentialBound

  /// The defaults.
  public init() {}
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
    for (i, row) in rows.enumerated() where row.old.count != row.advantages.count {
      throw ObjectiveError(
        .badRows,
        "response \(i + 1) of the batch has \(row.old.count) tokens and "
          + "\(row.advantages.count) advantages")
    }
    return PolicyStatistics(
      tokens: rows.reduce(0) { $0 + $1.weight * Double($1.old.count) },
      rows: rows.reduce(0) { $0 + $1.weight })
  }

  /// Phase two: loss, gradients on log-probabilities and entropies, metrics of a piece.
  ///
  /// - Parameters:
  ///   - rows: The responses of the piece, with current log-probabilities.
  ///   - statistics: From `statistics(of:settings:)` over the whole batch.
  ///   - settings: The same knobs.
  public func loss(
    _ rows: [PolicyRow], statistics: PolicyStatistics,
    settings: PolicySettings = PolicySettings()
  ) -> LossResult {
    switch self {
    case .ppo: Self.ppo(rows, statistics, settings)
    }
  }

  /// PPO: −Σ_t min(q_t·A_t, clip(q_t, 1 − ε_low, 1 + ε_high)·A_t) / N − c_H·Σ_t H_t / N, with
  /// q_t = e^{π_t − o_t} and N the response tokens of the batch.
  ///
  /// Gradient: ∂/∂π_t = −q_t·A_t/N where the clip does not bind, else 0; ∂/∂H_t = −c_H/N. The clip
  /// binds where A > 0 and q > 1 + ε_high, or A < 0 and q < 1 − ε_low; with a dual clip c also where
  /// A < 0 and q > c, and the loss of the token is −c·A there.
  ///
  /// Paper: Schulman et al. 2017, arXiv:1707.06347; dual clip: Ye et al. 2020, arXiv:1912.09729.
  /// Differs from the paper: the mean is over the response tokens of the batch; above a log-ratio
  /// of 20 the ratio is its tangent line.
  static func ppo(
    _ rows: [PolicyRow], _ statistics: PolicyStatistics, _ settings: PolicySettings
  ) -> LossResult {
    var result = LossResult()
    let scale = statistics.tokens > 0 ? 1 / statistics.tokens : 0
    let wantsEntropy = settings.entropyBonus != 0
    var (policy, bonus) = (0.0, 0.0)
    for row in rows {
      precondition(
        row.new.count == row.old.count && row.new.count == row.advantages.count,
        "one log-probability and advantage a token")
      precondition(
        row.entropies.count == row.new.count || (!wantsEntropy && row.entropies.isEmpty),
        "one entropy a token")
      var gradient = row.new.map { _ in 0.0 }
      let w = row.weight
      for t in row.new.indices {
        let logRatio = row.new[t] - row.old[t]
        let ratio = boundedExp(logRatio, bound: settings.logRatioBound)
        let advantage = row.advantages[t]
        let clipped = min(max(ratio.value, 1 - settings.clipLow), 1 + settings.clipHigh)
        let clips = clipped * advantage < ratio.value * advantage
        var surrogate = clips ? clipped * advantage : ratio.value * advantage
        var dual = false
        if let c = settings.dualClip, advantage < 0, surrogate < c * advantage {
          surrogate = c * advantage
          dual = true
        }
        policy -= w * scale * surrogate
        if !clips, !dual { gradient[t] = -w * scale * ratio.slope * advantage }

        result.metrics.addMean(.clipShare, total: clips ? w : 0, weight: w)
        if settings.dualClip != nil {
          result.metrics.addMean(.dualClipShare, total: dual ? w : 0, weight: w)
        }
        result.metrics.addMean(.klUpdateK1, total: -w * logRatio, weight: w)
        result.metrics.addMean(
          .klUpdateK3, total: w * (ratio.value - 1 - logRatio), weight: w)
        result.metrics.addMean(.ratioMean, total: w * ratio.value, weight: w)
        result.metrics.addMaximum(.ratioMaximum, ratio.value)
        result.metrics.addMean(
          .saturated, total: logRatio > settings.logRatioBound ? w : 0, weight: w)
      }
      result.logProbabilities.append(gradient)
      if !row.entropies.isEmpty {
        let sum = row.entropies.reduce(0, +)
        bonus += w * scale * settings.entropyBonus * sum
        result.metrics.addMean(.entropy, total: w * sum, weight: w * Double(row.entropies.count))
      }
      if wantsEntropy {
        result.entropies.append(row.entropies.map { _ in -w * scale * settings.entropyBonus })
      }
    }
    result.loss = policy - bonus
    result.metrics.add(.policyLoss, policy)
    if wantsEntropy { result.metrics.add(.entropyLoss, -bonus) }
    return result
  }
}
