// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTraining

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
  /// A policy from the start, whatever it became in earlier rounds: going on with what those ended as
  /// reached less (`Documentation/Log.md`, 2026-11-26).
  mutating func trainPolicy(_ round: RLHFRound) throws {
    var settings = settings
    let isEarly = round.number < settings.rounds && settings.earlyRollouts > 0
    settings.changePolicy(
      seed: round.seed, rollouts: isEarly ? settings.earlyRollouts : nil)
    let reward = try learnedReward(round)
    let (method, run) = (settings.method, self)
    var task = PolicyTask(
      start: start, prompts: trainPrompts, rewards: [(reward, 1)],
      rewardFingerprint: reward.fingerprint, gold: try goldReward(),
      preferences: round.preferences, heldOutPreferences: heldOutPreferences,
      output: round.policyFolder)
    try perform(
      round.step(.policy), settings: settings.policyKnobs,
      inputs: [
        ("method", method.rawValue), ("model", start.fingerprint),
        ("reward model", reward.fingerprint), ("prompts", try Fingerprint.of(file: trainPrompts)),
        ("labeller", labeller), roundInput(round),
      ]
        + (method.readsPreferences
          ? [("preferences", try Fingerprint.of(file: round.preferences))] : [])
    ) { restart in
      try run.train(restart) {
        task.options = $0
        return try task.train(settings)
      }
    }
  }
}

extension RLHFSettings {
  /// The knobs of the method.
  var policyKnobs: any Settings {
    switch method {
    case .ppo: ppo
    case .reinforce: reinforce
    case .rloo: rloo
    case .grpo: grpo
    case .raft: raft
    case .dpg: dpg
    case .brain: brain
    case .iterate: iterate
    case .dpo: dpo
    case .kto: kto
    }
  }

  /// Changes what every method has in the knobs of the one that is used.
  ///
  /// - Parameters:
  ///   - seed: Its seed from what it was.
  ///   - rollouts: How often it samples answers, where it does so in rollouts; nil leaves that.
  mutating func changePolicy(seed: (UInt64) -> UInt64, rollouts: Int? = nil) {
    changeOnline {
      $0.seed = seed($0.seed)
      if let rollouts { $0.rollouts = rollouts }
    }
    switch method {
    case .iterate: iterate.seed = seed(iterate.seed)
    case .dpo: dpo.seed = seed(dpo.seed)
    case .kto: kto.seed = seed(kto.seed)
    default: break
    }
  }

  /// Changes the knobs of the method if it samples its own answers in rollouts.
  mutating func changeOnline(_ change: (inout any OnlineSettings) -> Void) {
    func changed<Knobs: OnlineSettings>(_ knobs: Knobs) -> Knobs {
      var all: any OnlineSettings = knobs
      change(&all)
      return all as? Knobs ?? knobs
    }
    switch method {
    case .ppo: ppo = changed(ppo)
    case .reinforce: reinforce = changed(reinforce)
    case .rloo: rloo = changed(rloo)
    case .grpo: grpo = changed(grpo)
    case .raft: raft = changed(raft)
    case .dpg: dpg = changed(dpg)
    case .brain: brain = changed(brain)
    case .iterate, .dpo, .kto: break
    }
  }
}
