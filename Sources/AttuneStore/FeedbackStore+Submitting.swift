// SPDX-License-Identifier: Apache-2.0

import GRDB

extension FeedbackStore {
  /// Stores a judgement, once.
  ///
  /// - Returns: Its receipt: by then it is on the disk.
  /// - Throws: ``StoreError`` if it makes no sense or can't be written.
  public func submit(_ submission: Submission) async throws -> Submission.Receipt {
    try Self.check(submission)
    return try await writeAside { db in
      if let known = try Self.receipt(submission.annotator, submission.key, in: db) { return known }
      let number: Int64
      var (comparison, thumb): (Int64?, Int64?)
      switch submission.verdict {
      case .comparison(let outcome, let ranks, let strength):
        try db.execute(
          sql: """
            INSERT INTO comparison (prompt, annotator, origin, outcome, strength, time,
              milliseconds, supersedes)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            submission.prompt, submission.annotator, Comparison.Origin.person.rawValue,
            outcome.rawValue, strength, submission.time, submission.milliseconds,
            submission.supersedes,
          ])
        number = db.lastInsertedRowID
        comparison = number
        for (position, answer) in submission.answers.enumerated() {
          try Rows.addEntry(
            of: number, answer: answer, rank: ranks[position], score: nil, position: position,
            to: db)
        }
      case .thumb(let isGood):
        try db.execute(
          sql: """
            INSERT INTO thumb (prompt, answer, good, annotator, time, milliseconds, supersedes)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            submission.prompt, submission.answers[0], isGood, submission.annotator,
            submission.time, submission.milliseconds, submission.supersedes,
          ])
        number = db.lastInsertedRowID
        thumb = number
      }
      if !submission.reason.isEmpty {
        try db.execute(
          sql: """
            INSERT INTO critique (prompt, answer, comparison, text, annotator, time)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            submission.prompt, thumb == nil ? nil : submission.answers[0], comparison,
            submission.reason, submission.annotator, submission.time,
          ])
      }
      try Self.remember(
        submission.annotator, submission.key, comparison: comparison, thumb: thumb, in: db)
      return .init(number: number, isNew: true)
    }
  }

  /// Takes a judgement back, once: a row that says that it no longer holds.
  ///
  /// - Parameters:
  ///   - judgement: Its number.
  ///   - isThumb: Whether it is a thumb.
  ///   - annotator: Whose it is.
  ///   - key: The key of this withdrawal.
  ///   - time: When, in seconds since 1970.
  /// - Throws: ``StoreError`` if it is not this annotator's or can't be written.
  public func withdraw(
    _ judgement: Int64, isThumb: Bool, annotator: String, key: String, time: Double
  ) async throws -> Submission.Receipt {
    try await writeAside { db in
      if let known = try Self.receipt(annotator, key, in: db) { return known }
      let owner = try String.fetchOne(
        db, sql: "SELECT annotator FROM \(isThumb ? "thumb" : "comparison") WHERE id = ?",
        arguments: [judgement])
      guard let owner, AnnotatorNames.key(owner) == AnnotatorNames.key(annotator) else {
        throw StoreError(.badRequest, "\(annotator) gave no judgement \(judgement)")
      }
      if isThumb {
        try db.execute(
          sql: """
            INSERT INTO thumb (prompt, answer, good, annotator, time, supersedes, withdrawn)
            SELECT prompt, answer, good, annotator, ?, id, 1 FROM thumb
            WHERE id = ?
            """, arguments: [time, judgement])
      } else {
        try db.execute(
          sql: """
            INSERT INTO comparison (prompt, annotator, origin, outcome, time, supersedes)
            SELECT prompt, annotator, origin, ?, ?, id FROM comparison
            WHERE id = ?
            """,
          arguments: [Comparison.Outcome.withdrawn.rawValue, time, judgement])
      }
      let number = db.lastInsertedRowID
      try Self.remember(
        annotator, key, comparison: isThumb ? nil : number, thumb: isThumb ? number : nil, in: db)
      return .init(number: number, isNew: true)
    }
  }

  /// The judgements of persons that hold, the first one first.
  public func standingJudgements() throws -> [StandingJudgement] {
    try read { db in
      var all: [StandingJudgement] = []
      let comparisons = try GRDB.Row.fetchCursor(
        db,
        sql: """
          SELECT c.id, c.annotator, c.outcome, c.strength, c.time, e.answer, e.rank,
            (SELECT text FROM critique WHERE comparison = c.id ORDER BY id DESC) AS reason
          FROM comparison c
          JOIN comparison_answer e ON e.comparison = c.id
          WHERE c.origin = 'person' AND c.gold = 0 AND c.outcome <> 'withdrawn'
            AND c.annotator IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
          ORDER BY c.id, e.rowid
          """)
      while let row = try comparisons.next() {
        let number: Int64 = row["id"]
        if all.last?.number != number {
          all.append(
            StandingJudgement(
              number: number, annotator: row["annotator"], answers: [], isThumb: false, ranks: [],
              outcome: try Comparison.Outcome(stored: row["outcome"]),
              strength: row["strength"], reason: row["reason"] ?? "", time: row["time"]))
        }
        all[all.count - 1].answers.append(row["answer"])
        all[all.count - 1].ranks.append(row["rank"])
      }
      let thumbs = try GRDB.Row.fetchCursor(
        db,
        sql: """
          SELECT t.id, t.annotator, t.answer, t.good, t.time,
            (SELECT text FROM critique k WHERE k.answer = t.answer AND k.annotator = t.annotator
              AND k.time = t.time ORDER BY id DESC) AS reason
          FROM thumb t
          WHERE t.annotator IS NOT NULL AND t.withdrawn = 0
            AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id)
          ORDER BY t.id
          """)
      while let row = try thumbs.next() {
        all.append(
          StandingJudgement(
            number: row["id"], annotator: row["annotator"], answers: [row["answer"]],
            isThumb: true, ranks: [row["good"] ? 1 : 2], outcome: .preferred,
            reason: row["reason"] ?? "", time: row["time"]))
      }
      return all
    }
  }

  private static func check(_ submission: Submission) throws {
    let count = submission.answers.count
    switch submission.verdict {
    case .comparison(let outcome, let ranks, _):
      guard count > 1, Set(submission.answers).count == count, ranks.count == count else {
        throw StoreError(.badRequest, "a comparison needs two answers or more and a rank for each")
      }
      guard outcome != .withdrawn, ranks.allSatisfy({ (1...count).contains($0) }) else {
        throw StoreError(.badRequest, "ranks of \(count) answers are 1 to \(count)")
      }
    case .thumb:
      guard count == 1 else { throw StoreError(.badRequest, "a thumb is of one answer") }
    }
  }

  private static func receipt(
    _ annotator: String, _ key: String, in db: Database
  ) throws -> Submission.Receipt? {
    let row = try GRDB.Row.fetchOne(
      db, sql: "SELECT comparison, thumb FROM submission WHERE annotator = ? AND key = ?",
      arguments: [annotator, key])
    guard let row, let number: Int64 = row["comparison"] ?? row["thumb"] else { return nil }
    return .init(number: number, isNew: false)
  }

  private static func remember(
    _ annotator: String, _ key: String, comparison: Int64?, thumb: Int64?, in db: Database
  ) throws {
    try db.execute(
      sql: "INSERT INTO submission (annotator, key, comparison, thumb) VALUES (?, ?, ?, ?)",
      arguments: [annotator, key, comparison, thumb])
  }
}
