// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneRewards
public import AttuneTraining
import Foundation

/// A figure over what nothing was trained on: never without how many it is over and its interval.
public struct HeldOutFigure: Codable, Sendable, Equatable {
  /// The metric, by its name in `Documentation/Metrics.md`, or `NAME` of a reward.
  public var metric: String
  /// What it is called.
  public var name: String
  /// The figure.
  public var value: Double
  /// Its interval, prompts drawn anew (bootstrap); nil where it is of all answers together.
  public var interval: Interval?
  /// The same of the start, where it is known.
  public var before: Double?
  /// The start's interval.
  public var beforeInterval: Interval?
  /// Rows, pairs or answers.
  public var count: Int
  /// What is counted: `rows`, `pairs`, `answers`.
  public var unit: String
  /// Prompts that these belong to.
  public var prompts: Int
  /// Whether it is a share, shown in percent.
  public var isShare: Bool
  /// The confidence of the intervals; nil is 0.95.
  public var confidence: Double?

  private enum CodingKeys: String, CodingKey {
    case metric, name, value, interval, before, prompts, unit, confidence
    case beforeInterval = "before_interval"
    case count = "n"
    case isShare = "is_share"
  }

  /// `80 % [61 %, 92 %]`.
  var text: String { Self.text(value, interval, isShare: isShare) }

  /// The same of the start; nil where it is not known.
  var beforeText: String? { before.map { Self.text($0, beforeInterval, isShare: isShare) } }

  /// `24 pairs of 18 prompts`.
  var countText: String {
    count == prompts || prompts == 0
      ? "\(count) \(unit)" : "\(count) \(unit) of \(prompts) prompts"
  }

  /// `95 %`, for what is said of the brackets of some figures.
  static func confidence(of figures: [HeldOutFigure]) -> String {
    Set(figures.map { $0.confidence ?? 0.95 }).sorted().map { readablePercent($0) }
      .joined(separator: " and ")
  }

  /// A value with its interval.
  static func text(_ value: Double, _ interval: Interval?, isShare: Bool) -> String {
    func number(_ value: Double) -> String {
      isShare ? readablePercent(value) : readable(value, digits: abs(value) < 10 ? 3 : 1)
    }
    return number(value) + (interval.map { " [\(number($0.low)), \(number($0.high))]" } ?? "")
  }
}

extension HeldOutFigure {
  /// What is shown of held-out rows, in this order.
  private static let shown: [(metric: Metric, name: String, isShare: Bool)] = [
    (.heldOutLoss, "loss, nats a token", false),
    (.accuracy, "accuracy", true), (.margin, "margin of the rewards", false),
    (.chosenReward, "reward of the preferred", false),
    (.rejectedReward, "reward of the others", false),
    (.chosenLogProbability, "log-probability of the preferred", false),
    (.rejectedLogProbability, "log-probability of the others", false),
  ]

  /// The figures of held-out rows.
  ///
  /// - Parameters:
  ///   - rows: The rows.
  ///   - unit: What a row is.
  static func of(_ rows: [HeldOutRow], unit: String) -> [HeldOutFigure] {
    shown.compactMap { metric, name, isShare in
      guard let estimate = HeldOutRow.estimate(metric, of: rows) else { return nil }
      let before = HeldOutRow.estimate(metric, of: rows) { $0.before }
      let own = rows.filter { $0.values[metric] != nil }
      return HeldOutFigure(
        metric: metric.rawValue, name: name, value: estimate.value,
        interval: Interval(estimate.interval), before: before?.value,
        beforeInterval: before.map { Interval($0.interval) }, count: own.count, unit: unit,
        prompts: Set(own.map(\.prompt)).count, isShare: isShare)
    }
  }

  /// The figures of an evaluation: those of the policy, the start's beside.
  package static func of(_ evaluation: EvaluationReport) -> [HeldOutFigure] {
    typealias Model = EvaluationReport.Model
    guard let policy = evaluation.models.first(where: { $0.role == "policy" }) else { return [] }
    let start = evaluation.models.first { $0.role == "start" }
    var figures: [HeldOutFigure] = []
    func add(
      _ metric: String, _ name: String, isShare: Bool = false,
      _ of: (Model) -> (value: Double, interval: Interval?)?
    ) {
      guard let now = of(policy) else { return }
      let then = start.flatMap(of)
      figures.append(
        HeldOutFigure(
          metric: metric, name: name, value: now.value, interval: now.interval,
          before: then?.value, beforeInterval: then?.interval,
          count: evaluation.prompts * evaluation.samplesPerPrompt, unit: "answers",
          prompts: evaluation.prompts, isShare: isShare))
    }
    for reward in policy.rewards.keys.sorted() {
      add(reward, reward) { model in model.rewards[reward].map { ($0.mean, $0.interval) } }
    }
    for win in evaluation.winRates {
      figures.append(
        HeldOutFigure(
          metric: "\(Metric.winRate.rawValue)[\(win.reward)]", name: "wins by \(win.reward)",
          value: win.value, interval: win.interval,
          count: evaluation.prompts * evaluation.samplesPerPrompt, unit: "answers",
          prompts: evaluation.prompts, isShare: true))
    }
    add(Metric.klSequence.rawValue, "KL, nats an answer") { model in
      model.kl.map { ($0, model.klInterval) }
    }
    add(Metric.exactKL.rawValue, "exact KL, nats an answer") { model in
      model.exactKL.map { ($0, model.exactKLInterval) }
    }
    add(Metric.responseLength.rawValue, "length, tokens") { ($0.length, $0.lengthInterval) }
    add(Metric.endedShare.rawValue, "ended by themselves", isShare: true) {
      ($0.completed, $0.completedInterval)
    }
    add(Metric.entropy.rawValue, "entropy, nats a token") {
      ($0.diversity.entropy, $0.diversity.entropyInterval)
    }
    add(Metric.referencePerplexity.rawValue, "perplexity under the start") { model in
      model.perplexity.map { ($0, model.perplexityInterval) }
    }
    add(Metric.promptUptake.rawValue, "prompt's words taken up", isShare: true) {
      ($0.promptWords, $0.promptWordsInterval)
    }
    return ((evaluation.preferences?.figures ?? []) + figures).map { figure in
      var figure = figure
      figure.confidence = evaluation.confidence
      return figure
    }
  }

  /// The figures of a reward model of the whole job.
  static func of(_ facts: Report.RewardModelFacts?) -> [HeldOutFigure] {
    guard let facts, let accuracy = facts.accuracy else { return [] }
    return [
      HeldOutFigure(
        metric: Metric.heldOutAccuracy.rawValue, name: "accuracy of the reward model",
        value: accuracy, interval: facts.accuracyInterval, count: facts.pairs, unit: "pairs",
        prompts: 0, isShare: true)
    ]
  }
}

// MARK: - In words

extension ContrastiveReport {
  /// `held out: accuracy 80 % [61 %, 92 %], margin 0.21 [0.1, 0.3], 24 rows`; nil without held-out rows.
  public var heldOutText: String? {
    guard let evalAccuracy else { return nil }
    let accuracy = HeldOutFigure.text(evalAccuracy, Interval(evalAccuracyInterval), isShare: true)
    let margin =
      evalMargin.map {
        ", margin " + HeldOutFigure.text($0, Interval(evalMarginInterval), isShare: false)
      } ?? ""
    return "held out: accuracy \(accuracy)\(margin), \(evalRows) rows"
  }
}

extension SFTReport {
  /// `held out: loss 1.42 [1.3, 1.5] nats a token, 24 rows`; nil without held-out rows.
  public var heldOutText: String? {
    heldOutLoss.map {
      "held out: loss " + HeldOutFigure.text($0, Interval(heldOutLossInterval), isShare: false)
        + " nats a token, \(heldOutRows) rows"
    }
  }
}

extension RewardReport {
  /// `held out: accuracy 71 % [66 %, 76 %], 240 pairs`, or of so many steps; nil without held-out rows.
  public var heldOutText: String? {
    evalAccuracy.map {
      "held out: accuracy " + HeldOutFigure.text($0, Interval(evalAccuracyInterval), isShare: true)
        + (evalFirstWrong.map {
          " of \(evalPairs) steps, first wrong step found "
            + HeldOutFigure.text($0, Interval(evalFirstWrongInterval), isShare: true)
        } ?? ", \(evalPairs) pairs")
    }
  }
}
