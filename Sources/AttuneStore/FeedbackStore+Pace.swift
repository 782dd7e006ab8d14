// SPDX-License-Identifier: Apache-2.0

import GRDB

/// How fast somebody judges.
public struct Pace: Codable, Sendable, Equatable {
  /// Who.
  public var name: String
  /// Judgements that hold and whose time is known.
  public var timed: Int
  /// Those that took less than ``hastyMilliseconds``.
  public var hasty: Int

  /// A judgement that took less can hardly rest on reading.
  public static let hastyMilliseconds = 1000
}

extension FeedbackStore {
  /// How fast each annotator judges, the one with most hasty judgements first.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  public func paces() throws -> [Pace] {
    let rows = try read { db in
      try GRDB.Row.fetchAll(
        db,
        sql: """
          SELECT annotator, count(*) AS timed, sum(milliseconds < ?) AS hasty FROM (
            SELECT c.annotator, c.milliseconds FROM comparison c
            WHERE c.outcome <> 'withdrawn' AND c.gold = 0
              AND NOT EXISTS (SELECT 1 FROM comparison later WHERE later.supersedes = c.id)
            UNION ALL
            SELECT t.annotator, t.milliseconds FROM thumb t
            WHERE t.withdrawn = 0
              AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id))
          WHERE annotator IS NOT NULL AND milliseconds IS NOT NULL
          GROUP BY annotator ORDER BY annotator
          """, arguments: [Pace.hastyMilliseconds]
      ).map { Pace(name: $0["annotator"], timed: $0["timed"], hasty: $0["hasty"]) }
    }
    var names = AnnotatorNames()
    var paces: [String: Pace] = [:]
    for row in rows {
      let name = names.spelling(of: row.name)
      paces[name, default: Pace(name: name, timed: 0, hasty: 0)].timed += row.timed
      paces[name]?.hasty += row.hasty
    }
    return paces.values.sorted { ($1.hasty, $1.timed, $0.name) < ($0.hasty, $0.timed, $1.name) }
  }
}
