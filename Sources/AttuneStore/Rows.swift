// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import Foundation
import GRDB

/// How feedback is written into the tables.
enum Rows {
  /// A prompt's number; it is added if it is new.
  static func prompt(_ content: Content, in db: Database) throws -> Int64 {
    let text = content.json.text
    let key = SHA256Digest.of(text)
    if let id = try Int64.fetchOne(
      db, sql: "SELECT id FROM prompt WHERE digest = ?", arguments: [key])
    {
      return id
    }
    try db.execute(
      sql: "INSERT INTO prompt (digest, content) VALUES (?, ?)", arguments: [key, text])
    return db.lastInsertedRowID
  }

  /// An answer's number; it is added if it is new. `detail` is what else a samples file says of it.
  static func answer(
    _ answer: Answer, detail: JSONValue = .object([]), prompt: Int64, in db: Database
  ) throws -> Int64 {
    let text = answer.content.json.text
    let key: StatementArguments = [
      prompt, SHA256Digest.of(text), answer.model?.name ?? "", answer.model?.fingerprint ?? "",
      answer.sampling.text, detail.text,
    ]
    let found = try Int64.fetchOne(
      db,
      sql: """
        SELECT id FROM answer WHERE prompt = ? AND digest = ? AND model = ? AND fingerprint = ?
        AND sampling = ? AND detail = ?
        """, arguments: key)
    if let found { return found }
    try db.execute(
      sql: """
        INSERT INTO answer (prompt, digest, model, fingerprint, sampling, detail, content)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """, arguments: key + [text])
    return db.lastInsertedRowID
  }

  /// The numbers of a prompt and of a model's answers to it; what is new is added.
  static func answers(
    _ samples: SampleRow, in db: Database
  ) throws -> (prompt: Int64, answers: [Int64]) {
    let prompt = try prompt(samples.prompt, in: db)
    let answers = try samples.completions.map { completion in
      try answer(
        Answer(
          content: samples.prompt.answer(completion.text), model: samples.model(of: completion),
          sampling: samples.sampling(of: completion)),
        detail: completion.detail, prompt: prompt, in: db)
    }
    return (prompt, answers)
  }

  /// Adds a comparison and says its number.
  static func add(_ comparison: Comparison, record: Int64?, to db: Database) throws -> Int64 {
    let prompt = try prompt(comparison.prompt, in: db)
    try db.execute(
      sql: """
        INSERT INTO comparison (record, prompt, annotator, origin, outcome, strength, probability,
          margin, gold, time, milliseconds)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        record, prompt, comparison.annotator, comparison.origin.rawValue,
        comparison.outcome.rawValue, comparison.strength, comparison.probability,
        comparison.margin, comparison.isGold, comparison.time, comparison.milliseconds,
      ])
    let id = db.lastInsertedRowID
    for entry in comparison.entries {
      try addEntry(
        of: id, answer: try answer(entry.answer, prompt: prompt, in: db), rank: entry.rank,
        score: entry.score, position: entry.position, to: db)
    }
    return id
  }

  /// Adds an answer to a comparison.
  static func addEntry(
    of comparison: Int64, answer: Int64, rank: Int, score: Double?, position: Int?,
    to db: Database
  ) throws {
    try db.execute(
      sql: """
        INSERT INTO comparison_answer (comparison, answer, rank, score, position)
        VALUES (?, ?, ?, ?, ?)
        """, arguments: [comparison, answer, rank, score, position])
  }
}
