// SPDX-License-Identifier: Apache-2.0

/// What rewards are normalised by.
public enum RewardNormalisation: String, Codable, Sendable, CaseIterable {
  /// Nothing.
  case none
  /// Mean and deviation on answers of the start: the reward model's own, else the first rollout's.
  case start
}

/// The knobs of what becomes of rewards before they are learned from.
public struct RewardsSettings: Codable, Sendable, Equatable {
  /// What rewards are normalised by.
  public var normalise = RewardNormalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0

  /// The defaults.
  public init() {}

  /// Every knob.
  package static let knobs = [
    Knob("normalise", "What rewards are normalised by.", .choice(RewardNormalisation.self)),
    Knob(
      "penalise_missing_end",
      "Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.",
      .flag),
    Knob("missing_end_reward", "That reward, after normalisation.", .number(.finite)),
  ]

  /// Those without effect.
  package var unreadKnobs: [(knob: String, why: String)] {
    penaliseMissingEnd ? [] : [("missing_end_reward", "penalise_missing_end is false")]
  }
}
