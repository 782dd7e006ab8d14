// SPDX-License-Identifier: Apache-2.0

import AttuneData
package import Foundation

/// What any method is given to train a policy from: the start, prompts, what is climbed, and the
/// preferences that some of them learn from.
package struct PolicyTask {
  /// The model to start from; it is the reference too.
  package let start: LoadedModel
  /// The file of prompts.
  package let prompts: URL
  /// What is climbed, each source with its weight.
  package let rewards: [(source: any RewardSource, weight: Double)]
  /// What tells these sources from others.
  package let rewardFingerprint: String
  /// A reward that is only measured.
  package let gold: (any RewardSource)?
  /// The pairs that methods without rollouts learn from.
  package let preferences: URL
  /// Pairs that these are evaluated on; nil: on none.
  package let heldOutPreferences: URL?
  /// The folder of the policy.
  package let output: URL
  /// How the run is watched and stopped.
  package var options: RunOptions

  /// Makes a task.
  package init(
    start: LoadedModel, prompts: URL, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, gold: (any RewardSource)?, preferences: URL,
    heldOutPreferences: URL?, output: URL, options: RunOptions = RunOptions()
  ) {
    self.start = start
    self.prompts = prompts
    self.rewards = rewards
    self.rewardFingerprint = rewardFingerprint
    self.gold = gold
    self.preferences = preferences
    self.heldOutPreferences = heldOutPreferences
    self.output = output
    self.options = options
  }

  /// Trains with a method that learns from pairs or thumbs.
  func contrast(
    _ train: (LoadedModel, DataFile, DataFile?, URL, RunOptions) throws -> ContrastiveReport
  ) throws -> PolicyOutcome {
    let report = try train(
      start, try DataFile.read(preferences), try heldOutPreferences.map { try DataFile.read($0) },
      output, options)
    return PolicyOutcome(
      words: "\(report.loss) on \(report.rows) rows, \(report.steps) steps", contrast: report)
  }
}

/// What training a policy came to.
package struct PolicyOutcome {
  /// In words.
  package let words: String
  /// The report of a method that learned from pairs or thumbs, which held-out rows may be in.
  package let contrast: ContrastiveReport?

  /// Notes an outcome.
  package init(words: String, contrast: ContrastiveReport? = nil) {
    self.words = words
    self.contrast = contrast
  }
}
