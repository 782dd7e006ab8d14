// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneTraining

/// What one round of iterative preference optimisation showed.
public struct IterateRound: Codable, Sendable, Equatable {
  /// The round, from 1; in the last look at the trained policy one more than rounds were made.
  public var round: Int
  /// Fingerprint of the policy that sampled.
  public var policy: String
  /// Prompts.
  public var prompts: Int
  /// Mean of what answers are ranked by. Where a judge compares, it is 0.5 by construction.
  public var reward: Double
  /// Mean difference of a prompt's best and worst answer.
  public var gap: Double
  /// KL from the start in nats a sequence.
  public var kl: Double
  /// Mean of the reward that is only measured.
  public var goldReward: Double?
  /// Share of the fresh pairs that the implicit reward ranks right before they are trained on.
  public var freshAccuracy: Double?
  /// Mean length in tokens.
  public var length: Double
  /// Share of answers that ended by themselves.
  public var ended: Double
  /// Pairs of fresh answers.
  public var pairs: Int
  /// Pairs from the fixed file.
  public var mixed = 0
  /// Loss of the round's training; nil where nothing was trained.
  public var loss: Double?
  /// Share of the round's pairs that the implicit reward ranks right as they were trained on.
  public var trainAccuracy: Double?

  init(_ round: Int, policy: String, answers: RankedAnswers, pairs: Int, metrics: MetricTotals) {
    self.round = round
    self.policy = policy
    prompts = answers.prompts.count
    reward = metrics[.rewardMean] ?? 0
    gap = metrics[.rewardGap] ?? 0
    kl = metrics[.klSequence] ?? 0
    goldReward = metrics[.goldReward]
    freshAccuracy = pairs > 0 ? metrics[.freshAccuracy] : nil
    length = metrics[.responseLength] ?? 0
    ended = metrics[.endedShare] ?? 0
    self.pairs = pairs
  }

  /// One line for people.
  var summary: String {
    "reward \(fixed(reward, 3)), KL \(fixed(kl, 2)), \(pairs) pairs"
      + (mixed > 0 ? " and \(mixed) mixed in" : "")
      + (goldReward.map { ", watched \(fixed($0, 3))" } ?? "")
  }
}

/// What iterative preference optimisation came to: the object of `iterate --json`.
public struct IterateReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The folder of the trained policy.
  public var model: String
  /// The loss, by name.
  public var loss: String
  /// Who ranked the answers.
  public var ranker: String
  /// What the rounds showed of the policies that they began with; online only the first and the last.
  public var rounds: [IterateRound]
  /// What the trained policy's answers to the first round's prompts show.
  public var trained: IterateRound
  /// Optimiser steps.
  public var steps: Int
  /// What became of the rows of prompts; of equal prompts the first one is answered.
  public var dataRows: RowAccount?
  /// What became of the rows of the file that is mixed in.
  public var mixedRows: RowAccount?
  /// Seconds of this process's part of the run.
  public var seconds: Double
}
