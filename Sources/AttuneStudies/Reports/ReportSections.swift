// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// The parts of a run's page, which the whole job's report and a single trainer's share.
enum ReportSection {
  // MARK: Before and after

  /// The table of before and after, and who wins.
  static func comparison(_ evaluation: EvaluationReport) -> String {
    let columns = evaluation.models.beforeAndAfter
    guard !columns.isEmpty else { return "" }
    var out = """
      <h2>Before and after</h2>
      <div class="scroll"><table>
      <thead><tr><th>on \(evaluation.prompts) held-out prompts, \
      \(evaluation.samplesPerPrompt) answers each</th>

      """
    for column in columns {
      let name = column.role == "policy" ? "after" : "before"
      out += "<th class=\"n\">\(name)</th>"
    }
    out += "</tr></thead>\n<tbody>\n"
    for row in Report.comparisonRows(columns) {
      out += "<tr><td>\(escapedHTML(row.name))"
      if !row.explanation.isEmpty { out += "<small>\(escapedHTML(row.explanation))</small>" }
      out += "</td>"
      for cell in row.cells {
        out += "<td class=\"n\">\(escapedHTML(cell.value))"
        if !cell.interval.isEmpty { out += "<small>\(escapedHTML(cell.interval))</small>" }
        out += "</td>"
      }
      out += "</tr>\n"
    }
    out += "</tbody></table></div>\n"
    for win in evaluation.winRates {
      out += """
        <p>By <code>\(escapedHTML(win.reward))</code> the new answers win \
        <b>\(readablePercent(win.value, digits: 1))</b> \
        [\(readablePercent(win.interval.low, digits: 1)), \
        \(readablePercent(win.interval.high, digits: 1))] of all pairs with the old ones \
        (ties, \(readablePercent(win.ties, digits: 1)), count half).</p>

        """
      if let judged = win.judged {
        out += """
          <p class="quiet">At equal length \
          \(readablePercent(judged.lengthControlled, digits: 1)) \
          [\(readablePercent(judged.lengthControlledInterval.low, digits: 1)), \
          \(readablePercent(judged.lengthControlledInterval.high, digits: 1))]; \
          \(escapedHTML(judged.bias.words)).</p>

          """
      }
    }
    return out
  }

  /// Figures over held-out rows as a table.
  static func heldOut(_ figures: [HeldOutFigure]) -> String {
    guard !figures.isEmpty else { return "" }
    let hasBefore = figures.contains { $0.before != nil }
    var table = TextTable(
      columns: ["figure"] + (hasBefore ? ["before", "after"] : ["value"]) + ["n"])
    for figure in figures {
      table.rows.append(
        [figure.name] + (hasBefore ? [figure.beforeText ?? ""] : [])
          + [figure.text, figure.countText])
    }
    return
      "<h2>On what was held out</h2>\n\(table.html)<p class=\"quiet\">Brackets hold \(HeldOutFigure.confidence(of: figures)) "
      + "intervals: "
      + "prompts drawn anew (bootstrap).</p>\n"
  }

  // MARK: Over training

  /// The charts of training: one run's lines, or those of several runs beside each other.
  ///
  /// - Parameters:
  ///   - runs: For each run what it is called (empty for a single one) and its points.
  ///   - xLabel: What a step is.
  static func charts(_ runs: [(name: String, training: [Report.Point])], xLabel: String) -> String {
    var out = ""
    for curve in ReportCurve.all {
      let series = runs.flatMap { name, training in
        curve.lines.flatMap { line in
          line.keys(in: training).map { key, source in
            let own = source ?? (name.isEmpty || curve.lines.count > 1 ? line.name : "")
            return LineChart.Series(
              name: [name, own].filter { !$0.isEmpty }.joined(separator: ": "),
              points: points(of: key, in: training))
          }
        }
      }.filter { !$0.points.isEmpty }
      // A single point is no curve; a table has it.
      guard series.contains(where: { $0.points.count > 1 }) else { continue }
      out +=
        LineChart(
          title: curve.title, xLabel: xLabel, yLabel: curve.unit, series: series,
          includingY: curve.including, startsYAtZero: curve.startsAtZero
        ).html
    }
    return out.isEmpty ? "" : "<div class=\"charts\">\n\(out)</div>\n"
  }

  /// A metric over the steps; where a round begins, whose policy is trained anew with another reward
  /// model, the line is broken.
  ///
  /// - Parameter key: The metric's name, with the source that it is of in brackets behind it.
  static func points(of key: String, in training: [Report.Point]) -> [(x: Double, y: Double)] {
    var points: [(x: Double, y: Double)] = []
    var round: Double?
    for point in training {
      guard let value = point.values[key] else { continue }
      let own = point.values["round"]
      if own != round, !points.isEmpty { points.append((.nan, .nan)) }
      round = own
      points.append((Double(point.step), value))
    }
    return points
  }

  // MARK: The reward model

  /// Accuracy, calibration and learning curve of a reward model.
  ///
  /// - Parameter remark: A sentence behind the figures.
  static func rewardModel(_ facts: Report.RewardModelFacts?, remark: String) -> String {
    guard let facts else { return "" }
    var out = "<h2>The reward model</h2>\n<p>On \(facts.pairs) pairs of answers to held-out prompts"
    if let accuracy = facts.accuracy {
      out += " it gives the preferred answer the higher reward in "
      out += "<b>\(readablePercent(accuracy, digits: 1))</b>"
      if let interval = facts.accuracyInterval {
        out += " [\(readablePercent(interval.low, digits: 1)), "
        out += "\(readablePercent(interval.high, digits: 1))]"
      }
      out += " of cases"
    }
    if let error = facts.calibrationError {
      out += "; its expected calibration error is \(readable(error, digits: 3))"
    }
    out += ". \(escapedHTML(remark))</p>\n<div class=\"charts\">\n"
    out +=
      LineChart(
        title: "Calibration", xLabel: "probability that the model gives its favourite",
        yLabel: "share preferred",
        series: [
          .init(name: "perfect", points: [(0.5, 0.5), (1, 1)], isGuide: true),
          .init(
            name: "this model",
            points: facts.bins.filter { $0.pairs > 0 }.map { ($0.confidence, $0.accuracy) },
            intervals: facts.bins.filter { $0.pairs > 0 }.map(whisker)),
        ], xRange: 0.5...1, yRange: 0...1, wholeX: false
      ).html
    if facts.learningCurve.count > 1 {
      out +=
        LineChart(
          title: "Accuracy against pairs seen", xLabel: "pairs", yLabel: "accuracy",
          series: [
            .init(
              name: "accuracy", points: facts.learningCurve.map { (Double($0.pairs), $0.accuracy) })
          ], includingY: [0.5]
        ).html
    }
    return out + "</div>\n"
  }

  /// Wilson's interval at 95 % for a bin's share.
  private static func whisker(_ bin: Report.RewardModelFacts.Bin) -> (low: Double, high: Double) {
    let pairs = Double(bin.pairs)
    let interval = Statistics.wilson(successes: bin.accuracy * pairs, trials: pairs)
    return (interval.low, interval.high)
  }

  // MARK: Answers

  /// Greedy answers side by side: those whose reward changed most for the better, in the middle, and for the worse,
  /// or without a reward the first ones; the rest and the samples behind a fold.
  ///
  /// - Parameters:
  ///   - greedy: Greedy answers to the same prompts.
  ///   - samples: Sampled ones.
  ///   - open: How many are shown at once, at most: a third of each kind.
  ///   - reward: The reward that says which got worse; nil where there is none.
  ///   - prompts: What the prompts are, for the words: `held-out prompts`.
  static func answers(
    greedy: [Report.SideBySide], samples: [Report.SideBySide], open: Int, reward: String?,
    prompts: String
  ) -> String {
    var out = ""
    if !greedy.isEmpty {
      out +=
        "<h2>Answers side by side</h2>\n<p>Greedy answers, the most probable token at each place, to "
      out += "\(greedy.count) \(prompts), not chosen by anyone."
      if let change = AnswerChange(greedy, by: reward) { out += " \(escapedHTML(change.text))" }
      out += "</p>\n"
      let (shown, rest) = telling(greedy, open: open, by: reward)
      for (title, answers) in shown {
        if let title { out += "<h3 class=\"kind\">\(title)</h3>\n" }
        out += answers.map { pair($0, by: reward) }.joined()
      }
      if !rest.isEmpty {
        out += "<details><summary>\(rest.count) more</summary>\n"
        out += rest.map { pair($0, by: reward) }.joined() + "</details>\n"
      }
    }
    guard !samples.isEmpty else { return out }
    if greedy.isEmpty { out += "<h2>Answers side by side</h2>\n" }
    out += "<details><summary>\(samples.count) sampled answers, as training and evaluation draw "
    out += "them</summary>\n<p class=\"quiet\">The first answer of each model to each prompt.</p>\n"
    return out + samples.map { pair($0, by: reward) }.joined() + "</details>\n"
  }

  /// The answers that tell most, under a title each, and the others.
  private static func telling(
    _ answers: [Report.SideBySide], open: Int, by reward: String?
  ) -> (shown: [(title: String?, answers: [Report.SideBySide])], rest: [Report.SideBySide]) {
    let changes = answers.compactMap { $0.change(by: reward) }
    let each = open / 3
    guard changes.count == answers.count, each > 0, answers.count > 3 * each else {
      return ([(nil, Array(answers.prefix(open)))], Array(answers.dropFirst(open)))
    }
    let order = answers.indices.sorted { (changes[$0], $1) > (changes[$1], $0) }
    let middle = (order.count - each) / 2
    let kinds = [
      ("What got better most", order.prefix(each)),
      ("In the middle", order[middle..<middle + each]),
      ("What got worse most, or better least", order.suffix(each)),
    ]
    let shown = Set(kinds.flatMap(\.1))
    return (
      kinds.map { ($0.0, $0.1.map { answers[$0] }) },
      answers.indices.filter { !shown.contains($0) }.map { answers[$0] }
    )
  }

  private static func pair(_ sample: Report.SideBySide, by reward: String?) -> String {
    let change = sample.change(by: reward)
    let mark =
      change.map { change in
        change < 0
          ? " <span class=\"down\">▼ got worse</span>"
          : change > 0
            ? " <span class=\"up\">▲ got better</span>" : " <span class=\"quiet\">the same</span>"
      } ?? ""
    return "<article class=\"pair\"><h3>\(escapedHTML(sample.prompt))\(mark)</h3><div>\n"
      + answer("before", sample.before) + answer("after", sample.after) + "</div></article>\n"
  }

  private static func answer(_ name: String, _ answer: Report.SideBySide.Side) -> String {
    let rewards = answer.rewards.sorted { $0.key < $1.key }
      .map { " · \($0.key) \(readable($0.value))" }.joined()
    let cut = answer.completed ? "" : " <span class=\"cut\">… (cut at the token limit)</span>"
    return """
      <section><span class="quiet"><b>\(name)</b>\(escapedHTML(rewards))</span>\
      <blockquote>\(escapedHTML(answer.text))\(cut)</blockquote></section>

      """
  }

  // MARK: The run

  /// Every setting, behind a fold.
  static func settings(_ settings: [Report.Setting]) -> String {
    guard !settings.isEmpty else { return "" }
    var out = "<h2>Settings</h2>\n<details><summary>All \(settings.count) settings</summary>\n"
    out += "<div class=\"scroll\"><table><tbody>\n"
    for setting in settings {
      out += "<tr><td>\(escapedHTML(setting.stage))</td>"
      out += "<td><code>\(escapedHTML(setting.name))</code></td>"
      out += "<td><code>\(escapedHTML(setting.value))</code></td></tr>\n"
    }
    return out + "</tbody></table></div></details>\n"
  }
}

extension [EvaluationReport.Model] {
  /// The start, where there is one, and then the policy.
  var beforeAndAfter: [EvaluationReport.Model] {
    ["start", "policy"].compactMap { role in first { $0.role == role } }
  }
}

extension Report.SideBySide {
  /// By how much the answer's reward rose; nil without that reward.
  func change(by reward: String?) -> Double? {
    guard let reward, let then = before.rewards[reward], let now = after.rewards[reward] else {
      return nil
    }
    return now - then
  }
}

/// How many answers got better and how many worse.
public struct AnswerChange: Sendable, Equatable {
  /// The reward that decides.
  public let reward: String
  /// Answers that got better.
  public let better: Int
  /// Answers that got worse.
  public let worse: Int
  /// Answers.
  public let count: Int

  /// Counts; nil where no answer has that reward.
  init?(_ pairs: [Report.SideBySide], by reward: String?) {
    let changes = pairs.compactMap { $0.change(by: reward) }
    guard let reward, !changes.isEmpty else { return nil }
    self.reward = reward
    better = changes.count { $0 > 0 }
    worse = changes.count { $0 < 0 }
    count = changes.count
  }

  /// The words.
  var text: String {
    let interval = Statistics.wilson(successes: Double(better), trials: Double(count))
    let (low, high) = (readablePercent(interval.low), readablePercent(interval.high))
    return "By \(reward) \(better) of \(count) got better [\(low), \(high)], \(worse) got worse"
      + (better + worse < count ? ", \(count - better - worse) are as good." : ".")
  }
}
