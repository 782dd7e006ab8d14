// SPDX-License-Identifier: Apache-2.0

/// The knobs of collecting preferences from people: of `attune collect`.
public struct CollectSettings: Codable, Sendable, Equatable {
  /// What people are asked.
  public enum Shape: String, CaseIterable, Codable, Sendable {
    /// Which of two answers is better.
    case pairs
    /// The order of several answers.
    case rankings
    /// Whether an answer is good or bad.
    case thumbs
  }

  /// What people are asked.
  public var shape = Shape.pairs
  /// People that each question goes to.
  public var votes = 1
  /// Pairs of each prompt; 0 is all. With answers of several models those of different ones first.
  public var pairsPerPrompt = 0
  /// Most answers that are ranked together.
  public var rankedTogether = 4
  /// Steps of strength that may be told by a second key; 0 does not ask.
  public var strengths = 0
  /// Whether a reason may be given.
  public var reasons = true
  /// Share of gold questions among those that somebody is asked, where there are gold questions.
  public var goldShare = 0.1
  /// Seconds after which a question that was not answered goes to somebody else.
  public var leaseSeconds = 600.0
  /// Requests a second that one annotator may make for long.
  public var requestsPerSecond = 20.0
  /// Requests that one annotator may make at once, after a pause.
  public var requestBurst = 200
  /// Longest reason, in characters.
  public var reasonLength = 4000
  /// Connections at once.
  public var connections = 512
  /// The seed of the order of questions and of the sides on which answers are shown.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs that have no effect, each with why.
  public var unreadKnobs: [(knob: String, why: String)] {
    var unread: [(knob: String, why: String)] = []
    if shape != .pairs {
      unread.append(("pairs_per_prompt", "shape is \(shape.rawValue)"))
      unread.append(("strengths", "shape is \(shape.rawValue)"))
    }
    if shape != .rankings { unread.append(("ranked_together", "shape is \(shape.rawValue)")) }
    if shape == .thumbs { unread.append(("gold_share", "shape is thumbs")) }
    if !reasons { unread.append(("reason_length", "reasons is false")) }
    return unread
  }

  /// How many answers each of some models has to give to a prompt so that there is a question.
  public func answersOfEach(_ models: Int) -> Int {
    let needed =
      switch shape {
      case .pairs: 2
      case .rankings: rankedTogether
      case .thumbs: 1
      }
    return (needed + models - 1) / max(1, models)
  }

  /// Checks ranges.
  ///
  /// - Throws: ``ServerError`` that names the knob.
  public func validate() throws {
    try require((1...1000).contains(votes), "votes", "1 to 1000")
    try require(pairsPerPrompt >= 0, "pairs_per_prompt", "at least 0")
    try require((2...9).contains(rankedTogether), "ranked_together", "2 to 9")
    try require((0...9).contains(strengths) && strengths != 1, "strengths", "0, or 2 to 9")
    try require(goldShare >= 0 && goldShare < 1, "gold_share", "at least 0, below 1")
    try require((1...86_400).contains(leaseSeconds), "lease_seconds", "1 to 86400")
    try require(requestsPerSecond > 0, "requests_per_second", "above 0")
    try require(requestBurst > 0, "request_burst", "at least 1")
    try require((1...100_000).contains(reasonLength), "reason_length", "1 to 100000")
    try require((1...65_536).contains(connections), "connections", "1 to 65536")
  }

  private func require(_ isGood: Bool, _ knob: String, _ range: String) throws {
    guard isGood else { throw ServerError(.badSetting, "\(knob) must be \(range)") }
  }
}
