// SPDX-License-Identifier: Apache-2.0

import GRDB

/// A question that somebody passed over.
public struct StandingSkip: Sendable, Hashable {
  /// Who.
  public var annotator: String
  /// What tells the question from others.
  public var question: String

  /// Makes one.
  public init(annotator: String, question: String) {
    self.annotator = annotator
    self.question = question
  }
}

extension FeedbackStore {
  /// Stores that somebody passed a question over, or takes that back; it is on the disk then.
  ///
  /// - Parameters:
  ///   - skip: Who, and which question.
  ///   - isWithdrawn: Whether it is taken back.
  ///   - time: When, in seconds since 1970.
  /// - Throws: ``StoreError`` if it can't be written.
  public func add(_ skip: StandingSkip, isWithdrawn: Bool = false, time: Double) async throws {
    try await writeAside { db in
      try db.execute(
        sql: "INSERT INTO skip (annotator, question, time, withdrawn) VALUES (?, ?, ?, ?)",
        arguments: [skip.annotator, skip.question, time, isWithdrawn])
    }
  }

  /// What people passed over and did not take back, the first one first.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  public func standingSkips() throws -> [StandingSkip] {
    try read { db in
      try GRDB.Row.fetchAll(
        db,
        sql: """
          SELECT annotator, question FROM skip s
          WHERE withdrawn = 0 AND NOT EXISTS (
            SELECT 1 FROM skip later WHERE later.annotator = s.annotator
              AND later.question = s.question AND later.id > s.id)
          ORDER BY id
          """
      ).map { StandingSkip(annotator: $0["annotator"], question: $0["question"]) }
    }
  }
}
