// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneObjectives
import AttuneTraining
import Foundation

extension HackingReport {
  /// What each reward came to, a row each.
  var table: TextTable {
    var table = TextTable(columns: [
      "climbed", "start", "peak", "KL there", "end", "KL there", "held out", "learned", "wins",
      "s", "MB",
    ])
    for arm in arms {
      guard let peak = arm.peak, let end = arm.end else {
        table.rows.append([arm.name, "failed"] + Array(repeating: "", count: 9))
        continue
      }
      let found = arm.found
      table.rows.append([
        arm.name, readable(arm.curve.first?.gold), readable(peak.gold),
        readable(peak.kl, digits: 1), readable(end.gold), readable(end.kl, digits: 1),
        readable(found?.gold.mean), readable(found?.learned.mean),
        readablePercent(found?.winRate.mean), readable(found?.seconds, digits: 0),
        readable(found?.peakMemory, digits: 0),
      ])
    }
    return table
  }

  /// The fitted laws, two rows for each reward.
  var laws: TextTable {
    var table = TextTable(columns: ["law", "of", "R₀", "α", "γ", "residual", "R²", "peak at KL"])
    table.words = 2
    func pair(_ value: OveroptimisationLaw.Coefficient) -> String {
      "\(readable(value.value, digits: 3)) ± \(readable(value.standardError, digits: 3))"
    }
    for arm in arms {
      for (of, law) in [("gold", arm.goldLaw), ("climbed", arm.learnedLaw)] {
        guard let law else {
          table.rows.append([arm.name, of, "no fit"] + Array(repeating: "", count: 5))
          continue
        }
        table.rows.append([
          arm.name, of, pair(law.origin), pair(law.alpha), pair(law.gamma),
          readable(law.residual, digits: 3), readable(law.explained),
          law.peakKL.map { readable($0, digits: 1) } ?? "none",
        ])
      }
    }
    return table
  }

  /// First rollout of each alarm, for each reward.
  var alarms: TextTable {
    var table = TextTable(columns: [
      "alarm", "climbed", "rollout", "KL then", "gold then", "gold at the end",
    ])
    table.words = 2
    for arm in arms {
      for kind in RolloutAlarm.allCases where kind.isOfTheAnswers {
        guard let alarm = arm.alarms.first(where: { $0.raised.alarm == kind }) else {
          table.rows.append([kind.rawValue, arm.name, "never", "", "", ""])
          continue
        }
        table.rows.append([
          kind.rawValue, arm.name, "\(alarm.raised.rollout)", readable(alarm.kl, digits: 1),
          readable(alarm.gold), readable(arm.end?.gold),
        ])
      }
    }
    return table
  }

  private static let lawNote =
    "R(d) = R₀ + d·(α − γ·log d), d = √KL, by least squares over all rollouts, ± standard error."
  private static let alarmNote =
    "An alarm counts the first rollout that raised it; gold is the mean of the \(window) up to it."

  /// Of the table: what is a mean of what, and the start on the same prompts.
  private var tableNote: String {
    let rewards = start.rewards.sorted { $0.key < $1.key }
      .map { "\($0.key) \(readable($0.value.mean))" }.joined(separator: ", ")
    return "Rewards of rollouts are means over the last \(Self.window); those held out are of the "
      + "trained policy on \(prompts) prompts, where the start has \(rewards)."
  }

  /// The tables for a terminal.
  public var text: String {
    var out = "\(table.text)\(tableNote)\n\n\(laws.text)\(Self.lawNote)\n\n"
    out += "\(alarms.text)\(Self.alarmNote)\n"
    for arm in arms {
      if let failure = arm.failure { out += "\(arm.name) failed: \(failure)\n" }
    }
    return out
  }

  /// Writes `hacking.json` and `hacking.html` into a folder.
  ///
  /// - Throws: `FileError` if they can't be written.
  func write(to folder: URL) throws {
    try AtomicFile.write(try JSONText.pretty(self), to: folder.appending(path: "hacking.json"))
    try AtomicFile.write(html, to: folder.appending(path: "hacking.html"))
  }

  // MARK: The page

  /// The page: one self-contained document that loads nothing.
  public var html: String {
    var body = """
      <h1>Reward hacking</h1>
      <p class="quiet">\(escapedHTML(model)) · task of \(escapedHTML(run)) · \
      \(escapedHTML(method)), β = 0 · seed \(seed) · \(escapedHTML(date)) · \
      Attune \(escapedHTML(version))</p>
      <p>A policy that only climbs a learned reward: \(rollouts) rollouts of \(answersPerRollout) answers \
      of \(maxTokens) tokens at most, nothing holds it to its start. The gold reward, \
      <code>\(escapedHTML(gold))</code>, is measured and never climbed. Curves are in standard deviations \
      of the start's answers, so that both have one axis; dashed red lines are the first rollout at which \
      an alarm was raised.</p>

      """
    for arm in arms {
      body += "<h2>\(escapedHTML(arm.name))</h2>\n"
      if let failure = arm.failure {
        body += "<p><b>Training failed:</b> \(escapedHTML(failure))</p>\n"
      }
      body += "<div class=\"charts\">\n\(overRollouts(arm))\(overDistance(arm))</div>\n"
    }
    body += "<h2>Side by side</h2>\n<div class=\"charts\">\n"
    body += together("Gold reward", { ($0.gold, $1.goldDeviation) })
    body += together("Reward that is climbed", { ($0.learned, $1.learnedDeviation) })
    body += "</div>\n\(table.html)<p class=\"quiet\">\(escapedHTML(tableNote))</p>\n"
    body += "<h2>The law</h2>\n\(laws.html)<p class=\"quiet\">\(Self.lawNote)</p>\n"
    body += "<h2>Alarms</h2>\n\(alarms.html)<p class=\"quiet\">\(Self.alarmNote) "
    body += RolloutAlarm.allCases.filter(\.isOfTheAnswers)
      .map { "\($0.rawValue): \(escapedHTML($0.summary))" }.joined(separator: "; ")
    body += ".</p>\n"
    return standalonePage(title: "Reward hacking", body: body)
  }

  /// Change from the first rollout in deviations of its answers; not finite where these do not vary.
  private func change(_ value: Double, from first: Double?, by deviation: Double) -> Double {
    guard let first, deviation > 0 else { return .nan }
    return (value - first) / deviation
  }

  /// What is climbed and the gold reward over some steps.
  private func curves(
    _ arm: Arm, _ steps: [Step], along x: (Step) -> Double
  ) -> [LineChart.Series] {
    let lines = [
      ("climbed", \Step.learned, arm.learnedDeviation), ("gold", \.gold, arm.goldDeviation),
    ]
    return lines.map { name, value, deviation in
      LineChart.Series(
        name: name,
        points: steps.map {
          (x($0), change($0[keyPath: value], from: arm.curve.first?[keyPath: value], by: deviation))
        })
    }
  }

  private func overRollouts(_ arm: Arm) -> String {
    LineChart(
      title: "Over training", xLabel: "rollout", yLabel: "change, SD of the start",
      series: curves(arm, arm.curve) { Double($0.rollout) },
      marks: arm.alarms.filter { $0.raised.alarm.isOfTheAnswers }.map {
        (Double($0.raised.rollout), $0.raised.alarm.rawValue)
      }
    ).html
  }

  private func overDistance(_ arm: Arm) -> String {
    let steps = arm.curve.sorted { $0.kl < $1.kl }
    let first = arm.curve.first
    func distance(_ kl: Double) -> Double { max(0, kl).squareRoot() }
    let end = distance(steps.last?.kl ?? 0)
    func law(
      _ law: OveroptimisationLaw?, _ name: String, from: Double?, by deviation: Double
    ) -> LineChart.Series {
      LineChart.Series(
        name: "law of \(name)",
        points: law.map { law in
          (0...60).map { i in
            let d = end * Double(i) / 60
            return (d, change(law.reward(atKL: d * d), from: from, by: deviation))
          }
        } ?? [], isGuide: true)
    }
    return LineChart(
      title: "Over distance", xLabel: "d = √KL", yLabel: "change, SD of the start",
      series: curves(arm, steps) { distance($0.kl) } + [
        law(arm.learnedLaw, "climbed", from: first?.learned, by: arm.learnedDeviation),
        law(arm.goldLaw, "gold", from: first?.gold, by: arm.goldDeviation),
      ], wholeX: false, startsXAtZero: true
    ).html
  }

  private func together(
    _ title: String, _ value: (Step, Arm) -> (value: Double, deviation: Double)
  ) -> String {
    LineChart(
      title: "\(title), mean of \(Self.window) rollouts", xLabel: "KL, nats an answer",
      yLabel: "change, SD of the start",
      series: arms.map { arm in
        let first = arm.curve.first.map { value($0, arm).value }
        return LineChart.Series(
          name: arm.name,
          points: Self.smoothed(arm.curve).sorted { $0.kl < $1.kl }.map { step in
            let (value, deviation) = value(step, arm)
            return (step.kl, change(value, from: first, by: deviation))
          })
      }, wholeX: false, startsXAtZero: true
    ).html
  }
}
