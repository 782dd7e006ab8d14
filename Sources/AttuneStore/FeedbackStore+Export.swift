// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import Foundation
import GRDB

/// What `attune feedback export` did.
public struct ExportReport: Codable, Sendable, Equatable {
  /// The version of this object.
  public var formatVersion = 1
  /// The format.
  public var format: String
  /// Rows written byte for byte as they came in.
  public var asTheyCame = 0
  /// Rows made from feedback that came in another format, or through Attune itself.
  public var converted = 0
  /// Judgements that hold and that the format has no place for.
  public var omitted = 0

  /// The report for people.
  public var text: String {
    "\(format): \(asTheyCame) rows as they came, \(converted) converted, "
      + "\(omitted) judgements that this format has no place for"
  }
}

extension FeedbackStore {
  /// Feedback as rows of a file: what came in that format as it came, byte for byte and in its order,
  /// then what the format can say of everything else.
  ///
  /// Preference rows take comparisons (a ranking becomes all its unequal pairs), ranking rows take
  /// comparisons with a better answer or a tie, unpaired rows take thumbs; other formats hold only
  /// what came in them.
  ///
  /// - Returns: The rows, one a line, and what was done.
  /// - Throws: ``StoreError`` if the store can't be read.
  public func export(_ format: RowFormat) throws -> (data: Data, report: ExportReport) {
    try read { db in
      var report = ExportReport(format: format.rawValue)
      var data = Data()
      func put(_ text: String) {
        data.append(contentsOf: text.utf8)
        data.append(10)
      }
      let records = try String.fetchCursor(
        db, sql: "SELECT text FROM record WHERE format = ? ORDER BY id",
        arguments: [format.rawValue])
      while let text = try records.next() {
        put(text)
        report.asTheyCame += 1
      }
      for comparison in try LiveComparison.all(in: db)
      where comparison.recordFormat != format.rawValue {
        let rows: [JSONValue]
        switch format {
        case .preference: rows = try pairs(comparison, in: db)
        case .ranking: rows = try ranking(comparison).map { [$0] } ?? []
        default: rows = []
        }
        rows.forEach { put($0.text) }
        report.converted += rows.count
        if rows.isEmpty { report.omitted += 1 }
      }
      let thumbs = try GRDB.Row.fetchCursor(
        db,
        sql: """
          SELECT t.*, p.content AS prompt_content, a.content, a.model, r.text AS record_text,
            (SELECT c.text FROM critique c WHERE c.answer = t.answer AND c.comparison IS NULL
              AND c.annotator IS t.annotator AND c.time = t.time
              ORDER BY c.id DESC LIMIT 1) AS rationale
          FROM thumb t
          JOIN prompt p ON p.id = t.prompt JOIN answer a ON a.id = t.answer
          LEFT JOIN record r ON r.id = t.record
          WHERE r.format IS NOT ? AND t.withdrawn = 0
            AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id)
          ORDER BY t.id
          """, arguments: [format.rawValue])
      while let row = try thumbs.next() {
        guard format == .unpaired else {
          report.omitted += 1
          continue
        }
        var fields = [
          JSONValue.Field("prompt", try JSONValue(parsing: row["prompt_content"])),
          .init("completion", try JSONValue(parsing: row["content"])),
          .init("label", .bool(row["good"])),
        ]
        let model: String = row["model"]
        if !model.isEmpty { fields.append(.init("model", .string(model))) }
        let labeller: String? = row["annotator"]
        if let labeller { fields.append(.init("labeller", .string(labeller))) }
        // Rows of a file may differ in nothing else than the reason: theirs is taken from themselves.
        let record: String? = row["record_text"]
        let rationale: String? =
          if let record { try JSONValue(parsing: record).rationale } else { row["rationale"] }
        if let rationale { fields.append(.init("rationale", .string(rationale))) }
        fields += timing(row["time"], row["milliseconds"])
        put(JSONValue.object(fields).text)
        report.converted += 1
      }
      return (data, report)
    }
  }

  /// A comparison as preference rows: two answers are one row; of more, each unequal pair is.
  func pairs(_ comparison: LiveComparison, in db: Database) throws -> [JSONValue] {
    guard let outcome = comparison.outcome.said else { return [] }
    var rows: [JSONValue] = []
    let rationale = try String.fetchOne(
      db, sql: "SELECT text FROM critique WHERE comparison = ? ORDER BY id DESC",
      arguments: [comparison.id])
    let entries = comparison.entries
    for i in entries.indices {
      for j in entries.indices where j > i {
        guard entries.count == 2 || entries[i].rank != entries[j].rank else { continue }
        let isSwapped = entries[i].rank > entries[j].rank
        let (best, worst) = isSwapped ? (entries[j], entries[i]) : (entries[i], entries[j])
        let pair = Preference(
          prompt: try LiveComparison.content(comparison.promptContent),
          chosen: try LiveComparison.content(best.content),
          rejected: try LiveComparison.content(worst.content),
          outcome: outcome,
          probability: comparison.probability.map { isSwapped ? 1 - $0 : $0 },
          margin: comparison.margin, chosenScore: best.score, rejectedScore: worst.score,
          labeller: comparison.annotator)
        var json = pair.json
        for (name, entry) in [("chosen", best), ("rejected", worst)] {
          // One that was cut at the limit of tokens gets no end token in training.
          guard let reason = entry.finishReason else { continue }
          json = json.setting("\(name)_finish_reason", .string(reason))
        }
        if !best.model.isEmpty { json = json.setting("chosen_model", .string(best.model)) }
        if !worst.model.isEmpty { json = json.setting("rejected_model", .string(worst.model)) }
        if let a = best.position, let b = worst.position {
          json = json.setting("shown_first", .string(a < b ? "chosen" : "rejected"))
        }
        if let strength = comparison.strength { json = json.setting("strength", .int(strength)) }
        if comparison.isGold { json = json.setting("gold", .bool(true)) }
        if let rationale { json = json.setting("rationale", .string(rationale)) }
        for field in timing(comparison.time, comparison.milliseconds) {
          json = json.setting(field.key, field.value)
        }
        rows.append(json)
      }
    }
    return rows
  }

  /// A comparison as a ranking row; nil where both answers are bad, which such a row can't say.
  private func ranking(_ comparison: LiveComparison) throws -> JSONValue? {
    guard comparison.outcome != .bothBad else { return nil }
    let entries = comparison.entries
    let scores = entries.compactMap(\.score)
    // Scores that say the same as the ranks are kept; else the ranks themselves are the scores.
    let agree =
      scores.count == entries.count
      && zip(entries, scores).allSatisfy { entry, score in
        entry.rank == 1 + scores.count { $0 > score }
      }
    let row = RankingRow(
      prompt: try LiveComparison.content(comparison.promptContent),
      completions: try entries.map { try LiveComparison.content($0.content) },
      scores: agree ? scores : entries.map { Double(entries.count - $0.rank) },
      labeller: comparison.annotator)
    var json = row.json
    if entries.contains(where: { !$0.model.isEmpty }) {
      json = json.setting(
        "models", .array(entries.map { $0.model.isEmpty ? .null : .string($0.model) }))
    }
    let reasons = entries.compactMap(\.finishReason)
    if reasons.count == entries.count {
      json = json.setting("finish_reasons", .array(reasons.map { .string($0) }))
    }
    for field in timing(comparison.time, comparison.milliseconds) {
      json = json.setting(field.key, field.value)
    }
    return json
  }

  private func timing(_ time: Double, _ milliseconds: Int?) -> [JSONValue.Field] {
    var fields: [JSONValue.Field] = []
    if time > 0 { fields.append(.init("time", .double(time))) }
    if let milliseconds { fields.append(.init("seconds", .double(Double(milliseconds) / 1000))) }
    return fields
  }
}
