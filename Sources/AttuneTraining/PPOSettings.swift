// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneObjectives
import Foundation

/// The knobs of PPO.
public struct PPOSettings: TrainsWeights {
  /// Where values come from.
  public enum Value: String, Codable, Sendable, CaseIterable {
    /// A head on the policy's own trunk, from zero.
    case shared
    /// A model of its own, from the start's weights and a zero head, or from a reward model.
    case separate
  }

  /// What rewards are normalised by.
  public enum Normalisation: String, Codable, Sendable, CaseIterable {
    /// Nothing.
    case none
    /// Mean and deviation on answers of the start: the reward model's own, else the first rollout's.
    case start
  }

  /// Which numbers are trained.
  public var train = TrainedPart.lora
  /// Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is all.
  public var layers = 10
  /// Rank of the adapters.
  public var rank = 16
  /// Scale of the adapters, divided by the rank.
  public var alpha = 32.0
  /// The matrices that carry adapters.
  public var projections = Projection.allCases
  /// Whether adapters are merged into the weights when the policy is written.
  public var merge = false

  /// How often answers are sampled.
  public var rollouts = 16
  /// Prompts of a rollout.
  public var promptsPerRollout = 8
  /// Answers to each prompt.
  public var samplesPerPrompt = 4
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 0
  /// Sampling temperature; log-probabilities are taken at it too.
  public var temperature = 1.0
  /// Passes over a rollout.
  public var epochs = 2
  /// Optimiser steps of a pass.
  public var minibatches = 2

  /// Weight of the KL term in the reward, at the start.
  public var beta = 0.1
  /// Whether that weight follows `kl_target`.
  public var adaptiveKl = true
  /// KL in nats a sequence that the weight steers towards.
  public var klTarget = 8.0
  /// Training ends when KL in nats a sequence is above this; 0 is never.
  public var klBudget = 0.0
  /// Discount.
  public var gamma = 1.0
  /// λ of generalised advantage estimation.
  public var lambda = 0.95
  /// The ratio is clipped at 1 ± this.
  public var clip = 0.2
  /// The value may move this far from the rollout's; 0 is no clipping.
  public var valueClip = 0.2
  /// Weight of the value loss.
  public var valueCoefficient = 0.1
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// Whether advantages are whitened over the rollout.
  public var whiten = true
  /// Whether token rewards are whitened, their mean kept.
  public var whitenRewards = false
  /// What rewards are normalised by.
  public var normalise = Normalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0
  /// Where values come from.
  public var value = Value.shared
  /// Highest learning rate of a separate value model.
  public var valueLearningRate = 3e-4
  /// Weight of the supervised loss that is mixed in; 0 is off.
  public var ptxWeight = 0.0
  /// Rows of the mixed-in text that an optimiser step sees.
  public var ptxBatchSize = 4

  /// Highest learning rate.
  public var learningRate = 3e-4
  /// How the learning rate falls.
  public var decay = Decay.linear
  /// Steps over which the learning rate rises; at most a tenth of all.
  public var warmupSteps = 0
  /// Adam's ε.
  public var adamEpsilon = 1e-5
  /// Share of each trained number taken away a step, times the learning rate.
  public var weightDecay = 0.0
  /// The gradient is scaled down to this norm; 0 is never.
  public var maxGradientNorm = 1.0
  /// A sample is shown every so many rollouts; 0 is never.
  public var showEvery = 4
  /// Tokens that are worked on at once; more are cut between prompts, with the same result.
  public var pieceTokens = 2048
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false
  /// Seconds between checkpoints, which are written between rollouts.
  public var checkpointSeconds = 60.0
  /// The seed of samples and orders.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadTrainingKnobs
    if !adaptiveKl { list.append(("kl_target", "adaptive_kl is false")) }
    if !penaliseMissingEnd { list.append(("missing_end_reward", "penalise_missing_end is false")) }
    if value == .shared { list.append(("value_learning_rate", "value is shared")) }
    if ptxWeight == 0 { list.append(("ptx_batch_size", "ptx_weight is 0")) }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try require(rollouts > 0, "rollouts", "at least 1")
    try require(promptsPerRollout > 0, "prompts_per_rollout", "at least 1")
    try require(samplesPerPrompt > 0, "samples_per_prompt", "at least 1")
    try require(maxTokens > 0, "max_tokens", "at least 1")
    try require(maxLength >= 0, "max_length", "at least 0")
    try require(temperature > 0, "temperature", "above 0: greedy answers have no log-probability")
    try require(epochs > 0, "epochs", "at least 1")
    try require(
      minibatches > 0 && minibatches <= promptsPerRollout, "minibatches",
      "at least 1 and at most prompts_per_rollout (\(promptsPerRollout))")
    try require(beta >= 0, "beta", "at least 0")
    try require(!adaptiveKl || (klTarget > 0 && beta > 0), "kl_target", "above 0, and beta too")
    try require(klBudget >= 0, "kl_budget", "at least 0")
    try require((0...1).contains(gamma), "gamma", "between 0 and 1")
    try require((0...1).contains(lambda), "lambda", "between 0 and 1")
    try require(clip > 0 && clip < 1, "clip", "above 0 and below 1")
    try require(valueClip >= 0, "value_clip", "at least 0")
    try require(valueCoefficient >= 0, "value_coefficient", "at least 0")
    try require(entropyBonus >= 0, "entropy_bonus", "at least 0")
    try require(ptxWeight >= 0, "ptx_weight", "at least 0")
    try require(ptxBatchSize > 0, "ptx_batch_size", "at least 1")
    try require(learningRate > 0, "learning_rate", "above 0")
    try require(valueLearningRate > 0, "value_learning_rate", "above 0")
    try require(warmupSteps >= 0, "warmup_steps", "at least 0")
    try require(adamEpsilon > 0, "adam_epsilon", "above 0")
    try require(weightDecay >= 0, "weight_decay", "at least 0")
    try require(maxGradientNorm >= 0, "max_gradient_norm", "at least 0")
    try require(showEvery >= 0, "show_every", "at least 0")
    try require(pieceTokens > 0, "piece_tokens", "at least 1")
  }
}

extension PPOSettings {
  var gradientBound: Double? { maxGradientNorm > 0 ? maxGradientNorm : nil }

  func klControl() throws -> AdaptiveKL {
    try AdaptiveKL(beta: beta, target: adaptiveKl ? klTarget : nil)
  }

  /// How a rollout is sampled: with random numbers of its own, over the whole vocabulary.
  func sampling(rollout: Int, end: [Int32]) -> SamplingSettings {
    var sampling = SamplingSettings()
    sampling.temperature = temperature
    sampling.maxTokens = maxTokens
    sampling.samplesPerPrompt = samplesPerPrompt
    sampling.seed = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(rollout)
    sampling.stopIds = end
    return sampling
  }

  /// Prompts of a rollout cut into minibatches of as equal a size as can be.
  func cut(_ prompts: [Int]) -> [[Int]] {
    (0..<minibatches).map { i in
      Array(prompts[prompts.count * i / minibatches..<prompts.count * (i + 1) / minibatches])
    }
  }

  /// The numbers that rewards are normalised by from now on.
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

  /// The separate value model, if there is to be one.
  func valueModel(_ start: LoadedModel, from reward: LoadedModel?) throws -> LanguageModel? {
    guard value == .separate else {
      guard reward == nil else {
        throw TrainingError(
          .badSetting, "a value model to start from is given but not read: value is shared")
      }
      return nil
    }
    guard let reward else {
      return try start.model.copy(training: trainable(start.model.spec), scalarHead: .zero)
    }
    guard reward.model.hasScalarHead else {
      throw TrainingError(.badModel, "\(reward.name): is no reward model to start values from")
    }
    guard reward.model.trainedCount > 0 else {
      return try reward.model.copy(training: trainable(reward.model.spec))
    }
    // Made beside the start: its own adapters or layers go on, on the same frozen weights.
    let model = try start.model.copy(training: reward.model.trainable, scalarHead: .zero)
    try model.setTrainedParameters(reward.model.trainedParameters())
    return model
  }

  /// The rows of the mixed-in text.
  func ptx(_ data: DataFile?, _ encoder: TextEncoder) throws -> [EncodedGroup] {
    guard let data else {
      try require(ptxWeight == 0, "ptx_weight", "0 where no data are given to mix in")
      return []
    }
    try require(ptxWeight > 0, "ptx_weight", "above 0 where data are given to mix in")
    guard data.kind == .languageModelling || data.kind == .promptCompletion else {
      throw TrainingError(
        .badData,
        "\(data.url.path): holds \(data.kind.rawValue) data; texts or prompt–completion "
          + "rows can be mixed in")
    }
    return try data.rows.map { try encoder.group($0) }
  }

  /// Adds the gradient of the mixed-in supervised loss.
  func mix(_ rows: [EncodedGroup], into policy: LanguageModel) throws -> MetricTotals {
    var supervised = SFTSettings()
    supervised.pieceTokens = pieceTokens
    let loss = try accumulateSFT(policy, rows, settings: supervised, weight: ptxWeight)
    var totals = MetricTotals()
    totals.addMean(.mixLoss, total: ptxWeight * (loss[.supervisedLoss] ?? 0), weight: 1)
    return totals
  }
}
