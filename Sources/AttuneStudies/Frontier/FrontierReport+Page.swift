// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTraining
import Foundation

extension FrontierReport {
  /// One method's points, by name.
  private var methods: [(name: String, points: [(point: Point, found: PolicyFacts)])] {
    var names: [String] = []
    for point in points where !names.contains(point.method) { names.append(point.method) }
    return names.map { name in
      (
        name,
        points.filter { $0.method == name }.compactMap { point in
          point.found.map { (point, $0) }
        }
      )
    }
  }

  /// The page: one self-contained document that loads nothing.
  public var html: String {
    var body = """
      <h1>Reward against KL</h1>
      <p class="quiet">\(escapedHTML(model)) · task of \(escapedHTML(run)) · seed \(seed) · \
      \(escapedHTML(date)) · Attune \(escapedHTML(version))</p>
      <p>Policies from one start, by method and β, on \(prompts) prompts that nothing was trained on, \
      \(samplesPerPrompt) answers each; whiskers are \(readablePercent(confidence)) intervals over \
      prompts. The gold reward is <code>\(escapedHTML(gold))</code>; no method sees it. Best of n takes the \
      answer of the start that the learned reward likes best; its KL is log n − (n−1)/n, a bound. \
      \(escapedHTML(budgetText)) β is each method's own: what it divides or weighs differs between \
      families, KL does not.</p>

      """
    if !missing.isEmpty {
      body +=
        "<p><b>Not made yet:</b> \(escapedHTML(missing.joined(separator: ", "))).</p>\n"
    }
    body += "<div class=\"charts\">\n"
    body += frontier("Gold reward", gold) {
      $0.gold
    } best: {
      $0.gold
    }
    body += frontier("Learned reward", "learned reward") {
      $0.learned
    } best: {
      $0.learned
    }
    body += "</div>\n<h2>Every point</h2>\n\(table.html)"
    body += "<p class=\"quiet\">* no other policy has more gold reward at less KL.</p>\n"
    for point in points {
      guard let failure = point.failure else { continue }
      body += "<p><b>\(escapedHTML(point.name))</b> failed: \(escapedHTML(failure))</p>\n"
    }
    body += diversity
    body += alarms
    return standalonePage(title: "Reward against KL", body: body)
  }

  private func frontier(
    _ title: String, _ label: String, _ figure: (PolicyFacts) -> Figure,
    best: (BestOfNPoint) -> Figure
  ) -> String {
    var series = methods.map { name, points in
      let sorted = points.sorted { ($0.found.facts.kl ?? 0) < ($1.found.facts.kl ?? 0) }
      return LineChart.Series(
        name: name,
        points: sorted.map { ($0.found.facts.kl ?? .nan, figure($0.found).mean) },
        intervals: sorted.map { point in
          let interval = figure(point.found).interval
          return (interval.low, interval.high)
        },
        labels: sorted.map { $0.point.beta.map { "β \($0)" } ?? "" })
    }
    series.append(
      LineChart.Series(
        name: "best of 1 … \(bestOfN.last?.n ?? 1)", points: bestOfN.map { ($0.kl, best($0).mean) },
        isGuide: true))
    return LineChart(
      title: title, xLabel: "KL from the start, nats an answer", yLabel: label, series: series,
      wholeX: false, startsXAtZero: true
    ).html
  }

  // MARK: Diversity

  private static let measures:
    [(title: String, label: String, of: @Sendable (EvaluationReport.Diversity) -> Double?)] = [
      ("Self-BLEU: 1 where all answers to a prompt are alike", "self-BLEU", { $0.selfBLEU }),
      ("Different answers to a prompt", "share", { $0.distinctAnswers }),
      ("Entropy of the next token", "nats", { $0.entropy }),
    ]

  private var diversity: String {
    var out =
      "<h2>Diversity</h2>\n<p>Against log₁₀ β for methods that were run at several β above 0, "
    out += "and for every method; the dashed line is the start.</p>\n<div class=\"charts\">\n"
    for measure in Self.measures {
      let lines = methods.compactMap { name, points -> LineChart.Series? in
        let drawn = points.filter { ($0.point.beta ?? 0) > 0 }
          .sorted { ($0.point.beta ?? 0) < ($1.point.beta ?? 0) }
        guard drawn.count > 1 else { return nil }
        return LineChart.Series(
          name: name,
          points: drawn.map {
            (log10($0.point.beta ?? .nan), measure.of($0.found.facts.diversity) ?? .nan)
          }, labels: drawn.map { $0.point.beta.map { "β \($0)" } ?? "" })
      }
      let level = measure.of(start.diversity)
      let xs = lines.flatMap(\.points).map(\.x)
      if let low = xs.min(), let high = xs.max() {
        let guide = level.map {
          LineChart.Series(name: "start", points: [(low, $0), (high, $0)], isGuide: true)
        }
        out +=
          LineChart(
            title: measure.title, xLabel: "log₁₀ β", yLabel: measure.label,
            series: lines + [guide].compactMap { $0 }, wholeX: false
          ).html
      }
      out +=
        StripChart(
          title: measure.title, label: measure.label,
          rows: methods.map { name, points in
            StripChart.Strip(
              name: name,
              values: points.map {
                (
                  measure.of($0.found.facts.diversity) ?? .nan,
                  $0.point.beta.map { "β \($0)" } ?? ""
                )
              })
          }, guide: level
        ).html
    }
    return out + "</div>\n"
  }

  private var alarms: String {
    var items = ""
    for point in points {
      for alarm in point.found?.alarms ?? [] {
        items += "<li>\(escapedHTML(point.name)), rollout \(alarm.rollout): "
        items += "\(escapedHTML(alarm.text))</li>\n"
      }
    }
    return items.isEmpty ? "" : "<h2>Alarms while training</h2>\n<ul>\n\(items)</ul>\n"
  }
}
