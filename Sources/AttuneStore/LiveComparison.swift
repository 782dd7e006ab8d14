// SPDX-License-Identifier: Apache-2.0

import AttuneData
import GRDB

/// A comparison that holds: neither superseded nor withdrawn.
struct LiveComparison {
  struct Entry {
    var number: Int64
    var digest: String
    var content: String
    var model: String
    var fingerprint: String
    /// `stop` or `length`, where it is known.
    var finishReason: String?
    var rank: Int
    var score: Double?
    var position: Int?
  }

  var id: Int64
  var recordFormat: String?
  var prompt: Int64
  var promptContent: String
  var annotator: String?
  var outcome: Comparison.Outcome
  var strength: Int?
  var probability: Double?
  var margin: Double?
  var isGold: Bool
  var time: Double
  var milliseconds: Int?
  var entries: [Entry] = []

  /// Every one of a store, the first one first.
  static func all(in db: Database) throws -> [LiveComparison] {
    var all: [LiveComparison] = []
    let rows = try GRDB.Row.fetchCursor(
      db,
      sql: """
        SELECT c.*, r.format, p.content AS prompt_content,
          a.id AS answer, a.digest, a.content, a.model, a.fingerprint,
          a.detail ->> '$.finish_reason' AS finish_reason, e.rank, e.score, e.position
        FROM comparison c
        JOIN prompt p ON p.id = c.prompt
        LEFT JOIN record r ON r.id = c.record
        JOIN comparison_answer e ON e.comparison = c.id
        JOIN answer a ON a.id = e.answer
        WHERE c.outcome <> 'withdrawn'
          AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
        ORDER BY c.id, e.rowid
        """)
    while let row = try rows.next() {
      let id: Int64 = row["id"]
      if all.last?.id != id {
        all.append(
          LiveComparison(
            id: id, recordFormat: row["format"], prompt: row["prompt"],
            promptContent: row["prompt_content"], annotator: row["annotator"],
            outcome: try Comparison.Outcome(stored: row["outcome"]),
            strength: row["strength"], probability: row["probability"], margin: row["margin"],
            isGold: row["gold"], time: row["time"], milliseconds: row["milliseconds"]))
      }
      all[all.count - 1].entries.append(
        Entry(
          number: row["answer"], digest: row["digest"], content: row["content"],
          model: row["model"], fingerprint: row["fingerprint"],
          finishReason: row["finish_reason"], rank: row["rank"], score: row["score"],
          position: row["position"]))
    }
    return all
  }

  /// A content as it is kept.
  static func content(_ text: String) throws -> Content {
    try Content(
      JSONValue(parsing: text), name: "content", at: DataPlace(file: "the store", line: 1))
  }
}
