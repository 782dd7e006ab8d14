// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives
import Foundation

/// What the exactness suite found with answers of an earlier policy.
package enum StalenessTable {
  /// A line a method: its distance from π* with a proposal so many steps behind.
  package static func text(_ outcomes: [ExactnessSuite.StaleOutcome]) -> String {
    let steps = outcomes.first?.points.map { $0.behind.map(String.init) ?? "never renewed" } ?? []
    let rows = outcomes.map { outcome in
      [outcome.name, outcome.variant] + outcome.points.map { String(format: "%.1e", $0.distance) }
    }
    let title =
      "Distance from π* at the end, with answers of a policy so many steps behind, the largest of "
      + "\(ExactnessSuite.seeds.count) starts:\n"
    return title + TextTable(columns: ["method", ""] + steps, rows: rows, words: 2).text
  }
}
