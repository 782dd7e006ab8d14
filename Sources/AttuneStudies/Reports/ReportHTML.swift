// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTraining
import Foundation

extension Report {
  /// The page: one self-contained document that loads nothing.
  public var html: String {
    standalonePage(
      title: title,
      body: header + tiles
        + ReportSection.answers(
          greedy: greedy ?? [], samples: samples, open: answersShown, reward: goldName,
          prompts: "held-out prompts")
        + ReportSection.comparison(evaluation) + curves
        + ReportSection.rewardModel(rewardModel, remark: ceiling) + stageTable
        + ReportSection.settings(settings))
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
    each, sampled at temperature \(temperature); brackets hold \(readablePercent(evaluation.confidence)) intervals over prompts.</p>
    \(remark.map { "<p>\(escapedHTML($0))</p>\n" } ?? "")
    """
  }

  /// The temperature that answers are evaluated at, as the settings say it.
  private var temperature: String {
    settings.first { $0.stage == "evaluation" && $0.name == "temperature" }?.value ?? "1"
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
    if isChecked {
      return
        "Answers are checked by \(name): \(escapedHTML(labellerSummary)) The policy climbed that itself; no "
        + "preferences were collected and no reward was learned."
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

  /// Whether a grader checked answers, in place of preferences.
  private var isChecked: Bool {
    guard let kind = RewardSpecification.Kind.of(source: labeller) else { return false }
    return !kind.isLearned
  }

  /// The reward that decides: the labeller's.
  var goldName: String { evaluation.winRate?.reward ?? "labeller:\(labeller)" }
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

  // MARK: Over training

  private var curves: String {
    guard !training.isEmpty else { return "" }
    var out = "<h2>Over training</h2>\n"
    let seams = zip(training, training.dropFirst())
      .filter { $0.values["round"] != $1.values["round"] }.map { "\($0.0.step)" }
    if !seams.isEmpty {
      out += "<p>After rollout \(seams.joined(separator: " and ")) a new round begins, and with it "
      out +=
        "new lines: the policy's own answers were labelled, a new reward model, whose numbers have "
      out += "another zero and scale, was trained on all labels, and a policy from the start.</p>\n"
    }
    return out + ReportSection.charts([("", training)], xLabel: "rollout")
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
}
