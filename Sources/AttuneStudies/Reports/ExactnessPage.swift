// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives
import AttuneTraining
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

  /// A page that loads nothing: one table of all cases, then a small drawing of each, in which the
  /// optimum stands beside what was reached.
  package static func html(_ outcomes: [ExactnessSuite.Outcome]) -> String {
    let passed = outcomes.count(where: \.passes)
    var body = "<h1>What each method reaches</h1>\n"
    body +=
      "<p>A policy over 40 answers (a reward model: 8), all enumerated, so that the optimum of each method is known: "
    body += "a closed form, or the answer of a solver that doesn't know the loss's code. "
    body += "<b>\(passed) of \(outcomes.count)</b> cases end within 0.001 of it (total variation "
    body += "distance, the largest of \(outcomes.first?.runs.count ?? 0) starts).</p>\n"
    var table = TextTable(
      columns: ["", "family", "method", "what it must reach", "distance", "steps"], words: 4)
    for outcome in outcomes {
      table.rows.append([
        outcome.passes ? "✓" : "✗", outcome.family, outcome.name,
        outcome.target + vanished(outcome), distance(outcome),
        String(outcome.runs.first?.steps ?? 0),
      ])
    }
    body += table.html
    body += "<h2>Answer by answer</h2>\n<p>Of the first start. On the left the probability of each "
    body +=
      "answer, by rising probability at the optimum: <b>the line is the optimum</b>, the dots are "
    body +=
      "what was reached, the small grey ones where it began. On the right the logarithm to base 10 "
    body += "of the distance over the steps; a case passes below the dashed line.</p>\n"
    var families: [String] = []
    for outcome in outcomes where !families.contains(outcome.family) {
      families.append(outcome.family)
    }
    for family in families {
      body += "<h3>\(escapedHTML(family))</h3>\n<div class=\"small\">\n"
      for outcome in outcomes where outcome.family == family { body += drawing(outcome) }
      body += "</div>\n"
    }
    return standalonePage(title: "What each method reaches", body: body)
  }

  /// A case as a figure: optimum and end side by side, and the way there.
  private static func drawing(_ outcome: ExactnessSuite.Outcome) -> String {
    guard let run = outcome.runs.first else { return "" }
    let order = run.target.indices.sorted { (run.target[$0], $0) < (run.target[$1], $1) }
    let most = max(run.target.max() ?? 0, run.end.max() ?? 0, run.start.max() ?? 0, 1e-9)
    func x(_ place: Int) -> String {
      number(8 + 164 * (Double(place) + 0.5) / Double(max(1, order.count)))
    }
    func y(_ probability: Double) -> String { number(90 - 82 * probability / most) }
    var out = "<figure class=\"chart\"><figcaption>\(escapedHTML(outcome.name))</figcaption>\n"
    out += "<svg viewBox=\"0 0 300 108\" role=\"img\" aria-label=\"\(escapedHTML(outcome.name)): "
    out += "optimum and what was reached\">\n<path class=\"axis\" d=\"M8 8V90H172\"/>"
    for (place, answer) in order.enumerated() {
      out += "<circle class=\"dot c7\" opacity=\".45\" r=\"1\" cx=\"\(x(place))\""
      out += " cy=\"\(y(run.start[answer]))\"/>"
    }
    let line = order.enumerated().map { "\($0 == 0 ? "M" : "L")\(x($0)) \(y(run.target[$1]))" }
    out += "<path class=\"line c1\" d=\"\(line.joined())\"/>"
    for (place, answer) in order.enumerated() {
      out += "<circle class=\"dot c0\" r=\"1.7\" cx=\"\(x(place))\" cy=\"\(y(run.end[answer]))\">"
      out += "<title>optimum \(readable(run.target[answer], digits: 4)), reached "
      out += "\(readable(run.end[answer], digits: 4))</title></circle>"
    }
    // From 1 down to 10⁻⁸: what lies below is drawn there.
    func height(_ distance: Double) -> String {
      number(8 + 82 * min(1, -log10(min(1, max(distance, 1e-8))) / 8))
    }
    let last = Double(max(1, run.curve.count - 1))
    let curve = run.curve.enumerated().map { index, distance in
      "\(index == 0 ? "M" : "L")\(number(200 + 92 * Double(index) / last)) \(height(distance))"
    }
    out += "\n<path class=\"axis\" d=\"M200 8V90H292\"/>"
    out += "<path class=\"line guide\" d=\"M200 \(height(ExactnessRun.tolerance))H292\"/>"
    out += "<path class=\"line c0\" d=\"\(curve.joined())\"/>"
    out += "<text class=\"tick\" text-anchor=\"end\" x=\"197\" y=\"13\">0</text>"
    out += "<text class=\"tick\" text-anchor=\"end\" x=\"197\" y=\"\(height(1e-3))\">−3</text>"
    out += "<text class=\"tick\" text-anchor=\"middle\" x=\"90\" y=\"104\">answers</text>"
    out +=
      "<text class=\"tick\" text-anchor=\"middle\" x=\"246\" y=\"104\">\(run.steps) steps</text>"
    return out + "\n</svg>\n</figure>\n"
  }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  private static func distance(_ outcome: ExactnessSuite.Outcome) -> String {
    String(format: "%.1e", outcome.distance)
  }

  private static func vanished(_ outcome: ExactnessSuite.Outcome) -> String {
    let count = outcome.runs.map(\.vanished).max() ?? 0
    return count > 0 ? " (\(count) of 40 answers vanish)" : ""
  }
}
