// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneTraining

/// A chart of the report's training section: which metrics it draws.
struct ReportCurve {
  /// A line of it.
  struct Line {
    /// What the legend says.
    var name: String
    /// The metric.
    var metric: Metric

    /// The keys of a run's numbers that it draws, each with the source that it is of, if it is of one: of
    /// `constraint/slack` those of every constraint.
    func keys(in training: [Report.Point]) -> [(key: String, source: String?)] {
      let (name, opening) = (metric.rawValue, metric.rawValue + "[")
      let named = Set(training.flatMap { $0.values.keys.filter { $0.hasPrefix(opening) } })
      return [(name, nil)]
        + named.sorted().map { ($0, String($0.dropFirst(opening.count).dropLast())) }
    }
  }

  /// Its title.
  var title: String
  /// What its y axis measures.
  var unit: String
  /// Its lines.
  var lines: [Line]
  /// Values that the y axis takes in.
  var including: [Double] = []
  /// Whether the y axis begins at 0, whatever an estimate says.
  var startsAtZero = false

  /// The charts in their order; those without numbers are left out.
  static let all: [ReportCurve] = [
    .init(
      title: "Loss", unit: "nats a token",
      lines: [
        .init(name: "training", metric: .supervisedLoss),
        .init(name: "held out", metric: .heldOutLoss),
      ]),
    .init(
      title: "Loss of the preferences", unit: "loss",
      lines: [.init(name: "training", metric: .preferenceLoss)]),
    .init(
      title: "Loss of the reward model", unit: "loss",
      lines: [.init(name: "training", metric: .rewardLoss)]),
    .init(
      title: "Accuracy", unit: "share",
      lines: [
        .init(name: "training", metric: .accuracy),
        .init(name: "held out", metric: .heldOutAccuracy),
        .init(name: "fresh pairs", metric: .freshAccuracy),
      ], including: [0.5, 1]),
    .init(
      title: "Margin of the rewards", unit: "reward",
      lines: [.init(name: "margin", metric: .margin)], including: [0]),
    .init(
      title: "Rewards of the pairs", unit: "reward",
      lines: [
        .init(name: "preferred", metric: .chosenReward),
        .init(name: "the others", metric: .rejectedReward),
      ]),
    .init(
      title: "Log-probabilities of the pairs", unit: "nats an answer",
      lines: [
        .init(name: "preferred", metric: .chosenLogProbability),
        .init(name: "the others", metric: .rejectedLogProbability),
      ]),
    .init(
      title: "Reward that is climbed", unit: "reward",
      lines: [.init(name: "climbed reward", metric: .rewardMean)]),
    .init(
      title: "Gold reward", unit: "score", lines: [.init(name: "gold reward", metric: .goldReward)]),
    .init(
      title: "KL from the start", unit: "nats a sequence",
      lines: [.init(name: "KL", metric: .klSequence)], startsAtZero: true),
    .init(
      title: "Length", unit: "tokens", lines: [.init(name: "length", metric: .responseLength)],
      including: [0]),
    .init(
      title: "Distinct token pairs", unit: "share",
      lines: [.init(name: "distinct-2", metric: .distinct2)], including: [0, 1]),
    .init(
      title: "Likeness of the answers to one prompt", unit: "self-BLEU",
      lines: [.init(name: "self-BLEU", metric: .selfBLEU)], including: [0, 1]),
    .init(
      title: "Answers that end by themselves", unit: "share",
      lines: [.init(name: "completed", metric: .endedShare)], including: [0, 1]),
    .init(
      title: "Right answers", unit: "share",
      lines: [
        .init(name: "accuracy", metric: .rightShare), .init(name: "pass@k", metric: .passAtK),
        .init(name: "held out", metric: .heldOutRight),
      ], including: [0]),
    .init(
      title: "KL to the teacher", unit: "nats a sequence",
      lines: [
        .init(name: "training", metric: .teacherKL),
        .init(name: "held out", metric: .heldOutTeacherKL),
      ], startsAtZero: true),
    .init(
      title: "Price of a constraint", unit: "λ",
      lines: [.init(name: "λ", metric: .constraintMultiplier)], including: [0]),
    .init(
      title: "Limit minus mean cost", unit: "cost",
      lines: [.init(name: "slack", metric: .constraintSlack)], including: [0]),
    .init(
      title: "Answers beyond a limit", unit: "share",
      lines: [.init(name: "violations", metric: .constraintViolations)], including: [0, 1]),
    .init(
      title: "Policy loss and value loss", unit: "loss",
      lines: [
        .init(name: "policy", metric: .policyLoss), .init(name: "value", metric: .valueLoss),
      ]),
    .init(
      title: "Share of clipped ratios", unit: "share",
      lines: [.init(name: "clipped", metric: .clipShare)], including: [0]),
    .init(
      title: "β of the KL penalty", unit: "β", lines: [.init(name: "β", metric: .beta)],
      including: [0]),
    .init(
      title: "Entropy", unit: "nats a token",
      lines: [.init(name: "entropy", metric: .entropy)], including: [0]),
    .init(
      title: "Norm of the gradient", unit: "norm",
      lines: [.init(name: "norm", metric: .gradientNorm)], startsAtZero: true),
  ]
}

extension Report {
  /// A row of the table of before and after.
  struct ComparisonRow {
    /// What is measured.
    var name: String
    /// How to read it.
    var explanation: String
    /// A value and its interval for each model.
    var cells: [(value: String, interval: String)]
  }

  /// The rows for models side by side.
  static func comparisonRows(_ models: [EvaluationReport.Model]) -> [ComparisonRow] {
    typealias Model = EvaluationReport.Model
    var rows: [ComparisonRow] = []
    func add(_ name: String, _ explanation: String, _ cell: (Model) -> (String, String)) {
      rows.append(
        ComparisonRow(name: name, explanation: explanation, cells: models.map(cell)))
    }
    let names = Set(models.flatMap(\.rewards.keys)).sorted()
    for name in names {
      add(name, RewardSpecification.Kind.of(source: name)?.role ?? "a reward") { model in
        guard let reward = model.rewards[name] else { return ("–", "") }
        return (readable(reward.mean), bracket(reward.interval) + " SD \(readable(reward.sd))")
      }
    }
    rows += rightRows(models)
    add("KL", "nats an answer, from the start") {
      (readable($0.kl), $0.klInterval.map { bracket($0) } ?? "")
    }
    if models.contains(where: { $0.exactKL != nil }) {
      add("exact KL", "nats an answer, each token's over the whole vocabulary") {
        (readable($0.exactKL), $0.exactKLInterval.map { bracket($0) } ?? "")
      }
    }
    add("length", "tokens an answer") {
      (readable($0.length, digits: 1), bracket($0.lengthInterval, digits: 1))
    }
    add("ended by themselves", "before the token limit") {
      (readablePercent($0.completed), bracketPercent($0.completedInterval))
    }
    add("distinct word pairs", "of all word pairs in all answers") {
      (readablePercent($0.distinct2), "")
    }
    if models.contains(where: { $0.diversity.selfBLEU != nil }) {
      add("self-BLEU", "of the answers to one prompt; 1 is all alike") {
        (
          readable($0.diversity.selfBLEU),
          $0.diversity.selfBLEUInterval.map { bracket($0) } ?? ""
        )
      }
      add("distinct answers", "of the answers to one prompt") {
        (
          readablePercent($0.diversity.distinctAnswers),
          $0.diversity.distinctAnswersInterval.map { bracketPercent($0) } ?? ""
        )
      }
    }
    add("entropy", "nats a token") {
      (readable($0.diversity.entropy), bracket($0.diversity.entropyInterval))
    }
    add("repeated 4-grams", "word 4-grams that the same answer had before") {
      (
        readablePercent($0.repetition, digits: 1),
        $0.repetitionInterval.map { bracketPercent($0, digits: 1) } ?? ""
      )
    }
    add("perplexity under the start", "how odd the answers look to the model they came from") {
      (readable($0.perplexity), $0.perplexityInterval.map { bracket($0) } ?? "")
    }
    add("prompt's words taken up", "share of the prompt's content words found in the answer") {
      (readablePercent($0.promptWords), bracketPercent($0.promptWordsInterval))
    }
    if models.contains(where: { $0.empty > 0 }) {
      add("empty answers", "") {
        (
          readablePercent($0.empty, digits: 1),
          $0.emptyInterval.map { bracketPercent($0, digits: 1) } ?? ""
        )
      }
    }
    return rows
  }

  /// The rows that say how many answers are right, where that is known.
  private static func rightRows(_ models: [EvaluationReport.Model]) -> [ComparisonRow] {
    guard let right = models.compactMap(\.right).first else { return [] }
    typealias Right = EvaluationReport.Right
    func row(
      _ name: String, _ explanation: String, _ figure: (Right) -> (Double, Interval)?
    ) -> ComparisonRow {
      let cells = models.map { model -> (value: String, interval: String) in
        guard let right = model.right, let (value, interval) = figure(right) else {
          return ("–", "")
        }
        return (readablePercent(value, digits: 1), bracketPercent(interval, digits: 1))
      }
      return ComparisonRow(name: name, explanation: explanation, cells: cells)
    }
    var rows = [
      row("right answers", "by \(right.source)") { ($0.accuracy, $0.accuracyInterval) }
    ]
    for pass in right.pass where pass.k > 1 {
      rows.append(
        row("pass@\(pass.k)", "prompts with a right one among so many answers") { right in
          right.pass.first { $0.k == pass.k }.map { ($0.value, $0.interval) }
        })
    }
    guard right.majority != nil else { return rows }
    rows.append(
      row("right majority", "prompts whose most frequent answer is right") { right in
        right.majority.flatMap { value in right.majorityInterval.map { (value, $0) } }
      })
    let shares = models.map { model -> (value: String, interval: String) in
      model.right.map {
        ("\(readablePercent($0.allRight)), \(readablePercent($0.allWrong))", "")
      } ?? ("–", "")
    }
    rows.append(
      ComparisonRow(
        name: "all right, all wrong", explanation: "prompts whose answers are all right, or none",
        cells: shares))
    return rows
  }

  private static func bracket(_ interval: Interval, digits: Int = 2) -> String {
    "[\(readable(interval.low, digits: digits)), \(readable(interval.high, digits: digits))]"
  }

  private static func bracketPercent(_ interval: Interval, digits: Int = 0) -> String {
    "[\(readablePercent(interval.low, digits: digits)), "
      + "\(readablePercent(interval.high, digits: digits))]"
  }

  /// How many answers the report shows before its fold.
  var answersShown: Int {
    settings.first { $0.stage == "run" && $0.name == "side_by_side" }.flatMap { Int($0.value) }
      ?? 10
  }

  /// What a person at a terminal is told at the end: the table, a few answers, the time, the machine's
  /// rate.
  public var terminalSummary: String {
    let job = stages.reduce(0) { $0 + $1.seconds }
    var lines = [evaluation.terminalTable, ""]
    let greedy = greedy ?? []
    if !greedy.isEmpty {
      lines.append("Greedy answers before and after, to the first held-out prompts:")
      for sample in greedy.prefix(3) {
        lines.append("  " + Self.short(sample.prompt, 100))
        lines.append("    before  " + Self.short(sample.before.text, 220))
        let isWorse = (sample.change(by: goldName) ?? 0) < 0
        lines.append(
          "    after   " + Self.short(sample.after.text, 220) + (isWorse ? "  (worse)" : ""))
      }
      if let change = AnswerChange(greedy, by: goldName) { lines.append(change.text) }
      lines.append("")
    }
    var last = "All stages took \(readableSeconds(job)) on \(machine.threads) threads"
    if let start = machine.productRateAtStart, let end = machine.productRateAtEnd {
      last +=
        "; matrix products alone ran at \(readable(start, digits: 0)) GFLOP/s at the start, "
        + "\(readable(end, digits: 0)) at the end"
    }
    lines.append(last + ".")
    return lines.joined(separator: "\n")
  }

  /// A text on one line, cut where it is long.
  private static func short(_ text: String, _ count: Int) -> String {
    let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return line.count > count ? line.prefix(count - 1) + "…" : line
  }
}

extension EvaluationReport {
  /// The result as a table for a terminal, before on the left and after on the right, with how many
  /// answers it is over.
  public var terminalTable: String {
    let columns = models.beforeAndAfter
    let titles = columns.map { model in
      columns.count > 1 ? (model.role == "start" ? "before" : "after") : model.model
    }
    let table = TextTable(
      columns: [""] + titles,
      rows: Report.comparisonRows(columns).map { row in
        [row.name]
          + row.cells.map { $0.interval.isEmpty ? $0.value : "\($0.value) \($0.interval)" }
      })
    var lines = table.text.split(separator: "\n").map(String.init)
    for win in winRates {
      lines.append(
        "win rate by \(win.reward): \(readablePercent(win.value)) "
          + "[\(readablePercent(win.interval.low)), \(readablePercent(win.interval.high))], "
          + "ties \(readablePercent(win.ties))")
      guard let judged = win.judged else { continue }
      let controlled = judged.lengthControlledInterval
      lines.append(
        "  at equal length: \(readablePercent(judged.lengthControlled)) "
          + "[\(readablePercent(controlled.low)), \(readablePercent(controlled.high))]; "
          + judged.bias.words)
    }
    lines.append(
      "n: \(prompts) held-out prompts, \(samplesPerPrompt) answers each; "
        + "\(readablePercent(confidence)) intervals over prompts")
    lines += preferences?.lines(confidence: confidence) ?? []
    return lines.joined(separator: "\n")
  }
}
