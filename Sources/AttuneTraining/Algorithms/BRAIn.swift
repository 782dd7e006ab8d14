// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneObjectives
public import Foundation

/// The knobs of BRAIn.
public struct BRAInSettings: PassesOverRollouts {
  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 3e-4)
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// β: what a reward, after normalisation and penalties, is divided by in the target ρ·e^{r/β}.
  public var beta = 0.5
  /// The proposal becomes the policy every so many rollouts; 1: each rollout samples from the policy.
  public var refreshEvery = 1
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()

  /// The defaults.
  public init() {
    rollout.samplesPerPrompt = 8
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + RolloutSettings.knobs + PassesSettings.knobs + [
      Knob.targetBeta,
      Knob(
        "refresh_every",
        "The proposal becomes the policy every so many rollouts; 1: each rollout samples from the "
          + "policy.", .whole(atLeast: 1)),
      RolloutSettings.klBudget,
    ]
    + RewardsSettings.knobs.saying(
      "normalise", "What rewards are normalised by, before β divides them.")
    + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] { unreadSharedKnobs }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validatePasses()
    try validateTarget()
  }
}

extension BRAInSettings: OnlineMethod {
  package typealias Algorithm = BRAIn

  package static let summary = "distribution matching among a prompt's answers"
  package mutating func setBeta(_ beta: Double) { self.beta = beta }
}

/// Bayesian reward-conditioned amortised inference (Pandey et al. 2024, arXiv:2402.02479): among the
/// answers to a prompt, the policy's softmax is brought to the target's, α = softmax(r/β + ρ − log q).
///
/// r is the reward after normalisation and with the missing-end penalty in its place: β counts the
/// start's standard deviations of reward. The gradient on an answer is π̂ − α: the policy's own share is
/// the baseline. The proposal q is the policy of the last refresh, or, on recorded samples, what they
/// record. Differs from the paper: nothing.
public enum BRAIn: OnlineAlgorithm {
  /// Trains a policy on the answers that it samples or that are recorded, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: BRAInSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    try settings.validate()
    let recorded = try RecordedSamples(data, start, settings: settings)
    try require(
      recorded == nil || settings.refreshEvery == BRAInSettings().refreshEvery, "refresh_every",
      "left out where the data hold the answers: nothing is sampled")
    let proposal =
      settings.refreshEvery > 1
      ? try start.model.copy(training: settings.trainable(start.model.spec)) : nil
    let run = try OnlineRun(
      "brain", start, data: data, recorded: recorded, rewards: rewards, watched: watched,
      settings: settings, steps: settings.steps,
      inputs: [("reward", rewardFingerprint)], beside: proposal.map { [$0] } ?? [],
      own: { DistributionState() }, output: output, options: options)

    while run.goesOn {
      // 1. Answers of the proposal, their rewards, and their probability under policy and reference.
      let rollout = try run.score(run.sample(from: proposal))
      var totals = try run.measure(rollout)

      // 2. Epochs of minibatches over whole prompts.
      try run.passes(over: rollout, addingTo: &totals) { batch, isFirst, _ in
        try DistributionUpdate(
          rollout: rollout, batch: batch, loss: .brain, beta: settings.beta,
          temperature: settings.temperature, budget: settings.pieceTokens
        ).accumulate(policy: run.policy, isFirst: isFirst, state: &run.state.own)
      }

      // 3. The proposal of the next rollouts.
      if let proposal, (run.state.rollout + 1) % settings.refreshEvery == 0 {
        try proposal.setTrainedParameters(run.policy.trainedParameters())
      }
      try run.finish(rollout, totals)
    }
    return try run.close()
  }
}
