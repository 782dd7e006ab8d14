// SPDX-License-Identifier: Apache-2.0

/// What a run came to whose answers were sampled on the way.
public struct OnlineReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The trainer and its variant: `ppo`, `grpo`, `dapo`.
  public var method: String
  /// The folder of the trained policy.
  public var model: String
  /// Rollouts made.
  public var rollouts: Int
  /// Optimiser steps.
  public var steps: Int
  /// Mean reward over the first rollout's answers; weighted by π/q where another model drew them.
  public var firstReward: Double
  /// The same over the last rollout's.
  public var lastReward: Double
  /// KL from the reference in nats a sequence, over the last rollout's answers.
  public var kl: Double
  /// The most KL that one round of best-of-n adds, in nats a sequence; of `raft` alone.
  public var bestOfNBound: Double?
  /// The rollout after which the policy was that is written, where `keep_best` chose it; 0 is the start.
  public var bestRollout: Int?
  /// Its figure on held-out rows.
  public var bestFigure: Double?
  /// How each constraint was kept; nil without one.
  public var constraints: [ConstraintOutcome]?
  /// Why the run ended: `rollouts`, or `kl_budget`.
  public var stopped: String
  /// What became of the data's rows; of equal prompts the first one is trained on.
  public var dataRows: RowAccount
  /// What was noticed on the way.
  public var warnings: [String]
  /// Seconds of this process's part of the run.
  public var seconds: Double
}
