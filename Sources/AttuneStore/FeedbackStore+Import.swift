// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import Foundation
import GRDB

/// What `attune feedback import` did.
public struct ImportReport: Codable, Sendable, Equatable {
  /// A row that could not be taken.
  public struct Broken: Codable, Sendable, Equatable {
    /// The line, from 1.
    public var line: Int
    /// What is wrong with it.
    public var reason: String
  }

  /// The version of this object.
  public var formatVersion = 1
  /// The file.
  public var file: String
  /// What its rows were taken for; nil where none could be read.
  public var format: String?
  /// Rows that were added.
  public var added = 0
  /// Rows that the store had already.
  public var known = 0
  /// Rows that could not be taken, by their line.
  public var broken: [Broken] = []

  private enum CodingKeys: String, CodingKey {
    case formatVersion = "format_version"
    case file, format, added, known, broken
  }

  /// The report for people.
  public var text: String {
    var lines = [
      "\(file): \(format ?? "no format that is known"); \(added) rows added, \(known) known"
    ]
    for row in broken { lines.append("\(file):\(row.line): passed over: \(row.reason)") }
    return lines.joined(separator: "\n")
  }
}

extension FeedbackStore {
  /// Takes the rows of a file of any format that Attune reads, all of them or, if the disk fails,
  /// none. A row that is broken stops nothing else.
  ///
  /// A row is known by its text and by who gave it: what is imported again adds nothing, and two
  /// equal rows of one file stay two.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - annotator: Who gave the feedback of rows that do not say.
  ///   - origin: Whether that was a person or a model, where that is known.
  /// - Throws: ``StoreError`` if no row can be used, and `DataError` if the file can't be read at all.
  public func importFile(
    _ file: URL, annotator: String? = nil, origin: Comparison.Origin = .file
  ) throws -> ImportReport {
    try write { db in
      var report = ImportReport(file: file.relativePath)
      var seen: [String: Int] = [:]
      try RowReader.forEach(in: file) { line, reason in
        report.broken.append(.init(line: line, reason: reason))
      } row: { raw in
        report.format = raw.format.rawValue
        let key = digest("\(raw.format.rawValue)\n\(annotator ?? "")\n\(raw.text)")
        let occurrence = seen[key, default: 0]
        seen[key] = occurrence + 1
        try db.execute(
          sql: """
            INSERT OR IGNORE INTO record (digest, occurrence, format, text, file, line, time)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            key, occurrence, raw.format.rawValue, raw.text, file.relativePath, raw.row.line,
            Date().timeIntervalSince1970,
          ])
        guard db.changesCount > 0 else {
          report.known += 1
          return
        }
        report.added += 1
        let reader = RecordReader(
          record: db.lastInsertedRowID, row: raw.row, annotator: annotator, origin: origin)
        try reader.add(to: db)
      }
      guard report.added + report.known > 0 else {
        let first = report.broken.first.map { ":\($0.line): \($0.reason)" } ?? ": it has none"
        throw StoreError(
          .badRequest, "\(report.file)\(first); no row of the file can be used")
      }
      return report
    }
  }
}

/// Puts what a row of a file says into the tables beside the row itself.
struct RecordReader {
  let record: Int64?
  let row: AttuneData.Row
  let annotator: String?
  let origin: Comparison.Origin
  /// Whether it is an answer key even if the row does not say so.
  var isKey = false

  /// Adds it.
  ///
  /// - Returns: The comparison's number, if it is one.
  @discardableResult
  func add(to db: Database) throws -> Int64? {
    switch row.example {
    case .text:
      if let prompt = row.example.prompt { _ = try Rows.prompt(prompt, in: db) }
    case .prompt(let prompt): _ = try Rows.prompt(prompt, in: db)
    case .completion(let prompt, let completion):
      let id = try Rows.prompt(prompt, in: db)
      _ = try Rows.answer(Answer(completion, model: model(row.json["model"])), prompt: id, in: db)
    case .unpaired(let prompt, let completion, let label):
      let thumb = Thumb(
        prompt: prompt, answer: Answer(completion, model: model(row.json["model"])),
        isGood: label, annotator: string("labeller") ?? annotator, time: number("time") ?? 0,
        milliseconds: milliseconds)
      _ = try Rows.add(thumb, record: record, superseding: nil, to: db)
    case .samples(let samples): _ = try Rows.answers(samples, in: db)
    case .preference(let pair): return try add(pair, to: db)
    case .ranking(let ranking): return try add(ranking, to: db)
    }
    return nil
  }

  private func add(_ pair: Preference, to db: Database) throws -> Int64 {
    let isDecided = pair.outcome == .preferred
    let shownFirst = chosenPosition
    let chosen = Answer(
      pair.chosen, model: model(row.json["chosen_model"] ?? row.json["chosen-model"]))
    let rejected = Answer(
      pair.rejected, model: model(row.json["rejected_model"] ?? row.json["rejected-model"]))
    let comparison = Comparison(
      prompt: pair.prompt,
      entries: [
        .init(chosen, rank: 1, score: pair.chosenScore, position: shownFirst),
        .init(
          rejected, rank: isDecided ? 2 : 1, score: pair.rejectedScore,
          position: shownFirst.map { 1 - $0 }),
      ], outcome: Comparison.Outcome(rawValue: pair.outcome.rawValue) ?? .preferred,
      annotator: pair.labeller ?? annotator, origin: origin,
      strength: number("strength").flatMap { Int(exactly: $0) }, probability: pair.probability,
      margin: pair.margin, isGold: isGold, time: number("time") ?? 0,
      milliseconds: milliseconds)
    let id = try Rows.add(comparison, record: record, superseding: nil, to: db)
    if let rationale = string("rationale"), !rationale.isEmpty {
      let critique = Critique(
        prompt: pair.prompt, comparison: id, text: rationale, annotator: comparison.annotator,
        time: comparison.time)
      _ = try Rows.add(critique, to: db)
    }
    return id
  }

  private func add(_ ranking: RankingRow, to db: Database) throws -> Int64? {
    var models: [SampleRow.Model?] = ranking.completions.map { _ in nil }
    if case .array(let values)? = row.json["completions"] {
      for (i, value) in values.enumerated() where i < models.count {
        models[i] = model(value["model"])
      }
    }
    // attune label and judge name them beside the answers.
    if case .array(let values)? = row.json["models"], values.count == models.count {
      models = values.map { model($0) }
    }
    let answers = zip(ranking.completions, models).map { Answer($0, model: $1) }
    guard answers.count > 1 else {
      let id = try Rows.prompt(ranking.prompt, in: db)
      for answer in answers { _ = try Rows.answer(answer, prompt: id, in: db) }
      return nil
    }
    let comparison = Comparison(
      prompt: ranking.prompt,
      entries: zip(answers, ranking.scores).map { answer, score in
        .init(answer, rank: 1 + ranking.scores.count { $0 > score }, score: score)
      }, outcome: Set(ranking.scores).count == 1 ? .tie : .preferred,
      annotator: ranking.labeller ?? annotator, origin: origin,
      isGold: isGold, time: number("time") ?? 0, milliseconds: milliseconds)
    return try Rows.add(comparison, record: record, superseding: nil, to: db)
  }

  private var isGold: Bool { isKey || row.json["gold"] == .bool(true) }

  /// Where the chosen answer was shown, if the row says so: `shown_first` in Attune's rows, the order
  /// of `summaries` in OpenAI's.
  private var chosenPosition: Int? {
    switch row.json["shown_first"] {
    case .string("chosen"): return 0
    case .string("rejected"): return 1
    default: break
    }
    guard row.json["summaries"] != nil, let choice = number("choice") else { return nil }
    return Int(exactly: choice)
  }

  private var milliseconds: Int? {
    number("seconds").flatMap { Int(exactly: ($0 * 1000).rounded()) }
  }

  private func string(_ key: String) -> String? {
    guard case .string(let text)? = row.json[key] else { return nil }
    return text
  }

  private func number(_ key: String) -> Double? {
    guard case .number(let digits)? = row.json[key] else { return nil }
    return Double(digits)
  }

  /// A model, by its name or by `{"name", "fingerprint"}`.
  private func model(_ json: JSONValue?) -> SampleRow.Model? {
    if case .string(let name)? = json { return .init(name: name, fingerprint: "") }
    guard case .string(let name)? = json?["name"] else { return nil }
    guard case .string(let fingerprint)? = json?["fingerprint"] else {
      return .init(name: name, fingerprint: "")
    }
    return .init(name: name, fingerprint: fingerprint)
  }
}

extension SampleRow {
  /// An answer as content: an assistant's message where the prompt is a conversation.
  func answer(_ completion: Completion) -> Content {
    prompt.isConversational
      ? .messages([Message(role: "assistant", content: completion.text)]) : .text(completion.text)
  }
}

extension SampleRow.Completion {
  /// What a samples file says of an answer beside its text.
  var detail: JSONValue {
    var fields: [JSONValue.Field] = []
    if let ids { fields.append(.init("ids", .array(ids.map { .int(Int($0)) }))) }
    if let logProbability { fields.append(.init("logprob", .double(logProbability))) }
    return .object(fields + [.init("finish_reason", .string(finishReason.rawValue))])
  }
}
