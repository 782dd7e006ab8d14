// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneObjectives
public import Foundation

/// The knobs of BRAIn.
public struct BRAInSettings: OnlineSettings {
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
  public var samplesPerPrompt = 8
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 0
  /// Sampling temperature; log-probabilities are taken at it too.
  public var temperature = 1.0
  /// Passes over a rollout.
  public var epochs = 1
  /// Optimiser steps of a pass.
  public var minibatches = 2

  /// β: what a reward, after normalisation and penalties, is divided by in the target ρ·e^{r/β}.
  public var beta = 0.5
  /// The proposal becomes the policy every so many rollouts; 1: each rollout samples from the policy.
  public var refreshEvery = 1
  /// Training ends when KL in nats a sequence is above this; 0 is never.
  public var klBudget = 0.0
  /// What rewards are normalised by, before β divides them.
  public var normalise = RewardNormalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0

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
  public var pieceTokens = 512
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false
  /// Seconds between checkpoints, which are written between rollouts.
  public var checkpointSeconds = 60.0
  /// The seed of samples and orders.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] { unreadSharedKnobs }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validate(minibatches: minibatches)
    try validateTarget()
  }
}

/// Bayesian reward-conditioned amortised inference (Pandey et al. 2024, arXiv:2402.02479): among the
/// answers to a prompt, the policy's softmax is brought to the target's, α = softmax(r/β + ρ − log q).
///
/// r is the reward after normalisation and with the missing-end penalty in its place: β counts the
/// start's standard deviations of reward. The gradient on an answer is π̂ − α: the policy's own share is
/// the baseline. The proposal q is the policy of the last refresh, or, on recorded samples, what they
/// record. Differs from the paper: nothing.
public enum BRAIn {
  /// Trains a policy and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; it is the reference too.
  ///   - data: Prompts, or samples, whose answers then take the place of the policy's own.
  ///   - rewards: Where rewards come from, each with its weight.
  ///   - rewardFingerprint: What tells these sources from others, for the run's record.
  ///   - watched: A reward that is only measured.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
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
      settings: settings, steps: settings.rollouts * settings.epochs * settings.minibatches,
      inputs: [("reward", rewardFingerprint)], beside: proposal.map { [$0] } ?? [],
      own: { DistributionState() }, output: output, options: options)

    while run.goesOn {
      // 1. Answers of the proposal, their rewards, and their probability under policy and reference.
      let rollout = try run.score(run.sample(from: proposal))
      var totals = try run.measure(rollout)

      // 2. Epochs of minibatches over whole prompts.
      for epoch in 0..<settings.epochs {
        let minibatches = run.minibatches(of: rollout, epoch: epoch, count: settings.minibatches)
        for (minibatch, batch) in minibatches.enumerated() {
          let update = DistributionUpdate(
            rollout: rollout, batch: batch, loss: .brain, beta: settings.beta,
            temperature: settings.temperature, budget: settings.pieceTokens)
          totals.merge(
            try run.step(epoch: epoch, minibatch: minibatch) { _ in
              try update.accumulate(
                policy: run.policy, isFirst: epoch == 0 && minibatch == 0, state: &run.state.own)
            })
        }
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
