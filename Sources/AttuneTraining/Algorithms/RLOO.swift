// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of RLOO.
public struct RLOOSettings: SteersKL, PassesOverRollouts, CorrectsSampler {
  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 1e-3)
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// What makes up for a sampler of other numbers than the trainer's.
  @Flattened public var correction = SamplerCorrection()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// The KL term in the reward.
  @Flattened public var steering = SteeredKLSettings()
  /// A token's ratio is clipped at 1 ± this where a rollout has several steps.
  public var clip = 0.2
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()

  /// The defaults.
  public init() {
    rollout.rollouts = 32
    passes.minibatches = 1
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + RolloutSettings.knobs + SamplerCorrection.knobs + PassesSettings.knobs
    + SteeredKLSettings.knobs("the KL term in the reward") + [RolloutSettings.klBudget]
    + [Knob.clip].saying(
      "clip", "A token's ratio is clipped at 1 ± this where a rollout has several steps.")
    + RewardsSettings.knobs + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadSharedKnobs + unreadKLKnobs + unreadCorrectionKnobs
    if isOnPolicy {
      list.append(("clip", "epochs and minibatches are 1, so that every ratio is 1"))
    }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validateKL()
    try validatePasses()
    try require(
      rollout.samplesPerPrompt > 1, "samples_per_prompt",
      "at least 2: an answer is held against the others to its prompt")
  }

  /// The policy loss. With several steps a rollout it is clipped as PPO's but summed over an answer's
  /// tokens, which is what `dr_grpo` is with a fixed length of 1.
  package var loss: (member: PolicyLoss, objective: PolicySettings) {
    var objective = PolicySettings(clip: clip)
    objective.correction = correction
    guard !isOnPolicy else { return (.reinforce, objective) }
    objective.maximumLength = 1
    return (.drGrpo, objective)
  }
}

extension RLOOSettings: OnlineMethod {
  package typealias Algorithm = RLOO

  package static let summary = "the policy gradient, each answer against the prompt's others"
}

/// REINFORCE leave-one-out: an answer's reward, with the KL of the whole answer in it, against the
/// mean of the other answers to its prompt (Ahmadian et al. 2024, arXiv:2402.14740).
///
/// No value head and no running mean; the baseline is unbiased. A rollout is one step, as in the
/// paper. With more epochs or minibatches the later steps are off-policy, and the loss is PPO's clip:
/// −Σ_t min(q_t·A, clip(q_t)·A) over an answer's tokens, whose gradient at ratio 1 is that of the one
/// step. TRL clips one ratio an answer instead, the product of its tokens' ratios, whose spread grows
/// with the answer's length until the clip binds for most answers; a token's ratio does not know
/// their number.
public enum RLOO: OnlineAlgorithm {
  /// Trains a policy on the answers that it samples, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: RLOOSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    let run = try OnlineRun(
      "rloo", start, data: data, rewards: rewards, watched: watched, settings: settings,
      steps: settings.steps, inputs: [("reward", rewardFingerprint)],
      own: { try settings.klControl() }, output: output,
      options: options)
    let loss = settings.loss

    while run.goesOn {
      // 1. Answers, each scored against the others to its prompt, and the steps on them.
      let rollout: ScoredRollout
      var totals: MetricTotals
      (rollout, totals) = try run.update(
        run.sample(), loss.member, loss.objective,
        advantagesReadPolicy: run.state.own.beta > 0
      ) {
        try $0.groupAdvantages(beta: run.state.own.beta) { try Advantage.leaveOneOut($0) }
      }
      totals.merge(run.state.own.metrics)
      totals.merge(try run.measure(rollout))

      // 2. β follows the KL that this rollout showed.
      run.state.own.update(kl: rollout.statistics.klPerSequence)
      try run.finish(rollout, totals)
    }
    return try run.close()
  }
}
