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
  /// Reads `{"prompt","completions","scores","labeller"}`, where a completion is a string, a list
  /// of messages, or an object that holds its own score: `{"text", "score"}` or UltraFeedback's
  /// `{"response", "overall_score"}` with the prompt under `instruction`.
  public init(json: JSONValue, at place: DataPlace) throws {
    let promptKey = json["prompt"] == nil && json["instruction"] != nil ? "instruction" : "prompt"
    guard let prompt = json[promptKey] else { throw place.error("key \"prompt\" is missing") }
    let values = try json.array("completions", at: place)
    if values.isEmpty { throw place.error("key \"completions\" is an empty list") }
    var completions: [Content] = []
    var scores: [Double] = []
    for (i, value) in values.enumerated() {
      let name = "completions[\(i)]"
      guard case .object = value else {
        completions.append(try Content(value, name: name, at: place))
        continue
      }
      guard let text = value["text"] ?? value["response"] else {
        throw place.error("\(name) has neither \"text\" nor \"response\"")
      }
      completions.append(try Content(text, name: "\(name).text", at: place))
      if let score = value.present("score") ?? value.present("overall_score") {
        scores.append(try score.finite("\(name).score", at: place))
      }
    }
    if json["scores"] != nil {
      scores = try json.array("scores", at: place).enumerated().map {
        try $1.finite("scores[\($0)]", at: place)
      }
    }
    guard scores.count == completions.count else {
      throw place.error("\(completions.count) completions but \(scores.count) scores")
    }
    self.init(
      prompt: try Content(prompt, name: promptKey, at: place), completions: completions,
      scores: scores, labeller: try json.optionalString("labeller", at: place))
    // UltraFeedback's instructions are what a user said.
    if promptKey == "instruction", case .text(let text) = self.prompt {
      self.prompt = .messages([Message(role: "user", content: text)])
      self.completions = self.completions.map { answer in
        guard case .text(let text) = answer else { return answer }
        return .messages([Message(role: "assistant", content: text)])
      }
    }
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
