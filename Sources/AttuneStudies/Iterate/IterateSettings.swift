// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
public import AttuneRewards
public import AttuneTraining

/// The knobs of iterative preference optimisation.
public struct IterateSettings: Settings {
  /// Which pairs are made of a prompt's ranked answers.
  public enum Pairs: String, CaseIterable, Codable, Sendable {
    /// The best against the worst.
    case bestWorst = "best_worst"
    /// The best against each that is worse.
    case bestRest = "best_rest"
    /// Each against each that is worse.
    case all

    /// One line for help.
    public var summary: String {
      switch self {
      case .bestWorst: "a prompt's best answer against its worst"
      case .bestRest: "its best answer against each that is worse"
      case .all: "each answer against each that is worse"
      }
    }
  }

  /// How often answers are sampled and trained on.
  public var rounds = 3
  /// Whether a round is one optimiser step on a batch of fresh pairs, the policy kept in memory.
  public var online = false
  /// Prompts of a round; 0 is all of them, and online `dpo.batch_size`.
  public var promptsPerRound = 0
  /// Answers to each prompt; with `dpo.xpo_alpha` the last one is the reference's, as its paper has it.
  public var samplesPerPrompt = 4
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Sampling temperature; KL and implicit rewards of the samples are taken at it too.
  public var temperature = 1.0
  /// Which pairs are made of a prompt's ranked answers.
  public var pairs = Pairs.bestWorst
  /// Whether every round's reference is the policy that it began with, not the start.
  public var moveReference = false
  /// Share of each round's pairs that is taken from a fixed file; 0 without one.
  public var mixShare = 0.0
  /// Who ranks the answers where no reward does.
  public var judge = JudgeSettings()
  /// The contrastive round.
  public var dpo = DPOSettings()
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: every pair is trained on.
  public init() { dpo.evaluationShare = 0 }

  /// Knobs without effect, those of the round and the judge among them.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list =
      dpo.unreadKnobs(in: "dpo")
      + (hasJudge
        ? judge.unreadKnobs(in: "judge")
          + ["shape", "pairs_per_prompt"].map { ("judge.\($0)", "pairs says which pairs are made") }
        : judge.allKnobs(in: "judge", "there is no judge; name one with judge.judges"))
    list.append(("dpo.evaluation_share", "every pair is trained on; fresh ones evaluate"))
    if !dpo.loss.needsReference {
      list.append(("move_reference", "\(dpo.loss.rawValue) needs no reference"))
    }
    if online {
      list.append(("move_reference", "online is true: each step would begin at its reference"))
      for knob in ["epochs", "max_steps", "precompute_reference"] {
        list.append(("dpo.\(knob)", "online is true: a round is one step on fresh pairs"))
      }
    }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(dpo.evaluationShare == 0, "dpo.evaluation_share", "0: fresh pairs evaluate")
    try require(!moveReference || !online, "move_reference", "false where online is true")
    try require(
      !moveReference || dpo.loss.needsReference, "move_reference",
      "false where the loss (\(dpo.loss.rawValue)) needs no reference")
    try dpo.validate(in: "dpo")
    try judge.validate(in: "judge")
  }
}

extension IterateSettings {
  /// Whether a judge ranks, not a reward.
  var hasJudge: Bool { !judge.judges.isEmpty }

  /// Whether one of the answers to a prompt is the reference's.
  var explores: Bool { dpo.xpoAlpha > 0 }

  /// Prompts of a round.
  func promptCount(of all: Int) -> Int {
    promptsPerRound > 0 ? promptsPerRound : online ? min(all, dpo.batchSize) : all
  }

  /// The knobs of a round's training.
  func roundSettings(_ round: Int) -> DPOSettings {
    var settings = dpo
    settings.seed = seed &* 1_000_003 &+ UInt64(round)
    return settings
  }

  /// How a round's answers are sampled: with random numbers of its own, over the whole vocabulary.
  ///
  /// - Parameters:
  ///   - round: From 1; 0 is the look at the trained policy.
  ///   - count: Answers to each prompt.
  ///   - end: The tokens that end an answer.
  func sampling(round: Int, count: Int, end: [Int32]) -> SamplingSettings {
    var sampling = SamplingSettings()
    sampling.temperature = temperature
    sampling.maxTokens = maxTokens
    sampling.samplesPerPrompt = count
    sampling.seed = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(round)
    sampling.stopIds = end
    return sampling
  }
}
