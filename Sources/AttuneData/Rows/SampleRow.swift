// SPDX-License-Identifier: Apache-2.0

/// The answers that a model, or several, gave to one prompt.
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
    /// Its token ids, with the end-of-sequence token if it ended by itself; nil where a server
    /// answered, which tells none.
    public var ids: [Int32]?
    /// The log-probability of the ids given the prompt, in nats: at the sampling temperature over
    /// the full vocabulary, summed over ids; nil where there are no ids.
    public var logProbability: Double?
    /// Why it ended.
    public var finishReason: FinishReason
    /// Who gave it, in a row of several models; else the row says so.
    public var model: Model?
    /// How it was sampled, in a row of several models; else the row says so.
    public var sampling: JSONValue?

    /// Makes an answer.
    public init(
      text: String, ids: [Int32]?, logProbability: Double?, finishReason: FinishReason,
      model: Model? = nil, sampling: JSONValue? = nil
    ) {
      self.text = text
      self.ids = ids
      self.logProbability = logProbability
      self.finishReason = finishReason
      self.model = model
      self.sampling = sampling
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

    /// The model as rows name it.
    public var json: JSONValue {
      .object([.init("name", .string(name)), .init("fingerprint", .string(fingerprint))])
    }
  }

  /// What was answered.
  public var prompt: Content
  /// The answers.
  public var completions: [Completion]
  /// Who answered; nil in files that do not say, and where each answer says so.
  public var model: Model?
  /// How it was sampled: `temperature`, `seed` and the like; an answer of its own sampling says so.
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

extension SampleRow {
  /// Who gave an answer of this row; nil where nobody knows.
  public func model(of completion: Completion) -> Model? { completion.model ?? model }

  /// How an answer of this row was sampled.
  public func sampling(of completion: Completion) -> JSONValue { completion.sampling ?? sampling }

  /// The models that are known to have answered, each once.
  public var models: [Model] {
    var seen: Set<Model> = []
    return completions.compactMap { model(of: $0) }.filter { seen.insert($0).inserted }
  }

  /// The token ids of all answers; nil where one has none.
  public var ids: [[Int32]]? {
    let known = completions.compactMap(\.ids)
    return known.count == completions.count ? known : nil
  }

  /// Checks that the answers are draws from a distribution whose log-probabilities the row holds, as
  /// importance weights need them.
  ///
  /// - Parameter place: Where the row stands.
  /// - Throws: ``DataError`` that names what keeps them from being that.
  public func checkProposal(at place: DataPlace) throws {
    for (index, completion) in completions.enumerated() {
      let who = model(of: completion).map { " of \($0.name)" } ?? ""
      guard completion.ids != nil, completion.logProbability != nil else {
        throw place.error(
          "completions[\(index)]\(who) has no ids and logprob, as no answer of a server has: it is no "
            + "draw from a proposal distribution that is known; sample with a local model")
      }
      let sampling = sampling(of: completion)
      let whole: [(String, Double)] = [
        ("top_k", 0), ("top_p", 1), ("min_p", 0), ("repetition_penalty", 1),
      ]
      for (knob, plain) in whole {
        guard case .number(let digits)? = sampling[knob], let value = Double(digits), value != plain
        else { continue }
        throw place.error(
          "completions[\(index)]\(who) was sampled with \(knob) \(digits), so its logprob is not that "
            + "of the distribution it was drawn from; sample without")
      }
      if case .number(let digits)? = sampling["temperature"], Double(digits) == 0 {
        throw place.error(
          "completions[\(index)]\(who) is greedy (temperature 0): it was not drawn from a distribution"
        )
      }
    }
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
    model = try json.present("model").map { try Model(json: $0, name: "key \"model\"", at: place) }
    sampling = json.present("sampling") ?? .object([])
    fields = json.fields.filter { !Self.keys.contains($0.key) }
  }

  /// The row.
  public var json: JSONValue {
    var all = [
      JSONValue.Field("prompt", prompt.json),
      JSONValue.Field("completions", .array(completions.map(\.json))),
    ]
    if let model { all.append(.init("model", model.json)) }
    if completions.contains(where: { $0.sampling == nil }) || completions.isEmpty {
      all.append(.init("sampling", sampling))
    }
    return .object(all + fields)
  }
}

extension SampleRow.Model {
  init(json: JSONValue, name: String, at place: DataPlace) throws {
    guard case .string(let model)? = json["name"],
      case .string(let fingerprint)? = json["fingerprint"]
    else { throw place.error("\(name) must be an object with name and fingerprint") }
    self.init(name: model, fingerprint: fingerprint)
  }
}

extension SampleRow.Completion {
  init(json: JSONValue, name: String, at place: DataPlace) throws {
    guard case .string(let text)? = json["text"] else {
      throw place.error("\(name).text must be a string")
    }
    var ids: [Int32]?
    if let value = json.present("ids") {
      guard case .array(let values) = value else {
        throw place.error("\(name).ids must be a list of token ids")
      }
      ids = try values.map { value in
        guard case .number(let digits) = value, let id = Int32(digits), id >= 0 else {
          throw place.error("\(name).ids must hold token ids")
        }
        return id
      }
    }
    let logProbability = try json.present("logprob").map {
      try $0.finite("\(name).logprob", at: place)
    }
    guard (ids == nil) == (logProbability == nil) else {
      throw place.error(
        ids == nil ? "\(name).ids is missing beside its logprob" : "\(name).logprob is missing")
    }
    guard case .string(let reason)? = json["finish_reason"],
      let finishReason = SampleRow.FinishReason(rawValue: reason)
    else { throw place.error("\(name).finish_reason must be \"stop\" or \"length\"") }
    self.init(
      text: text, ids: ids, logProbability: logProbability, finishReason: finishReason,
      model: try json.present("model").map {
        try SampleRow.Model(json: $0, name: "\(name).model", at: place)
      }, sampling: json.present("sampling"))
  }

  var json: JSONValue {
    var fields = [JSONValue.Field("text", .string(text))]
    if let ids { fields.append(.init("ids", .array(ids.map { .int(Int($0)) }))) }
    if let logProbability { fields.append(.init("logprob", .double(logProbability))) }
    fields.append(.init("finish_reason", .string(finishReason.rawValue)))
    if let model { fields.append(.init("model", model.json)) }
    if let sampling { fields.append(.init("sampling", sampling)) }
    return .object(fields)
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
