// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation

extension Report {
  /// The page: one self-contained document that loads nothing.
  public var html: String {
    standalonePage(
      title: title,
      body: header + tiles + comparison + curves + rewardModelSection + sideBySide + stageTable
        + settingsTable)
  }

  /// The policy's row of the evaluation.
  private var after: EvaluationReport.Model? { evaluation.models.first { $0.role == "policy" } }
  /// The start's row of the evaluation.
  private var before: EvaluationReport.Model? { evaluation.models.first { $0.role == "start" } }

  private var header: String {
    """
    <h1>\(escapedHTML(title))</h1>
    <p class="quiet">\(escapedHTML(model)) · seed \(seed) · \(escapedHTML(date)) · \
    Attune \(escapedHTML(version))</p>
    <p>\(provenance) Every number below is on \
    \(evaluation.prompts) prompts that no stage trained on, \(evaluation.samplesPerPrompt) answers \
    each; brackets hold \(readablePercent(evaluation.confidence)) intervals over prompts.</p>

    """
  }

  /// Where preferences came from.
  private var provenance: String {
    let name = "<code>\(escapedHTML(labeller))</code>"
    if labeller == Self.people {
      return
        "The preferences are those of people, \(escapedHTML(labellerSummary)) There is no gold reward: "
        + "the policy climbed what the reward model learned from them, and the same model decides the "
        + "win rate below, which a policy can learn to fool. Whether the answers are better, people say."
    }
    if labeller.hasPrefix("judge:") {
      return
        "The preferences are those of \(name), \(escapedHTML(labellerSummary)) There is no gold "
        + "reward: training saw the judge's preferences alone, and the same judge decides the win rate."
    }
    return
      "The gold reward is the score of the labeller \(name): \(escapedHTML(labellerSummary)) Training "
      + "saw noisy preferences drawn from it alone, never the score."
  }

  // MARK: The result

  private var tiles: String {
    guard let after, let before else { return "" }
    var out = "<div class=\"tiles\">\n"
    if let now = after.rewards[goldName], let then = before.rewards[goldName] {
      let step = then.sd > 0 ? (now.mean - then.mean) / then.sd : nil
      out += Self.tile(
        "\(readable(then.mean)) → \(readable(now.mean))",
        "\(isGold ? "gold" : "learned") reward\(step.map { ", \(signed($0, digits: 1)) SD of the start" } ?? "")"
      )
    }
    if let win = evaluation.winRate {
      out += Self.tile(readablePercent(win.value), "wins against the start by \(win.reward)")
    }
    out += Self.tile(
      "\(readablePercent(before.completed)) → \(readablePercent(after.completed))",
      "answers that end by themselves")
    if let kl = after.kl {
      out += Self.tile("\(readable(kl, digits: 1)) nats", "KL from the start, per answer")
    }
    return out + "</div>\n"
  }

  /// The reward that decides: the labeller's.
  private var goldName: String { evaluation.winRate?.reward ?? "labeller:\(labeller)" }
  /// Whether that reward is one that nothing was trained on.
  private var isGold: Bool { RewardSpecification.Kind.of(source: goldName)?.isLearned != true }

  /// Why a reward model can't be right always.
  private var ceiling: String {
    if labeller == Self.people { return "People do not always agree, nor with themselves." }
    if labeller.hasPrefix("judge:") { return "What the judge is unsure of can't be foretold." }
    return
      "The preferences are drawn at random from the score difference, so 100 % is out of reach."
  }

  private static func tile(_ value: String, _ caption: String) -> String {
    "<div class=\"tile\"><b>\(escapedHTML(value))</b><span>\(escapedHTML(caption))</span></div>\n"
  }

  private func signed(_ value: Double, digits: Int = 2) -> String {
    (value > 0 ? "+" : "") + readable(value, digits: digits)
  }

  private var comparison: String {
    guard let after else { return "" }
    let columns = ([before].compactMap { $0 } + [after])
    var out = """
      <h2>Before and after</h2>
      <div class="scroll"><table>
      <thead><tr><th>on held-out prompts</th>

      """
    for column in columns {
      let name = column.role == "policy" ? "after" : "before"
      out += "<th class=\"n\">\(name)</th>"
    }
    out += "</tr></thead>\n<tbody>\n"
    for row in Self.comparisonRows(columns) {
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

  // MARK: Over training

  private var curves: String {
    guard !training.isEmpty else { return "" }
    var out = "<h2>Over training</h2>\n"
    let seams = zip(training, training.dropFirst())
      .filter { $0.values["round"] != $1.values["round"] }.map { "\($0.0.step)" }
    if !seams.isEmpty {
      out += "<p>After rollout \(seams.joined(separator: " and ")) a new round begins: the "
      out += "policy's own answers were labelled, and a new reward model, whose numbers have "
      out += "another zero and scale, was trained on all labels.</p>\n"
    }
    out += "<div class=\"charts\">\n"
    for curve in ReportCurve.all {
      let series = curve.lines.map { line in
        LineChart.Series(
          name: line.name,
          points: training.compactMap { point in
            point.values[line.metric.rawValue].map { (Double(point.step), $0) }
          })
      }
      guard series.contains(where: { !$0.points.isEmpty }) else { continue }
      out +=
        LineChart(
          title: curve.title, xLabel: "rollout", yLabel: curve.unit, series: series,
          includingY: curve.including
        ).html
    }
    return out + "</div>\n"
  }

  // MARK: The reward model

  private var rewardModelSection: String {
    guard let facts = rewardModel else { return "" }
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
    out += ". \(ceiling)</p>\n<div class=\"charts\">\n"
    out +=
      LineChart(
        title: "Calibration", xLabel: "probability that the model gives its favourite",
        yLabel: "share preferred",
        series: [
          .init(name: "perfect", points: [(0.5, 0.5), (1, 1)], isGuide: true),
          .init(
            name: "this model",
            points: facts.bins.filter { $0.pairs > 0 }.map { ($0.confidence, $0.accuracy) },
            intervals: facts.bins.filter { $0.pairs > 0 }.map(Self.whisker)),
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
  private static func whisker(_ bin: RewardModelFacts.Bin) -> (low: Double, high: Double) {
    let pairs = Double(bin.pairs)
    let interval = Statistics.wilson(successes: bin.accuracy * pairs, trials: pairs)
    return (interval.low, interval.high)
  }

  // MARK: Answers

  private var sideBySide: String {
    guard !samples.isEmpty else { return "" }
    var out = "<h2>Answers side by side</h2>\n<p class=\"quiet\">The first answer of each model to "
    out += "\(samples.count) held-out prompts, not chosen by anyone.</p>\n"
    for sample in samples {
      out += "<article class=\"pair\"><h3>\(escapedHTML(sample.prompt))</h3><div>\n"
      out += Self.answer("before", sample.before) + Self.answer("after", sample.after)
      out += "</div></article>\n"
    }
    return out
  }

  private static func answer(_ name: String, _ answer: SideBySide.Answer) -> String {
    let rewards = answer.rewards.sorted { $0.key < $1.key }
      .map { "\($0.key) \(readable($0.value))" }.joined(separator: " · ")
    let cut = answer.completed ? "" : " <span class=\"cut\">… (cut at the token limit)</span>"
    return """
      <section><span class="quiet"><b>\(name)</b> · \(escapedHTML(rewards))</span>\
      <blockquote>\(escapedHTML(answer.text))\(cut)</blockquote></section>

      """
  }

  // MARK: The run

  private var stageTable: String {
    var out = """
      <h2>Stages</h2>
      <div class="scroll"><table>
      <thead><tr><th>stage</th><th class="n">time</th><th>what it made</th></tr></thead>
      <tbody>

      """
    for stage in stages {
      out += "<tr><td>\(escapedHTML(stage.name))</td>"
      out += "<td class=\"n\">\(readableSeconds(stage.seconds))"
      if stage.reused { out += "<small>in an earlier run</small>" }
      out += "</td><td>\(escapedHTML(stage.summary))</td></tr>\n"
    }
    let total = stages.reduce(0) { $0 + $1.seconds }
    out += "<tr><td><b>all</b></td><td class=\"n\"><b>\(readableSeconds(total))</b></td><td></td>"
    out += "</tr>\n</tbody></table></div>\n<p class=\"quiet\">\(machine.threads) threads"
    if let start = machine.productRateAtStart {
      out += "; matrix products alone ran at \(readable(start, digits: 0)) GFLOP/s at the start"
      if let end = machine.productRateAtEnd {
        out += " and \(readable(end, digits: 0)) at the end"
      }
      out += " (at a lower rate everything takes longer in proportion)"
    }
    return out + ".</p>\n"
  }

  private var settingsTable: String {
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
