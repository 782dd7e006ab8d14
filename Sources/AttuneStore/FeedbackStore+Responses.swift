// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import GRDB

/// An answer that a server gave, as a store has it.
public struct GivenAnswer: Sendable, Hashable {
  /// Its place among those of its response.
  public var choice: Int
  /// The prompt's number in the store.
  public var prompt: Int64
  /// The prompt.
  public var content: Content
  /// The answer.
  public var answer: AnswerSet.Entry
}

extension FeedbackStore {
  /// Keeps the answers of a response, so that they can be rated by its id.
  ///
  /// - Parameters:
  ///   - id: The id that the response carries.
  ///   - answers: Each with its place among the response's, and what it answers.
  ///   - user: Who asked, where that is known.
  ///   - time: When, in seconds since 1970.
  /// - Throws: ``StoreError`` if it can't be written.
  public func addResponse(
    _ id: String, _ answers: [(choice: Int, row: SampleRow)], user: String?, time: Double
  ) async throws {
    try await writeAside { db in
      for (choice, row) in answers {
        guard let number = try Rows.answers(row, in: db).answers.first else { continue }
        try db.execute(
          sql: "INSERT INTO response (id, choice, answer, annotator, time) VALUES (?, ?, ?, ?, ?)",
          arguments: [id, choice, number, user, time])
      }
    }
  }

  /// The answers of a response, the first one first; none of an id that no response carried.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  public func response(_ id: String) throws -> [GivenAnswer] {
    try read { db in
      try GRDB.Row.fetchAll(
        db,
        sql: """
          SELECT r.choice, a.id, a.prompt, a.content, a.model, p.content AS prompt_content
          FROM response r JOIN answer a ON a.id = r.answer JOIN prompt p ON p.id = a.prompt
          WHERE r.id = ? ORDER BY r.choice
          """, arguments: [id]
      ).map { row in
        GivenAnswer(
          choice: row["choice"], prompt: row["prompt"],
          content: try LiveComparison.content(row["prompt_content"]),
          answer: .init(
            number: row["id"], content: try LiveComparison.content(row["content"]),
            model: row["model"]))
      }
    }
  }

  /// What somebody said of these very answers and what holds of it: the judgement's number.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  public func standingJudgement(
    of answers: [Int64], by annotator: String, isThumb: Bool
  ) throws -> Int64? {
    try read { db in
      guard !isThumb else {
        return try Int64.fetchOne(
          db,
          sql: """
            SELECT t.id FROM thumb t WHERE t.answer = ? AND t.annotator = ? AND t.withdrawn = 0
              AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id)
            ORDER BY t.id DESC
            """, arguments: [answers[0], annotator])
      }
      return try Int64.fetchOne(
        db,
        sql: """
          SELECT c.id FROM comparison c
          WHERE c.prompt = (SELECT prompt FROM answer WHERE id = ?) AND c.annotator = ?
            AND c.origin = 'person' AND c.outcome <> 'withdrawn'
            AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
            AND (SELECT group_concat(answer) FROM
              (SELECT answer FROM comparison_answer e WHERE e.comparison = c.id ORDER BY answer)) = ?
          ORDER BY c.id DESC
          """,
        arguments: [
          answers[0], annotator, answers.sorted().map(String.init).joined(separator: ","),
        ])
    }
  }
}
