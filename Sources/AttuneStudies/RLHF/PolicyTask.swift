// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// What any method is given to train a policy from: the start, prompts, what is climbed, and the
/// preferences that some of them learn from.
struct PolicyTask {
  /// The model to start from; it is the reference too.
  let start: LoadedModel
  /// The file of prompts.
  let prompts: URL
  /// What is climbed, each source with its weight.
  let rewards: [(source: any RewardSource, weight: Double)]
  /// What tells these sources from others.
  let rewardFingerprint: String
  /// A reward that is only measured.
  let gold: LabellerReward?
  /// The pairs that methods without rollouts learn from.
  let preferences: URL
  /// Pairs that these are evaluated on; nil: on none.
  let heldOutPreferences: URL?
  /// The folder of the policy.
  let output: URL
  /// How the run is watched and stopped.
  var options = RunOptions()

  /// Trains with the method of the settings.
  ///
  /// - Returns: What it came to, in words.
  func train(_ settings: RLHFSettings) throws -> String {
    switch settings.method {
    case .ppo:
      try online(settings.ppo) {
        try PPO.train(
          $0, data: $1, rewards: $2, rewardFingerprint: $3, watched: $4, settings: $5, output: $6,
          options: $7)
      }
    case .reinforce: try online(settings.reinforce, Reinforce.train)
    case .rloo: try online(settings.rloo, RLOO.train)
    case .grpo: try online(settings.grpo, GRPO.train)
    case .raft: try online(settings.raft, RAFT.train)
    case .dpg: try online(settings.dpg, DPG.train)
    case .brain: try online(settings.brain, BRAIn.train)
    case .iterate: try iterated(settings.iterate)
    case .dpo:
      Self.contrasted(
        try DPO.train(
          start, data: try DataFile.read(preferences), heldOut: try heldOut(),
          settings: settings.dpo, output: output, options: options))
    case .kto:
      Self.contrasted(
        try KTO.train(
          start, data: try DataFile.read(preferences), heldOut: try heldOut(),
          settings: settings.kto, output: output, options: options))
    }
  }

  private func heldOut() throws -> DataFile? {
    try heldOutPreferences.map { try DataFile.read($0) }
  }

  /// A trainer that samples its own answers: start, prompts, rewards and their fingerprint, watched
  /// reward, knobs, output, options.
  private typealias OnlineTrainer<Knobs> = (
    LoadedModel, DataFile, [(source: any RewardSource, weight: Double)], String,
    (any RewardSource)?, Knobs, URL, RunOptions
  ) throws -> OnlineReport

  /// Trains with a method that samples its own answers in rollouts.
  private func online<Knobs: OnlineSettings>(
    _ knobs: Knobs, _ train: OnlineTrainer<Knobs>
  ) throws -> String {
    let report = try train(
      start, try DataFile.read(prompts), rewards, rewardFingerprint, gold, knobs, output, options)
    return "\(report.rollouts) rollouts of "
      + "\(knobs.promptsPerRollout * knobs.samplesPerPrompt) answers, learned reward "
      + "\(readable(report.firstReward)) → \(readable(report.lastReward)), KL "
      + "\(readable(report.kl, digits: 1)) nats"
  }

  private func iterated(_ knobs: IterateSettings) throws -> String {
    let report = try Iterate.train(
      start, data: try DataFile.read(prompts), rewards: rewards,
      rewardFingerprint: rewardFingerprint, watched: gold, settings: knobs, output: output,
      options: options)
    let first = report.rounds.first?.reward ?? 0
    return "\(knobs.rounds) rounds of \(report.loss), learned reward \(readable(first)) → "
      + "\(readable(report.trained.reward)), KL \(readable(report.trained.kl, digits: 1)) nats"
  }

  private static func contrasted(_ report: ContrastiveReport) -> String {
    return
      "\(report.loss) on \(report.rows) rows, \(report.steps) steps"
      + (report.heldOutText.map { "; \($0)" } ?? "")
  }
}
