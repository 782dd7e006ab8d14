// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import GRDB

extension FeedbackStore {
  /// Comparisons with a winner, by people, that hold; cheap enough to be asked again and again.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  public func decidedCount() throws -> Int {
    try read { db in
      try Int.fetchOne(
        db,
        sql: """
          SELECT count(*) FROM comparison c
          WHERE c.origin = 'person' AND c.gold = 0 AND c.outcome = 'preferred'
            AND c.annotator IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
          """) ?? 0
    }
  }

  /// What was compared, as preference rows to train on: two answers are one row, of more each unequal
  /// pair is one. Answer keys are left out.
  ///
  /// - Parameter answers: Only comparisons of these answers, by their numbers; nil takes all.
  /// - Returns: The rows, those of the first comparison first.
  /// - Throws: ``StoreError`` if the store can't be read.
  public func preferences(among answers: Set<Int64>? = nil) throws -> [JSONValue] {
    try read { db in
      var rows: [JSONValue] = []
      for comparison in try LiveComparison.all(in: db) where !comparison.isGold {
        if let answers, !comparison.entries.allSatisfy({ answers.contains($0.number) }) { continue }
        rows += try pairs(comparison, in: db)
      }
      return rows
    }
  }
}
