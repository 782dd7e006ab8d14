// SPDX-License-Identifier: Apache-2.0

/// The answers that a model gave to one prompt.
public struct SampleRow: Sendable, Hashable {
  /// Why an answer ended.
  public enum FinishReason: String, Codable, Sendable, CaseIterable {
    /// By the end-of-sequence token or a stop string.
    case stop
    /// It reached the limit of tokens.
    case length
  }

  /// One answer.
  public struct Completion: Sendable, Hashable {
    /// The answer's text, without the end-of-sequence token.
    public var text: String
    /// Its token ids, with the end-of-sequence token if it ended by itself.
    public var ids: [Int32]
    /// The log-probability of the ids given the prompt, in nats: at the sampling temperature over
    /// the full vocabulary, summed over ids.
    public var logProbability: Double
    /// Why it ended.
    public var finishReason: FinishReason

    /// Makes an answer.
    public init(text: String, ids: [Int32], logProbability: Double, finishReason: FinishReason) {
      self.text = text
      self.ids = ids
      self.logProbability = logProbability
      self.finishReason = finishReason
    }
  }

  /// The model that answered.
  public struct Model: Sendable, Hashable {
    /// Its name, as it was given.
    public var name: String
    /// What tells its weights from all others.
    public var fingerprint: String

    /// Names a model.
    public init(name: String, fingerprint: String) {
      self.name = name
      self.fingerprint = fingerprint
    }
  }

  /// What was answered.
  public var prompt: Content
  /// The answers.
  public var completions: [Completion]
  /// Who answered; nil in files that do not say.
  public var model: Model?
  /// How it was sampled: `temperature`, `seed` and the like.
  public var sampling: JSONValue
  /// Further fields of the prompt's row, kept.
  public var fields: [JSONValue.Field]

  /// Makes a row.
  public init(
    prompt: Content, completions: [Completion], model: Model? = nil,
    sampling: JSONValue = .object([]), fields: [JSONValue.Field] = []
  ) {
    self.prompt = prompt
    self.completions = completions
    self.model = model
    self.sampling = sampling
    self.fields = fields
  }
}

extension SampleRow: JSONRow {
  private static let keys: Set<String> = ["prompt", "completions", "model", "sampling"]

  /// Reads a row of a samples file.
  public init(json: JSONValue, at place: DataPlace) throws {
    guard let promptValue = json["prompt"] else { throw place.error("key \"prompt\" is missing") }
    prompt = try Content(promptValue, name: "prompt", at: place)
    completions = try json.array("completions", at: place).enumerated().map {
      try Completion(json: $1, name: "completions[\($0)]", at: place)
    }
    if let value = json.present("model") {
      guard case .string(let name)? = value["name"],
        case .string(let fingerprint)? = value["fingerprint"]
      else { throw place.error("key \"model\" must be an object with name and fingerprint") }
      model = Model(name: name, fingerprint: fingerprint)
    } else {
      model = nil
    }
    sampling = json.present("sampling") ?? .object([])
    fields = json.fields.filter { !Self.keys.contains($0.key) }
  }

  /// The row.
  public var json: JSONValue {
    var all = [
      JSONValue.Field("prompt", prompt.json),
      JSONValue.Field("completions", .array(completions.map(\.json))),
    ]
    if let model {
      all.append(
        .init(
          "model",
          .object([
            .init("name", .string(model.name)), .init("fingerprint", .string(model.fingerprint)),
          ])))
    }
    all.append(.init("sampling", sampling))
    return .object(all + fields)
  }
}

extension SampleRow.Completion {
  init(json: JSONValue, name: String, at place: DataPlace) throws {
    guard case .string(let text)? = json["text"] else {
      throw place.error("\(name).text must be a string")
    }
    guard case .array(let values)? = json["ids"] else {
      throw place.error("\(name).ids must be a list of token ids")
    }
    let ids = try values.map { value in
      guard case .number(let digits) = value, let id = Int32(digits), id >= 0 else {
        throw place.error("\(name).ids must hold token ids")
      }
      return id
    }
    guard let value = json["logprob"] else { throw place.error("\(name).logprob is missing") }
    guard case .string(let reason)? = json["finish_reason"],
      let finishReason = SampleRow.FinishReason(rawValue: reason)
    else { throw place.error("\(name).finish_reason must be \"stop\" or \"length\"") }
    self.init(
      text: text, ids: ids, logProbability: try value.finite("\(name).logprob", at: place),
      finishReason: finishReason)
  }

  var json: JSONValue {
    .object([
      .init("text", .string(text)), .init("ids", .array(ids.map { .int(Int($0)) })),
      .init("logprob", .double(logProbability)),
      .init("finish_reason", .string(finishReason.rawValue)),
    ])
  }
}

/// A row of a scores file: the row that came in, every field of it as it was, plus `score`.
public struct ScoreRow: Sendable, Hashable, JSONRow {
  /// The row that came in.
  public var row: JSONValue
  /// Its score; a list where the row holds several answers.
  public var scores: [Double]
  /// Whether ``scores`` is written as a list.
  public var isList: Bool

  /// Adds a score to a row.
  public init(row: JSONValue, score: Double) {
    self.row = row
    scores = [score]
    isList = false
  }

  /// Adds a score for each answer to a row that holds several.
  public init(row: JSONValue, scores: [Double]) {
    self.row = row
    self.scores = scores
    isList = true
  }

  /// Reads a row that has a score.
  public init(json: JSONValue, at place: DataPlace) throws {
    guard let value = json["score"] else { throw place.error("key \"score\" is missing") }
    row = .object(json.fields.filter { $0.key != "score" })
    if case .array(let values) = value {
      scores = try values.map { try $0.finite("score", at: place) }
      isList = true
    } else {
      scores = [try value.finite("key \"score\"", at: place)]
      isList = false
    }
  }

  /// The row with its score.
  public var json: JSONValue {
    row.setting(
      "score", isList ? .array(scores.map { .double($0) }) : .double(scores.first ?? 0))
  }
}
