// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import GRDB

/// Puts what a row of a file says into the tables beside the row itself.
struct RecordReader {
  /// The columns of a row that it reads beside those of the row's format; the others are named to
  /// people, since the tables have no place for what they say.
  static func columns(of row: DataRow) -> Set<String> {
    let reason = Set([row.rationaleColumn].compactMap(\.self))
    // Without a judgement it is the words that somebody gave.
    let words = reason.isEmpty ? [] : reason.union(["labeller", "annotator", "time"])
    let judged = reason.union(["labeller", "annotator", "time", "seconds"])
    switch row.example {
    case .samples, .stepwise: return []
    case .text: return row.example.prompt == nil ? [] : words
    case .prompt: return words
    case .completion: return words.union(["model"])
    case .unpaired: return judged.union(["model"])
    case .preference:
      return judged.union(row.pairModelColumns).union(["strength", "shown_first", "gold"])
    case .ranking(let ranking):
      let models = ranking.modelColumn(in: row.json).map { [$0] } ?? []
      return ranking.completions.count > 1 ? judged.union(models).union(["gold"]) : Set(models)
    }
  }

  private let row: DataRow
  private let annotator: String?
  private let origin: Comparison.Origin
  private let model: SampleRow.Model?
  private let pairModels: (chosen: SampleRow.Model?, rejected: SampleRow.Model?)
  private let chosenPosition: Int?
  private let strength: Int?
  private let isGold: Bool
  private let time: Double
  private let milliseconds: Int?

  /// Reads what stands beside the row's texts.
  ///
  /// - Parameters:
  ///   - row: The row.
  ///   - annotator: Who gave the feedback if the row does not say.
  ///   - origin: Whether that was a person or a model.
  ///   - isKey: Whether it is an answer key even if the row does not say so.
  ///   - place: Where the row stands.
  /// - Throws: `DataError` that names the column that holds something else.
  init(
    row: DataRow, annotator: String?, origin: Comparison.Origin, isKey: Bool = false,
    at place: DataPlace
  ) throws(DataError) {
    self.row = row
    self.origin = origin
    let json = row.json
    do {
      if case .stepwise = row.example {
        throw place.error("the store has no place for what is said of an answer's steps")
      }
      self.annotator =
        try json.optionalString("labeller", at: place) ?? Self.annotator(json, at: place)
        ?? annotator
      // A samples row reads its own.
      let isSamples = row.example.kind == .samples
      model = isSamples ? nil : try Self.model(json["model"], "model", at: place)
      let named = row.pairModels
      pairModels = (
        try Self.model(named.chosen, "chosen_model", at: place),
        try Self.model(named.rejected, "rejected_model", at: place)
      )
      strength = try json.optionalInt("strength", at: place)
      if let strength, !(1...9).contains(strength) {
        throw place.error(
          "key \"strength\" must lie between 1 (slightly better) and 9, not \(strength)")
      }
      let says = json.present("gold") == nil ? false : try json.bool("gold", at: place)
      isGold = isKey || says
      time = try json.optionalDouble("time", at: place) ?? 0
      // The year 5138: milliseconds since 1970 lie beyond.
      guard (0...1e11).contains(time) else {
        throw place.error("key \"time\" must be seconds since 1970, not \(time)")
      }
      let seconds = try json.optionalDouble("seconds", at: place)
      if let seconds, !(0...1e9).contains(seconds) {
        throw place.error("key \"seconds\" must say how long it took, not \(seconds)")
      }
      milliseconds = seconds.map { Int(($0 * 1000).rounded()) }
      chosenPosition = try Self.chosenPosition(row, at: place)
    } catch let error as DataError {
      throw error
    } catch {
      throw place.error("\(error)")
    }
  }

  /// Adds it.
  ///
  /// - Parameters:
  ///   - db: The store.
  ///   - record: The row's own number, if it is kept.
  /// - Returns: The comparison's number, if it is one.
  @discardableResult
  func add(to db: Database, record: Int64? = nil) throws -> Int64? {
    switch row.example {
    case .text:
      if let prompt = row.example.prompt {
        _ = try Rows.prompt(prompt, in: db)
        try addRationale(to: prompt, in: db)
      }
    case .prompt(let prompt):
      _ = try Rows.prompt(prompt, in: db)
      try addRationale(to: prompt, in: db)
    case .completion(let prompt, let completion):
      let id = try Rows.prompt(prompt, in: db)
      let answer = Answer(content: completion, model: model)
      _ = try Rows.answer(answer, prompt: id, in: db)
      try addRationale(to: prompt, answer: answer, in: db)
    case .unpaired(let prompt, let completion, let label):
      let id = try Rows.prompt(prompt, in: db)
      let answer = Answer(content: completion, model: model)
      try db.execute(
        sql: """
          INSERT INTO thumb (record, prompt, answer, good, annotator, time, milliseconds)
          VALUES (?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          record, id, try Rows.answer(answer, prompt: id, in: db), label, annotator, time,
          milliseconds,
        ])
      try addRationale(to: prompt, answer: answer, in: db)
    case .samples(let samples): _ = try Rows.answers(samples, in: db)
    case .stepwise: break  // refused as it is read
    case .preference(let pair): return try add(pair, record, to: db)
    case .ranking(let ranking): return try add(ranking, record, to: db)
    }
    return nil
  }

  private func add(_ pair: Preference, _ record: Int64?, to db: Database) throws -> Int64 {
    let isDecided = pair.outcome == .preferred
    let chosen = Answer(content: pair.chosen, model: pairModels.chosen)
    let rejected = Answer(content: pair.rejected, model: pairModels.rejected)
    let comparison = Comparison(
      prompt: pair.prompt,
      entries: [
        .init(answer: chosen, rank: 1, score: pair.chosenScore, position: chosenPosition),
        .init(
          answer: rejected, rank: isDecided ? 2 : 1, score: pair.rejectedScore,
          position: chosenPosition.map { 1 - $0 }),
      ], outcome: Comparison.Outcome(pair.outcome),
      annotator: pair.labeller ?? annotator, origin: origin, strength: strength,
      probability: pair.probability, margin: pair.margin, isGold: isGold, time: time,
      milliseconds: milliseconds)
    let id = try Rows.add(comparison, record: record, to: db)
    try addRationale(to: pair.prompt, comparison: id, in: db)
    return id
  }

  private func add(_ ranking: RankingRow, _ record: Int64?, to db: Database) throws -> Int64? {
    let answers = zip(ranking.completions, ranking.models(in: row.json)).map {
      Answer(content: $0, model: $1)
    }
    guard answers.count > 1 else {
      let id = try Rows.prompt(ranking.prompt, in: db)
      for answer in answers { _ = try Rows.answer(answer, prompt: id, in: db) }
      return nil
    }
    let comparison = Comparison(
      prompt: ranking.prompt,
      entries: zip(answers, ranking.scores).map { answer, score in
        .init(answer: answer, rank: 1 + ranking.scores.count { $0 > score }, score: score)
      }, outcome: Set(ranking.scores).count == 1 ? .tie : .preferred,
      annotator: ranking.labeller ?? annotator, origin: origin,
      isGold: isGold, time: time, milliseconds: milliseconds)
    let id = try Rows.add(comparison, record: record, to: db)
    try addRationale(to: ranking.prompt, comparison: id, in: db)
    return id
  }

  private func addRationale(
    to prompt: Content, answer: Answer? = nil, comparison: Int64? = nil, in db: Database
  ) throws {
    guard let text = row.rationale else { return }
    let id = try Rows.prompt(prompt, in: db)
    try db.execute(
      sql: """
        INSERT INTO critique (prompt, answer, comparison, text, annotator, time)
        VALUES (?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        id, try answer.map { try Rows.answer($0, prompt: id, in: db) }, comparison, text,
        annotator, time,
      ])
  }

  /// Who judged by a column that other tools write: a name, or Label Studio's number.
  private static func annotator(_ json: JSONValue, at place: DataPlace) throws -> String? {
    switch json.present("annotator") {
    case .string(let text), .number(let text): text
    case nil: nil
    case let other?:
      throw place.error("key \"annotator\" must be a name or a number, not \(other.kindName)")
    }
  }

  /// Where the chosen answer was shown, if the row says so: `shown_first` in Attune's rows, the order
  /// of `summaries` in OpenAI's.
  private static func chosenPosition(_ row: DataRow, at place: DataPlace) throws -> Int? {
    switch row.json.present("shown_first") {
    case .string("chosen"): return 0
    case .string("rejected"): return 1
    case nil: break
    default: throw place.error("key \"shown_first\" must be \"chosen\" or \"rejected\"")
    }
    return row.json.present("summaries") == nil
      ? nil : try row.json.optionalInt("choice", at: place)
  }

  /// A model, by its name or by `{"name", "fingerprint"}`.
  private static func model(
    _ json: JSONValue?, _ key: String, at place: DataPlace
  ) throws -> SampleRow.Model? {
    guard let json, json != .null else { return nil }
    guard let model = SampleRow.Model(json) else {
      throw place.error("key \"\(key)\" must be a model's name or an object that has one")
    }
    return model
  }
}

extension SampleRow.Model {
  /// A model, by its name or by `{"name", "fingerprint"}`; nil for anything else.
  init?(_ json: JSONValue?) {
    guard let name = json?.asString ?? json?["name"]?.asString else { return nil }
    self.init(name: name, fingerprint: json?["fingerprint"]?.asString ?? "")
  }
}

extension RankingRow {
  /// The models that gave the answers, where the row names them: at each answer, or as `models` as
  /// `attune label` and `attune judge` write them.
  func models(in json: JSONValue) -> [SampleRow.Model?] {
    if let values = listedModels(in: json) { return values.map { SampleRow.Model($0) } }
    if let list = Self.list(in: json), case .array(let values)? = json[list] {
      return values.map { SampleRow.Model($0["model"]) }
    }
    return completions.map { _ in nil }
  }

  /// The column, or the field of each answer, that ``models(in:)`` reads.
  func modelColumn(in json: JSONValue) -> String? {
    listedModels(in: json) != nil ? "models" : Self.list(in: json).map { "\($0)[].model" }
  }

  private func listedModels(in json: JSONValue) -> [JSONValue]? {
    guard case .array(let values)? = json["models"], values.count == completions.count else {
      return nil
    }
    return values
  }
}
