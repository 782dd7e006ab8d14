// SPDX-License-Identifier: Apache-2.0

/// Two answers to one prompt and which of them is preferred: TRL's preference row and Attune's
/// own fields beside it (`Documentation/Formats.md`).
public struct Preference: Sendable, Hashable {
  /// What the comparison ended in.
  public enum Outcome: String, Codable, Sendable, CaseIterable {
    /// The chosen answer is the better one.
    case preferred
    /// Neither is better; which one stands as chosen means nothing.
    case tie
    /// Neither is good enough; which one stands as chosen means nothing.
    case bothBad = "both_bad"
  }

  /// What both answer.
  public var prompt: Content
  /// The preferred answer, without the prompt.
  public var chosen: Content
  /// The other answer, without the prompt.
  public var rejected: Content
  /// What the comparison ended in.
  public var outcome: Outcome
  /// How probable it is that chosen is the better one, 0…1, where the labeller gives soft labels.
  public var probability: Double?
  /// By how much the reward of chosen should at least exceed the other's.
  public var margin: Double?
  /// The labeller's score of the chosen answer.
  public var chosenScore: Double?
  /// The labeller's score of the rejected answer.
  public var rejectedScore: Double?
  /// Who or what compared them.
  public var labeller: String?

  /// Makes a comparison.
  public init(
    prompt: Content, chosen: Content, rejected: Content, outcome: Outcome = .preferred,
    probability: Double? = nil, margin: Double? = nil, chosenScore: Double? = nil,
    rejectedScore: Double? = nil, labeller: String? = nil
  ) {
    self.prompt = prompt
    self.chosen = chosen
    self.rejected = rejected
    self.outcome = outcome
    self.probability = probability
    self.margin = margin
    self.chosenScore = chosenScore
    self.rejectedScore = rejectedScore
    self.labeller = labeller
  }
}

extension Preference: JSONRow {
  /// Reads `{"prompt","chosen","rejected", …}` with an explicit prompt.
  public init(json: JSONValue, at place: DataPlace) throws {
    let columns = Columns(json, at: place)
    self.init(
      prompt: try columns.content("prompt"), chosen: try columns.content("chosen"),
      rejected: try columns.content("rejected"))
    try readMarks(columns)
  }

  /// Reads what stands beside the texts: outcome, probability, margin, scores, labeller.
  mutating func readMarks(_ columns: Columns) throws {
    let place = columns.place
    if let name = try columns.optionalString("outcome") {
      guard let known = Outcome(rawValue: name) else {
        let names = Outcome.allCases.map(\.rawValue).joined(separator: ", ")
        throw place.error("key \"outcome\" is \"\(name)\"; expected one of \(names)")
      }
      outcome = known
    }
    probability = try columns.optionalDouble("probability")
    if let probability, !(0...1).contains(probability) {
      throw place.error("key \"probability\" must lie between 0 and 1, not \(probability)")
    }
    margin = try columns.optionalDouble("margin")
    // UltraFeedback's binarized rows name the scores the other way round.
    chosenScore = try columns.optionalDouble("chosen_score")
    if chosenScore == nil { chosenScore = try columns.optionalDouble("score_chosen") }
    rejectedScore = try columns.optionalDouble("rejected_score")
    if rejectedScore == nil { rejectedScore = try columns.optionalDouble("score_rejected") }
    labeller = try columns.optionalString("labeller")
  }

  /// The row, without the keys that say nothing.
  public var json: JSONValue {
    var fields = [
      JSONValue.Field("prompt", prompt.json), JSONValue.Field("chosen", chosen.json),
      JSONValue.Field("rejected", rejected.json),
    ]
    if outcome != .preferred { fields.append(.init("outcome", .string(outcome.rawValue))) }
    let numbers = [
      ("probability", probability), ("margin", margin), ("chosen_score", chosenScore),
      ("rejected_score", rejectedScore),
    ]
    for case (let key, let value?) in numbers { fields.append(.init(key, .double(value))) }
    if let labeller { fields.append(.init("labeller", .string(labeller))) }
    return .object(fields)
  }
}
