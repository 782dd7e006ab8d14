// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

/// What rewards are normalised by.
public enum RewardNormalisation: String, Codable, Sendable, CaseIterable {
  /// Nothing.
  case none
  /// Mean and deviation on answers of the start: the reward model's own, else the first rollout's.
  case start
}

/// The knobs that trainers share whose answers are sampled on the way.
package protocol OnlineSettings: OptimisesWeights {
  var rollouts: Int { get set }
  var promptsPerRollout: Int { get set }
  var samplesPerPrompt: Int { get set }
  var maxTokens: Int { get set }
  var maxLength: Int { get }
  var temperature: Double { get set }
  var klBudget: Double { get }
  var normalise: RewardNormalisation { get set }
  var penaliseMissingEnd: Bool { get set }
  var missingEndReward: Double { get set }
  var showEvery: Int { get }
  var pieceTokens: Int { get }
  var seed: UInt64 { get set }
}

extension OnlineSettings {
  /// Checks that a rollout can be cut into minibatches of whole prompts.
  func validate(minibatches: Int) throws {
    try require(
      minibatches <= promptsPerRollout, "minibatches",
      "at most prompts_per_rollout (\(promptsPerRollout))")
  }

  /// Checks the knobs of a KL term in the loss.
  func validate(_ estimator: KLEstimator, ratioWeighted: Bool) throws {
    try require(
      !ratioWeighted || estimator == .k3, "kl_ratio_weighted", "false unless kl_estimator is k3")
  }

  /// The shared knobs that have no effect.
  var unreadSharedKnobs: [(knob: String, why: String)] {
    var list = unreadTrainingKnobs
    if !penaliseMissingEnd { list.append(("missing_end_reward", "penalise_missing_end is false")) }
    return list
  }

  /// How answers are sampled: over the whole vocabulary, with random numbers of this draw alone.
  func sampling(draw: Int, end: [Int32]) -> SamplingSettings {
    var sampling = SamplingSettings()
    sampling.temperature = temperature
    sampling.maxTokens = maxTokens
    sampling.samplesPerPrompt = samplesPerPrompt
    sampling.seed = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(draw)
    sampling.stopIds = end
    return sampling
  }

  /// The numbers that rewards are normalised by from now on.
  ///
  /// - Parameters:
  ///   - rewards: Those of the first rollout.
  ///   - sources: Where they come from.
  func scale(
    of rewards: [Double], sources: [(source: any RewardSource, weight: Double)]
  ) -> RewardScale? {
    guard normalise == .start else { return nil }
    if sources.count == 1, let scale = sources[0].source.scale {
      let weight = sources[0].weight
      return RewardScale(mean: weight * scale.mean, deviation: abs(weight) * scale.deviation)
    }
    let moments = RunningMoments(rewards)
    return RewardScale(mean: moments.mean, deviation: moments.standardDeviation)
  }
}

/// The knobs of a KL term whose weight may follow a target.
protocol SteersKL: OnlineSettings {
  var beta: Double { get }
  var adaptiveKl: Bool { get }
  var klTarget: Double { get }
}

extension SteersKL {
  /// Checks that a weight which follows a target can move.
  func validateKL() throws {
    try require(!adaptiveKl || beta > 0, "beta", "above 0 where adaptive_kl is true")
  }

  /// Those of them without effect.
  var unreadKLKnobs: [(knob: String, why: String)] {
    adaptiveKl ? [] : [("kl_target", "adaptive_kl is false")]
  }

  /// The weight at the start.
  func klControl() throws -> AdaptiveKL {
    try AdaptiveKL(beta: beta, target: adaptiveKl ? klTarget : nil)
  }
}

extension AdaptiveKL {
  /// The weight, and what it follows.
  var metrics: MetricTotals {
    var totals = MetricTotals()
    totals.add(.beta, beta)
    if let target { totals.add(.klTarget, target) }
    return totals
  }
}
