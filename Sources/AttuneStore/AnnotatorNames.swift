// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB

/// Who is who among annotators: names that differ in case alone, in space around them or in how Unicode
/// composes them are one person's, whose first spelling is kept.
package struct AnnotatorNames: Sendable {
  private var first: [String: String] = [:]

  /// Knows some names, the first spelling first.
  package init(_ names: some Sequence<String> = []) {
    for name in names { _ = spelling(of: name) }
  }

  /// What two spellings of one name have in common.
  package static func key(_ name: String) -> String {
    // By way of capitals, for ß is SS there.
    name.trimmingCharacters(in: .whitespacesAndNewlines).precomposedStringWithCanonicalMapping
      .uppercased().lowercased()
  }

  /// The first spelling of a name; nil if nobody had it yet.
  package func known(_ name: String) -> String? { first[Self.key(name)] }

  /// The first spelling of a name, which is this one if nobody had it yet.
  package mutating func spelling(of name: String) -> String {
    let key = Self.key(name)
    if let known = first[key] { return known }
    first[key] = name
    return name
  }
}

extension FeedbackStore {
  /// The names of the persons who judged or skipped, the earliest first.
  ///
  /// - Throws: ``StoreError`` if the store can't be read.
  package func annotators() throws -> [String] {
    try read { db in
      try String.fetchAll(
        db,
        sql: """
          SELECT annotator FROM (
            SELECT annotator, time FROM comparison WHERE origin = 'person'
            UNION ALL SELECT annotator, time FROM thumb
            UNION ALL SELECT annotator, time FROM skip)
          WHERE annotator IS NOT NULL GROUP BY annotator ORDER BY min(time), annotator
          """)
    }
  }
}
