// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneTraining

/// The knobs of a judge: of `attune judge`, `revise`, `evaluate --judge` and `rlhf --labeller judge`.
public struct JudgeSettings: Settings {
  /// How answers are judged.
  public enum Way: String, CaseIterable, Codable, Sendable {
    /// Two answers at a time, in both orders.
    case comparison
    /// Each answer alone, by a grade from 1 to 5: the grades' mean under their probabilities.
    case rubric
  }

  /// The judges: models, or addresses of OpenAI-compatible servers. Several are averaged.
  public var judges: [String] = []
  /// A file of principles, one a line; empty: Attune's own sixteen.
  public var constitution = ""
  /// How answers are judged.
  public var by = Way.comparison
  /// What is written: pairs, or with `rubric` also rankings.
  public var shape = PreferenceMaker.Shape.pairs
  /// Principles that are drawn for each comparison and averaged over.
  public var principles = 1
  /// Pairs of answers compared for each prompt; 0 is all.
  public var pairsPerPrompt = 0
  /// Whether the judge thinks aloud before it answers.
  public var reasoning = false
  /// Most tokens of its thoughts.
  public var reasoningTokens = 256
  /// Which model of a server; empty: the only one that it has.
  public var serverModel = ""
  /// How a server's answers are read.
  public var reading = ServerReading.automatic
  /// Answers that are sampled where a server has no log-probabilities.
  public var votes = 5
  /// Requests to a server at once.
  public var parallel = 8
  /// How often a request that failed is tried again.
  public var retries = 5
  /// Seconds before the first further try; each pause is twice the one before.
  public var retrySeconds = 1.0
  /// Seconds that a server may be silent.
  public var timeout = 120.0
  /// The environment variable that holds a server's key.
  public var keyVariable = "ATTUNE_JUDGE_KEY"
  /// Tokens that a local judge works on at once.
  public var pieceTokens = 2048
  /// The seed of pairs, principles and votes.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var unread: [(knob: String, why: String)] = []
    if !reasoning { unread.append(("reasoning_tokens", "reasoning is off")) }
    if by == .rubric, shape == .rankings {
      unread.append(("pairs_per_prompt", "shape is rankings"))
    }
    return unread
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(
      shape == .pairs || by == .rubric, "shape",
      "pairs, for only by=rubric gives each answer a score")
  }
}

extension JudgeSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "judges",
      "The judges: models, or addresses of OpenAI-compatible servers. Several are averaged.", .texts
    ),
    Knob(
      "constitution", "A file of principles, one a line; empty: Attune's own sixteen.", .text),
    Knob("by", "How answers are judged.", .choice(Way.self)),
    Knob(
      "shape", "What is written: pairs, or with `rubric` also rankings.",
      .choice(PreferenceMaker.Shape.self)),
    Knob(
      "principles", "Principles that are drawn for each comparison and averaged over.",
      .whole(atLeast: 1)),
    Knob(
      "pairs_per_prompt", "Pairs of answers compared for each prompt; 0 is all.",
      .whole(atLeast: 0)),
    Knob("reasoning", "Whether the judge thinks aloud before it answers.", .flag),
    Knob("reasoning_tokens", "Most tokens of its thoughts.", .whole(atLeast: 1)),
    Knob("server_model", "Which model of a server; empty: the only one that it has.", .text),
    Knob("reading", "How a server's answers are read.", .choice(ServerReading.self)),
    Knob(
      "votes", "Answers that are sampled where a server has no log-probabilities.",
      .whole(1...1000)),
    Knob("parallel", "Requests to a server at once.", .whole(1...256)),
    Knob("retries", "How often a request that failed is tried again.", .whole(0...20)),
    Knob(
      "retry_seconds", "Seconds before the first further try; each pause is twice the one before.",
      .number(.from(0, to: 60))),
    Knob(
      "timeout", "Seconds that a server may be silent.", .number(.above(0, atMost: 3600))),
    Knob("key_variable", "The environment variable that holds a server's key.", .text),
    Knob("piece_tokens", "Tokens that a local judge works on at once.", .whole(atLeast: 1)),
    Knob.seed("pairs, principles and votes"),
  ]
}
