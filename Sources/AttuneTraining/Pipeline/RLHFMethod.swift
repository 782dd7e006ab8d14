// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import Foundation

extension RLHF {
  /// How the policy is trained: by any trainer of its own name.
  public enum Method: String, CaseIterable, Codable, Sendable {
    case ppo, reinforce, rloo, grpo, raft, dpg, brain, iterate, dpo, kto

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .ppo: "proximal policy optimisation (ppo.variant: reinforce++)"
      case .reinforce: "the policy gradient with a baseline"
      case .rloo: "the policy gradient, each answer against the prompt's others"
      case .grpo: "group-normalised advantages (grpo.variant: dr_grpo, dapo, gspo, cispo)"
      case .raft: "supervised learning from the best of n answers"
      case .dpg: "distribution matching (dpg.method: dpg, gdc++, fdpg)"
      case .brain: "distribution matching among a prompt's answers"
      case .iterate: "rounds of a loss on pairs of the policy's own answers (iterate.dpo.loss)"
      case .dpo: "a loss on the collected pairs (dpo.loss)"
      case .kto: "thumbs: each pair's chosen answer up, its rejected one down (kto.loss)"
      }
    }

    /// Whether it learns from the collected preferences themselves, and the reward model is there to
    /// measure alone.
    var readsPreferences: Bool { self == .dpo || self == .kto }
  }
}

extension RLHFRun {
  /// What every method is given.
  private struct Task {
    let prompts: DataFile
    let reward: ModelReward
    let gold: LabellerReward?
    let output: URL
    let options: RunOptions

    var rewards: [(source: any RewardSource, weight: Double)] { [(reward, 1)] }
  }

  /// A policy from the start, whatever it became in earlier rounds: going on with what those ended as
  /// reached less (`Documentation/Log.md`, 2026-11-26).
  mutating func trainPolicy(_ round: RLHFRound) throws {
    let (start, heldOut) = (start, heldOutPreferences)
    switch settings.method {
    case .ppo:
      try online(settings.ppo, round) {
        try PPO.train(
          $0, data: $1, rewards: $2, rewardFingerprint: $3, watched: $4, settings: $5, output: $6,
          options: $7)
      }
    case .reinforce: try online(settings.reinforce, round, Reinforce.train)
    case .rloo: try online(settings.rloo, round, RLOO.train)
    case .grpo: try online(settings.grpo, round, GRPO.train)
    case .raft: try online(settings.raft, round, RAFT.train)
    case .dpg: try online(settings.dpg, round, DPG.train)
    case .brain: try online(settings.brain, round, BRAIn.train)
    case .iterate:
      var knobs = settings.iterate
      knobs.seed = round.seed(knobs.seed)
      try policy(knobs, round) {
        let report = try Iterate.train(
          start, data: $0.prompts, rewards: $0.rewards, rewardFingerprint: $0.reward.fingerprint,
          watched: $0.gold, settings: knobs, output: $0.output, options: $0.options)
        let first = report.rounds.first?.reward ?? 0
        return "\(knobs.rounds) rounds of \(report.loss), learned reward \(readable(first)) → "
          + "\(readable(report.trained.reward)), KL \(readable(report.trained.kl, digits: 1)) nats"
      }
    case .dpo:
      var knobs = settings.dpo
      knobs.seed = round.seed(knobs.seed)
      try policy(knobs, round) {
        Self.contrasted(
          try DPO.train(
            start, data: try DataFile.read(round.preferences),
            heldOut: try DataFile.read(heldOut), settings: knobs, output: $0.output,
            options: $0.options))
      }
    case .kto:
      var knobs = settings.kto
      knobs.seed = round.seed(knobs.seed)
      try policy(knobs, round) {
        Self.contrasted(
          try KTO.train(
            start, data: try DataFile.read(round.preferences),
            heldOut: try DataFile.read(heldOut), settings: knobs, output: $0.output,
            options: $0.options))
      }
    }
  }

  /// A trainer that samples its own answers: start, prompts, rewards and their fingerprint, watched
  /// reward, knobs, output, options.
  private typealias OnlineTrainer<Knobs> = (
    LoadedModel, DataFile, [(source: any RewardSource, weight: Double)], String,
    (any RewardSource)?, Knobs, URL, RunOptions
  ) throws -> OnlineReport

  /// Trains with a method that samples its own answers.
  private mutating func online<Knobs: OnlineSettings>(
    _ knobs: Knobs, _ round: RLHFRound, _ train: OnlineTrainer<Knobs>
  ) throws {
    let start = start
    var knobs = knobs
    knobs.seed = round.seed(knobs.seed)
    if round.number < settings.rounds, settings.earlyRollouts > 0 {
      knobs.rollouts = settings.earlyRollouts
    }
    try policy(knobs, round) {
      let report = try train(
        start, $0.prompts, $0.rewards, $0.reward.fingerprint, $0.gold, knobs, $0.output, $0.options)
      return "\(report.rollouts) rollouts of "
        + "\(knobs.promptsPerRollout * knobs.samplesPerPrompt) answers, learned reward "
        + "\(readable(report.firstReward)) → \(readable(report.lastReward)), KL "
        + "\(readable(report.kl, digits: 1)) nats"
    }
  }

  private static func contrasted(_ report: ContrastiveReport) -> String {
    let accuracy =
      report.evalAccuracy.map { ", which rank \(readablePercent($0)) of the held-out pairs right" }
      ?? ""
    return
      "\(report.loss) on \(report.rows) rows, \(report.steps) steps: implicit rewards\(accuracy)"
  }

  /// The stage: what it reads is recorded, and a policy is trained into the round's folder.
  private mutating func policy(
    _ knobs: some Settings, _ round: RLHFRound, train: (Task) throws -> String
  ) throws {
    let reward = try learnedReward(round)
    let (gold, prompts, method) = (try goldReward(), trainPrompts, settings.method)
    let run = self
    try perform(
      round.step(.policy), settings: knobs,
      inputs: [
        ("method", method.rawValue), ("model", start.fingerprint),
        ("reward model", reward.fingerprint), ("prompts", try Fingerprint.of(file: prompts)),
        ("labeller", labeller), roundInput(round),
      ]
        + (method.readsPreferences
          ? [("preferences", try Fingerprint.of(file: round.preferences))] : [])
    ) { restart in
      try run.train(restart) {
        try train(
          Task(
            prompts: try DataFile.read(prompts), reward: reward, gold: gold,
            output: round.policyFolder, options: $0))
      }
    }
  }
}
