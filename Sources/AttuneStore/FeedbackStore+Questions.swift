// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
public import Foundation
import GRDB

/// A prompt and answers to it that a store has: what somebody can be asked about.
public struct AnswerSet: Sendable, Hashable {
  /// An answer.
  public struct Entry: Sendable, Hashable {
    /// Its number in the store.
    public var number: Int64
    /// The answer, without the prompt.
    public var content: Content
    /// Who answered; empty where nobody knows.
    public var model: String

    /// Makes an entry.
    public init(number: Int64, content: Content, model: String) {
      self.number = number
      self.content = content
      self.model = model
    }
  }

  /// The prompt's number in the store.
  public var prompt: Int64
  /// The prompt.
  public var content: Content
  /// The answers.
  public var answers: [Entry]

  /// Makes a set.
  public init(prompt: Int64, content: Content, answers: [Entry]) {
    self.prompt = prompt
    self.content = content
    self.answers = answers
  }
}

extension FeedbackStore {
  /// Adds models' answers where they are not there yet, all of them at once: each transaction waits
  /// for the disk.
  ///
  /// - Returns: For each row its answers with their numbers.
  public func add(_ rows: [SampleRow]) throws -> [AnswerSet] {
    let numbers = try write { db in try rows.map { try Rows.answers($0, in: db) } }
    return zip(rows, numbers).map { row, numbers in
      AnswerSet(
        prompt: numbers.prompt, content: row.prompt,
        answers: zip(numbers.answers, row.completions).map { number, completion in
          .init(
            number: number, content: row.prompt.answer(completion.text),
            model: row.model?.name ?? "")
        })
    }
  }

  /// Answers of a model that the store has.
  ///
  /// - Parameters:
  ///   - prompt: What is answered.
  ///   - model: Who answered.
  ///   - sampling: How it was sampled.
  /// - Returns: The answers, in the order in which they came; nil if there are none.
  public func answers(
    to prompt: Content, by model: SampleRow.Model, sampling: JSONValue
  ) throws -> AnswerSet? {
    try read { db in
      let rows = try GRDB.Row.fetchAll(
        db,
        sql: """
          SELECT a.prompt, a.id, a.content FROM answer a JOIN prompt p ON p.id = a.prompt
          WHERE p.digest = ? AND a.model = ? AND a.fingerprint = ? AND a.sampling = ? ORDER BY a.id
          """,
        arguments: [
          SHA256Digest.of(prompt.json.text), model.name, model.fingerprint, sampling.text,
        ])
      guard let first = rows.first else { return nil }
      return AnswerSet(
        prompt: first["prompt"], content: prompt,
        answers: try rows.map {
          .init(
            number: $0["id"], content: try LiveComparison.content($0["content"]),
            model: model.name)
        })
    }
  }

  /// Adds the comparisons of a file as answer keys, by which annotators are measured; what was added
  /// before is not added again.
  ///
  /// - Parameter file: Preference or ranking rows.
  /// - Returns: What was compared, row by row, and which columns are not used, in one line for people;
  ///   nil where all are.
  /// - Throws: ``StoreError`` or `DataError` that names the first line that is no comparison.
  public func addKey(_ file: URL) throws -> (sets: [AnswerSet], warning: String?) {
    try write { db in
      var sets: [AnswerSet] = []
      let unused = try RowReader.forEach(
        in: file, use: ColumnUse(readLater: RecordReader.columns(of:))
      ) { line, reason in
        throw StoreError(.badRequest, "\(file.relativePath):\(line): \(reason)")
      } row: { raw in
        let key = SHA256Digest.of("key\n\(raw.text)")
        let known = try Int64.fetchOne(
          db, sql: "SELECT comparison FROM submission WHERE annotator = '' AND key = ?",
          arguments: [key])
        let number: Int64
        if let known {
          number = known
        } else {
          let reader = try RecordReader(
            row: raw.row, annotator: nil, origin: .file, isKey: true,
            at: DataPlace(file, line: raw.row.line))
          guard let added = try reader.add(to: db) else {
            throw StoreError(
              .badRequest,
              "\(file.relativePath):\(raw.row.line): a gold question needs two answers, compared")
          }
          try db.execute(
            sql: "INSERT INTO submission (annotator, key, comparison) VALUES ('', ?, ?)",
            arguments: [key, added])
          number = added
        }
        sets.append(try Self.answers(comparedBy: number, in: db))
      }
      return (sets, UnusedColumn.warning(unused, of: file.relativePath))
    }
  }

  private static func answers(comparedBy comparison: Int64, in db: Database) throws -> AnswerSet {
    let rows = try GRDB.Row.fetchAll(
      db,
      sql: """
        SELECT p.id AS prompt, p.content AS prompt_content, a.id, a.content, a.model
        FROM comparison_answer e JOIN answer a ON a.id = e.answer JOIN prompt p ON p.id = a.prompt
        WHERE e.comparison = ? ORDER BY e.rowid
        """, arguments: [comparison])
    guard let first = rows.first else {
      throw StoreError(.file, "comparison \(comparison) has no answers")
    }
    return AnswerSet(
      prompt: first["prompt"], content: try LiveComparison.content(first["prompt_content"]),
      answers: try rows.map {
        .init(
          number: $0["id"], content: try LiveComparison.content($0["content"]), model: $0["model"])
      })
  }
}
