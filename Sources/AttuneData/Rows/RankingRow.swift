// SPDX-License-Identifier: Apache-2.0

/// Several answers to one prompt with a score each; the higher the better, equal scores are ties.
public struct RankingRow: Sendable, Hashable {
  /// What all of them answer.
  public var prompt: Content
  /// The answers, at least one.
  public var completions: [Content]
  /// A score for each answer.
  public var scores: [Double]
  /// Who or what scored them.
  public var labeller: String?

  /// Makes a row; there must be as many scores as completions.
  public init(prompt: Content, completions: [Content], scores: [Double], labeller: String? = nil) {
    precondition(completions.count == scores.count, "a ranking needs one score per completion")
    self.prompt = prompt
    self.completions = completions
    self.scores = scores
    self.labeller = labeller
  }
}

extension RankingRow: JSONRow {
  /// Where the answers stand, in the order in which the columns are looked for.
  private static let lists = ["completions", "answers", "responses"]

  /// The column in which a row has its answers.
  package static func list(in row: JSONValue) -> String? {
    lists.first { row.present($0) != nil }
  }

  /// Where an answer's text stands, if it is an object.
  private static let texts = ["text", "response", "answer", "completion", "content"]
  /// Where its score stands; the higher the better.
  private static let scores = ["score", "overall_score"]

  /// Whether a row has several answers and what orders them.
  static func fits(_ row: JSONValue) -> Bool {
    guard row.present("prompt") != nil || row.present("instruction") != nil,
      let list = list(in: row),
      case .array(let answers)? = row[list]
    else { return false }
    if row.present("scores") != nil { return true }
    if list == "completions", row.present("prompt") == nil { return true }
    return (scores + ["rank"]).contains { answers.first?.present($0) != nil }
  }

  /// Reads `{"prompt","completions","scores","labeller"}`, where a completion is a string, a list
  /// of messages, or an object that holds its own score: `{"text", "score"}` or UltraFeedback's
  /// `{"response", "overall_score"}` with the prompt under `instruction`, or Nectar's `answers` of
  /// `{"answer", "rank"}`, 1 being the best.
  public init(json: JSONValue, at place: DataPlace) throws {
    try self.init(Columns(json, at: place))
  }

  init(_ columns: Columns) throws {
    let place = columns.place
    let promptKey =
      columns.has("prompt") ? "prompt" : columns.first(of: ["instruction"]) ?? "prompt"
    let list = Self.list(in: columns.json) ?? "completions"
    var prompt = try columns.content(promptKey)
    let values = try columns.array(list)
    if values.isEmpty { throw place.error("key \"\(list)\" is an empty list") }
    var completions: [Content] = []
    var scores: [Double] = []
    // A column of scores says more than ranks, which are named as unused then.
    let scoreKeys = columns.has("scores") ? Self.scores : Self.scores + ["rank"]
    var unread: [String] = []
    for (i, value) in values.enumerated() {
      let name = "\(list)[\(i)]"
      guard case .object(let fields) = value else {
        completions.append(try Content(value, name: name, at: place))
        continue
      }
      guard let textKey = Self.texts.first(where: { value[$0] != nil }), let text = value[textKey]
      else {
        throw place.error("\(name) has neither \"text\" nor \"response\"")
      }
      completions.append(try Content(text, name: "\(name).\(textKey)", at: place))
      let scoreKey = scoreKeys.first { value.present($0) != nil }
      if let scoreKey, let score = value.present(scoreKey) {
        let number = try score.finite("\(name).\(scoreKey)", at: place)
        scores.append(scoreKey == "rank" ? -number : number)
      }
      for field in fields where field.key != textKey && field.key != scoreKey {
        let name = "\(list)[].\(field.key)"
        if field.value != .null, !unread.contains(name) { unread.append(name) }
      }
    }
    unread.forEach { columns.leave($0) }
    if columns.has("scores") {
      let column = try columns.array("scores").enumerated().map {
        try $1.finite("scores[\($0)]", at: place)
      }
      guard scores.isEmpty || scores == column else {
        throw place.error(
          "key \"scores\" and the scores in \"\(list)\" differ; leave one of the two out")
      }
      scores = column
    }
    guard scores.count == completions.count else {
      throw place.error("\(completions.count) completions but \(scores.count) scores")
    }
    if case .text(let text) = prompt {
      // UltraFeedback's instructions are what a user said, Nectar's prompts dialogues that end where
      // the answer begins.
      if var turns = Dialogue.messages(text) {
        if let last = turns.last, last.role == "assistant", last.content.isEmpty {
          turns.removeLast()
        }
        prompt = .messages(turns)
      } else if promptKey == "instruction" {
        prompt = .messages([Message(role: "user", content: text)])
      }
    }
    prompt = try columns.withSystem(prompt)
    self.init(
      prompt: prompt,
      completions: prompt.isConversational ? completions.map(\.spoken) : completions,
      scores: scores, labeller: try columns.optionalString("labeller"))
  }

  /// The row.
  public var json: JSONValue {
    var fields = [
      JSONValue.Field("prompt", prompt.json),
      JSONValue.Field("completions", .array(completions.map(\.json))),
      JSONValue.Field("scores", .array(scores.map { .double($0) })),
    ]
    if let labeller { fields.append(.init("labeller", .string(labeller))) }
    return .object(fields)
  }
}
