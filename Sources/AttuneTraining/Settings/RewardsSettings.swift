// SPDX-License-Identifier: Apache-2.0

/// What rewards are normalised by.
public enum RewardNormalisation: String, Codable, Sendable, CaseIterable {
  /// Nothing.
  case none
  /// Mean and deviation on answers of the start: the reward model's own, else the first rollout's.
  case start
  /// Each source by mean and deviation of the answers to a prompt, before their weighted sum (GDPO).
  case sources
}

/// The knobs of what becomes of rewards before they are learned from.
public struct RewardsSettings: Codable, Sendable, Equatable {
  /// What rewards are normalised by.
  public var normalise = RewardNormalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0
  /// What means of sources are to keep to: `words<=20`.
  public var constraints: [String] = []

  /// The defaults.
  public init() {}

  /// Every knob.
  package static let knobs = [
    Knob(
      "normalise",
      "What rewards are normalised by: nothing, the start's mean and deviation, or, source by source "
        + "before their sum, those of a prompt's answers (GDPO).", .choice(RewardNormalisation.self)
    ),
    Knob(
      "penalise_missing_end",
      "Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.",
      .flag),
    Knob("missing_end_reward", "That reward, after normalisation.", .number(.finite)),
    Knob(
      "constraints",
      "What means of sources are to keep to, by a price that moves while they don't: `words<=20`, "
        + "`labeller:positive>=0.5`, with `@RATE` behind it where that is not 0.1.", .texts),
  ]

  /// Those without effect.
  package var unreadKnobs: [(knob: String, why: String)] {
    penaliseMissingEnd ? [] : [("missing_end_reward", "penalise_missing_end is false")]
  }
}
