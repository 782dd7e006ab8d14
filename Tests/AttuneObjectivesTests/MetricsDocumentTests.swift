// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

/// `Documentation/Metrics.md` is printed from `Metric`: with `ATTUNE_WRITE_DOCUMENTATION=1` this test
/// writes it, otherwise it says when the two differ.
struct MetricsDocumentTests {
  @Test func `the document is what the code says`() throws {
    let rows = Metric.allCases.map { metric in
      "| `\(metric.rawValue)` | \(metric.meaning.replacingOccurrences(of: "|", with: "\\|")) |"
    }
    let document =
      """
      # Metrics

      The names in `metrics.jsonl`, printed from `Sources/AttuneObjectives/Metric.swift`
      (`ATTUNE_WRITE_DOCUMENTATION=1 make test` prints them anew).

      | name | meaning |
      | --- | --- |
      \(rows.joined(separator: "\n"))

      """
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Documentation/Metrics.md")
    if ProcessInfo.processInfo.environment["ATTUNE_WRITE_DOCUMENTATION"] != nil {
      try document.write(to: url, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: url, encoding: .utf8) == document)
    #expect(Metric.allCases.allSatisfy { !$0.meaning.isEmpty })
  }
}
