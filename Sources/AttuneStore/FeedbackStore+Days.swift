// SPDX-License-Identifier: Apache-2.0

import GRDB

/// How many labels were given on a day.
public struct LabelDay: Codable, Sendable, Equatable {
  /// The day, `2026-11-26`, by the machine's clock.
  public var day: String
  /// Comparisons and thumbs that hold.
  public var labels: Int
}

extension FeedbackStore {
  /// Labels by day, the first day first; those whose time nobody knows are left out.
  public func labelsByDay() throws -> [LabelDay] {
    try read { db in
      let rows = try GRDB.Row.fetchAll(
        db,
        sql: """
          SELECT date(time, 'unixepoch', 'localtime') AS day, count(*) AS labels FROM (
            SELECT c.time FROM comparison c
            WHERE c.time > 0 AND c.gold = 0 AND c.outcome <> 'withdrawn'
              AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
            UNION ALL
            SELECT t.time FROM thumb t
            WHERE t.time > 0 AND t.withdrawn = 0
              AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id))
          GROUP BY day ORDER BY day
          """)
      return rows.map { LabelDay(day: $0["day"] ?? "", labels: $0["labels"]) }
    }
  }
}
