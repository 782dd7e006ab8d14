// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives
import Foundation

/// What the exactness suite found, as a table for a terminal and as a page with its curves.
package enum ExactnessPage {
  /// A line a case: whether it passes, family, method, distance, steps, target.
  package static func text(_ outcomes: [ExactnessSuite.Outcome]) -> String {
    let width = outcomes.map(\.name.count).max() ?? 0
    var out = ""
    for outcome in outcomes {
      let name = outcome.name.padding(toLength: width, withPad: " ", startingAt: 0)
      let family = outcome.family.padding(toLength: 12, withPad: " ", startingAt: 0)
      let steps = String(outcome.runs.first?.steps ?? 0)
      out += "\(outcome.passes ? "ok  " : "FAIL") \(family) \(name)  \(distance(outcome))  "
      out += "\(steps.count < 6 ? String(repeating: " ", count: 6 - steps.count) : "")\(steps)  "
      out += outcome.target + vanished(outcome) + "\n"
    }
    let passed = outcomes.count(where: \.passes)
    return out + "\(passed) of \(outcomes.count) methods are within 0.001 of their target.\n"
  }

  /// A page that loads nothing: the table, and for each family the logarithm of the distance over
  /// the share of the steps.
  package static func html(_ outcomes: [ExactnessSuite.Outcome]) -> String {
    var body = "<h1>What each method reaches</h1>\n"
    body += "<p>A policy over 40 answers, all enumerated: the distance is the total variation to "
    body += "the target, the largest of \(outcomes.first?.runs.count ?? 0) starts. The curves show "
    body += "its logarithm to base 10 for the first start, over the share of the steps.</p>\n"
    for outcome in outcomes {
      guard let run = outcome.runs.first else { continue }
      let points = run.curve.enumerated().map { index, value in
        (
          x: 100 * Double(index * run.every) / Double(max(1, run.steps)),
          y: log10(max(value, 1e-12))
        )
      }
      let chart = LineChart(
        title: "\(outcome.family): \(outcome.name)", xLabel: "share of the steps, %",
        yLabel: "log₁₀ distance",
        series: [
          LineChart.Series(name: outcome.name, points: points),
          LineChart.Series(
            name: "passes", points: [(x: 0, y: -3), (x: 100, y: -3)], isGuide: true),
        ])
      body += chart.html
      body += "<p>Target: \(escapedHTML(outcome.target))\(escapedHTML(vanished(outcome))). "
      body += "Reached: \(distance(outcome)) after \(run.steps) steps.</p>\n"
    }
    return standalonePage(title: "What each method reaches", body: body)
  }

  private static func distance(_ outcome: ExactnessSuite.Outcome) -> String {
    String(format: "%.1e", outcome.distance)
  }

  private static func vanished(_ outcome: ExactnessSuite.Outcome) -> String {
    let count = outcome.runs.map(\.vanished).max() ?? 0
    return count > 0 ? " (\(count) of 40 answers vanish)" : ""
  }
}
