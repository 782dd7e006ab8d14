// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

/// Settings of a trainer whose answers are sampled on the way.
public protocol OnlineSettings: TrainsWeights {
  /// How answers are sampled.
  var rollout: RolloutSettings { get set }
  /// What becomes of rewards.
  var rewards: RewardsSettings { get set }
}

extension OnlineSettings {
  /// A knob of a rollout.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<RolloutSettings, Value>) -> Value {
    get { rollout[keyPath: knob] }
    set { rollout[keyPath: knob] = newValue }
  }

  /// A knob of rewards.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<RewardsSettings, Value>) -> Value {
    get { rewards[keyPath: knob] }
    set { rewards[keyPath: knob] = newValue }
  }

  /// Adam's ε.
  public var adamEpsilon: Double { rollout.adamEpsilon }

  /// Steps and work in the table of knobs.
  static var workKnobs: [Knob] {
    OptimiserSettings.knobs + [RolloutSettings.adamEpsilon, RolloutSettings.showEvery]
      + RolloutSettings.heldOut
      + EngineSettings.knobs(cutBetween: "prompts")
      + [
        Knob(
          "checkpoint_seconds",
          "Seconds between checkpoints, which are written between rollouts.",
          TrainingSettings.checkpointSeconds.kind),
        Knob.seed("samples and orders"),
      ]
  }

  /// The shared knobs that have no effect.
  var unreadSharedKnobs: [(knob: String, why: String)] {
    training.weights.unreadKnobs + rewards.unreadKnobs + rollout.unreadKnobs
  }
}

extension TrainingSettings {
  /// The defaults of trainers that sample their own answers.
  ///
  /// - Parameter rate: Highest learning rate of adapters.
  static func online(rate: Double) -> TrainingSettings {
    var training = TrainingSettings()
    training.optimiser.learningRate = rate
    training.optimiser.warmupSteps = 0
    training.checkpointSeconds = 60
    return training
  }
}

extension OnlineSettings {
  /// Refuses knobs of held-out rows where there are none, and figures that no source gives.
  ///
  /// - Parameters:
  ///   - hasRows: Whether there are such rows.
  ///   - isChecked: Whether a source says which answers are right.
  func checkHeldOut(hasRows: Bool, rewards: [any RewardSource]) throws {
    let isChecked = rewards.contains(where: \.isChecked)
    let plain = RolloutSettings()
    for (knob, isSet) in [
      ("evaluation_every", rollout.evaluationEvery != plain.evaluationEvery),
      ("evaluation_samples", rollout.evaluationSamples != plain.evaluationSamples),
      ("keep_best", rollout.keepBest != plain.keepBest),
    ] where isSet && !hasRows && !(knob == "evaluation_samples" && rollout.curriculum) {
      throw TrainingError(
        .badSetting, "\(knob) is set but not read: there are no held-out rows (--eval-data)")
    }
    guard isChecked || !rollout.curriculum else {
      throw TrainingError(
        .badSetting,
        "curriculum is set, and no reward says which answers are right (answer, ifeval, tests)")
    }
    guard isChecked || [.none, .reward].contains(rollout.keepBest) else {
      throw TrainingError(
        .badSetting,
        "keep_best is \(rollout.keepBest.rawValue), and no reward says which answers are right (answer, "
          + "ifeval, tests); reward is a figure of every source")
    }
    if rollout.keepBest == .reward, let rank = rewards.first(where: \.isRelative) {
      throw TrainingError(
        .badSetting,
        "keep_best is reward, and \(rank.name) says only which of a prompt's answers is better: its mean "
          + "says nothing of a policy")
    }
  }

  /// Refuses rewards that only say which of an answer's steps were good, where nobody hears it or where no other says
  /// which answers are.
  static func check(_ rewards: [any RewardSource], givesParts: Bool) throws {
    guard let shaping = rewards.first(where: \.isShaping) else { return }
    guard givesParts else {
      throw TrainingError(
        .badSetting,
        "\(shaping.name): tells an answer's steps apart and adds nothing to the whole; ppo with step_rewards=true "
          + "gives rewards at steps")
    }
    guard rewards.contains(where: { !$0.isShaping }) else {
      throw TrainingError(
        .badSetting,
        "\(shaping.name): adds nothing to a whole answer, and is the only reward; name one beside it"
      )
    }
  }

  /// Refuses constraints that nobody opened, and a normalisation that answers to one prompt are compared for.
  ///
  /// - Parameters:
  ///   - constraints: Those among the sources.
  ///   - recorded: Whether the answers are recorded, and as many as there are.
  func check(_ constraints: [Constraint], recorded: Bool) throws {
    guard rewards.constraints.count <= constraints.count else {
      throw TrainingError(
        .badSetting,
        "constraints is set, and not all of them are among the rewards: RewardSources.keeping opens them"
      )
    }
    try require(
      rewards.normalise != .sources || recorded || rollout.samplesPerPrompt > 1,
      "samples_per_prompt",
      "at least 2 where normalise is sources: a source's mean is that of a prompt's answers")
  }

  /// How answers are sampled: over the whole vocabulary, with random numbers of this draw alone.
  func sampling(draw: Int, end: [Int32]) -> SamplingSettings {
    var sampling = SamplingSettings()
    sampling.temperature = rollout.temperature
    sampling.sampler = rollout.sampler
    sampling.maxTokens = rollout.maxTokens
    sampling.samplesPerPrompt = rollout.samplesPerPrompt
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
    guard self.rewards.normalise == .start else { return nil }
    if sources.count == 1, let scale = sources[0].source.scale {
      let weight = sources[0].weight
      return RewardScale(mean: weight * scale.mean, deviation: abs(weight) * scale.deviation)
    }
    let moments = RunningMoments(rewards)
    return RewardScale(mean: moments.mean, deviation: moments.standardDeviation)
  }
}

/// Settings of an online trainer that passes over a rollout in minibatches.
public protocol PassesOverRollouts: OnlineSettings {
  /// The passes.
  var passes: PassesSettings { get set }
}

extension PassesOverRollouts {
  /// A knob of the passes.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<PassesSettings, Value>) -> Value {
    get { passes[keyPath: knob] }
    set { passes[keyPath: knob] = newValue }
  }

  /// Optimiser steps of the whole run.
  var steps: Int { rollout.rollouts * passes.epochs * passes.minibatches }

  /// Whether a rollout is one step, on the policy that sampled.
  var isOnPolicy: Bool { passes.epochs * passes.minibatches == 1 }

  /// Checks that a rollout can be cut into minibatches of whole prompts.
  func validatePasses() throws {
    try require(
      passes.minibatches <= rollout.promptsPerRollout, "minibatches",
      "at most prompts_per_rollout (\(rollout.promptsPerRollout))")
  }
}
