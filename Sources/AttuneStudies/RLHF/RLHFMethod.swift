// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
import Foundation

extension RLHFRun {
  /// A policy from the start, whatever it became in earlier rounds: going on with what those ended as
  /// reached less (`Documentation/Log.md`, 2026-11-26).
  mutating func trainPolicy(_ round: RLHFRound) throws {
    let isEarly = round.number < settings.rounds && settings.earlyRollouts > 0
    var knobs = settings.policyKnobs
    knobs.seed = round.seed(knobs.seed)
    if isEarly, var online = knobs as? any OnlineSettings & PolicyMethod {
      online.rollout.rollouts = settings.earlyRollouts
      knobs = online
    }
    let (method, run) = (settings.method, self)
    let sources = try climbed(round).keeping(
      knobs.constraints, on: start.engine, beside: start,
      answers: round.policyFolder.appending(path: RewardSources.answersFile))
    var task = PolicyTask(
      start: start, prompts: trainPrompts, rewards: sources.weighted,
      rewardFingerprint: sources.fingerprint, gold: try goldReward(),
      preferences: round.preferences, heldOutPreferences: heldOutPreferences,
      output: round.policyFolder)
    try perform(
      round.step(.policy), settings: knobs,
      inputs: [
        ("method", method.rawValue), ("model", start.fingerprint),
        (settings.hasGrader ? "grader" : "reward model", sources.fingerprint),
        ("prompts", try Fingerprint.of(file: trainPrompts)),
        ("labeller", labeller), roundInput(round),
      ]
        + (method.readsPreferences
          ? [("preferences", try Fingerprint.of(file: round.preferences))] : [])
        + (settings.hasGrader
          ? [("held-out prompts", try Fingerprint.of(file: heldOutPrompts))] : [])
    ) { restart in
      try run.train(restart) {
        task.options = $0
        // What a grader says of held-out rows needs nobody's preferences: the curve that says whether what is
        // learned holds elsewhere.
        if run.settings.hasGrader {
          task.options.heldOut = try DataFile.readPrompts(run.heldOutPrompts)
        }
        return try knobs.trainPolicy(task).text
      }
    }
  }
}

extension PolicyOutcome {
  /// What it came to, and what held-out rows say.
  var text: String { words + (contrast?.heldOutText.map { "; \($0)" } ?? "") }
}
