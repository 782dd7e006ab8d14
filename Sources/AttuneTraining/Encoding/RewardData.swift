// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// A group of answers with what was said about them.
struct RewardRow {
  /// The tokens.
  var encoded: EncodedGroup
  /// What was said; without scores.
  var labels: RewardGroup
  /// The pairs of which one is better: its index first.
  var decided: [(better: Int, worse: Int)]
}

/// Preferences as a reward model learns from them, split into rows to train on and rows to evaluate.
struct RewardData {
  private(set) var training: [RewardRow] = []
  private(set) var heldOut: [RewardRow] = []
  /// What became of the data's rows.
  private(set) var account: RowAccount
  /// What became of the rows of a file for evaluation.
  private(set) var heldOutAccount: RowAccount?
  private(set) var cuts = CutCounts([])
  /// The knobs of the loss, the data's own mean and deviation in them.
  private(set) var objective = RewardSettings()
  /// What a person should know of the data.
  private(set) var remarks: [String] = []

  /// Encodes and splits.
  ///
  /// - Throws: An error that names the file and line at fault.
  package init(
    _ data: DataFile, heldOut heldOutData: DataFile?, encoder: TextEncoder,
    settings: RewardModelSettings
  ) throws {
    account = RowAccount(data)
    objective = settings.objective
    var rows = try Self.rows(data, encoder, settings, &account)
    if settings.loss == .regression {
      var moments = RunningMoments()
      for row in rows { for target in row.labels.targets { target.map { moments.add($0) } } }
      objective.targetMean = moments.mean
      objective.targetDeviation = moments.standardDeviation > 0 ? moments.standardDeviation : 1
    }
    cuts = CutCounts(rows.map(\.encoded))
    rows = try Self.usable(rows, of: data, settings, objective, &account)
    if let heldOutData {
      training = rows
      var counted = RowAccount(heldOutData)
      heldOut = try Self.rows(heldOutData, encoder, settings, &counted)
      heldOut = try Self.usable(heldOut, of: heldOutData, settings, objective, &counted)
      Self.limit(&heldOut, settings, &counted)
      counted.count(trained: [], heldOut: heldOut.map(\.encoded.row))
      heldOutAccount = counted
      account.count(trained: training.map(\.encoded.row), heldOut: [])
    } else {
      (training, heldOut) = Self.split(rows, settings)
      Self.limit(&heldOut, settings, &account)
      account.count(
        trained: training.map(\.encoded.row), heldOut: heldOut.map(\.encoded.row))
    }
    guard !training.isEmpty else {
      throw TrainingError(
        .badData,
        account.summary(of: data.url.path)
          ?? "\(data.url.path): no row says anything that \(settings.loss.rawValue) can use")
    }
    if let text = account.summary(of: data.url.lastPathComponent) { remarks.append(text) }
    if let heldOutData,
      let text = heldOutAccount?.summary(of: heldOutData.url.lastPathComponent)
    {
      remarks.append(text)
    }
  }

  /// Keeps as many held-out rows as are evaluated.
  private static func limit(
    _ heldOut: inout [RewardRow], _ settings: RewardModelSettings, _ account: inout RowAccount
  ) {
    let limit = settings.evaluationGroups
    guard limit > 0, heldOut.count > limit else { return }
    for row in heldOut[limit...] {
      account.leaveOut(
        line: row.encoded.line, "held out, and beyond evaluation_groups \(limit)")
    }
    heldOut.removeLast(heldOut.count - limit)
  }

  private static func usable(
    _ rows: [RewardRow], of data: DataFile, _ settings: RewardModelSettings,
    _ objective: RewardSettings, _ account: inout RowAccount
  ) throws -> [RewardRow] {
    try rows.filter { row in
      do {
        if try settings.loss.check(label: row.labels, settings: objective) { return true }
        account.leaveOut(
          line: row.encoded.line, "says nothing that \(settings.loss.rawValue) can use")
        return false
      } catch let error as ObjectiveError {
        throw TrainingError(
          .badData, "\(data.url.path), line \(row.encoded.line): \(error.message)")
      }
    }
  }

  private static func rows(
    _ data: DataFile, _ encoder: TextEncoder, _ settings: RewardModelSettings,
    _ account: inout RowAccount
  ) throws -> [RewardRow] {
    try account.rows(data) { row in
      if case .stepwise(let steps) = row.example {
        guard settings.loss == .pointwise else {
          throw TrainingError(
            .badSetting,
            "line \(row.line): the row holds an answer in steps, each right or wrong, which \(settings.loss.rawValue) "
              + "can't learn from; set loss=pointwise")
        }
        var encoded = try encoder.steps(steps, separator: settings.stepSeparator, line: row.line)
        encoded.row = row.number
        // Of an answer that was cut the steps that are left.
        let left = Array(steps.labels.prefix(encoded.answers[0].steps.count))
        guard !left.isEmpty else {
          throw PassedOver(row.line, "no step ends within max_length \(encoder.maximumLength)")
        }
        return RewardRow(encoded: encoded, labels: RewardGroup(thumbs: left), decided: [])
      }
      let encoded = try encoder.group(row)
      if case .preference(let pair) = row.example, pair.outcome == .preferred,
        settings.loss != .regression
      {
        try encoder.requireDifferent(encoded)
      }
      return RewardRow(encoded: encoded, labels: try labels(row, settings), decided: [])
        .withDecided()
    }
  }

  private static func labels(_ row: DataRow, _ settings: RewardModelSettings) throws -> RewardGroup
  {
    switch row.example {
    case .preference(let pair):
      guard settings.loss != .regression else {
        return RewardGroup(targets: [pair.chosenScore, pair.rejectedScore])
      }
      let outcome = PairComparison.Outcome(pair.outcome)
      if settings.loss == .plackettLuce {
        return RewardGroup(ranks: outcome == .preferred ? [0, 1] : [0, 0])
      }
      let comparison = PairComparison(
        winner: 0, loser: 1, probability: settings.softLabels ? pair.probability ?? 1 : 1,
        margin: pair.margin ?? 0, outcome: outcome)
      return RewardGroup(
        comparisons: [comparison],
        thumbs: settings.loss == .pointwise && outcome == .preferred ? [true, false] : [])
    case .ranking(let ranking):
      if settings.loss == .regression { return RewardGroup(targets: ranking.scores) }
      let distinct = Set(ranking.scores).sorted(by: >)
      return RewardGroup(ranks: ranking.scores.map { distinct.firstIndex(of: $0) ?? 0 })
    case .unpaired(_, _, let label):
      return RewardGroup(thumbs: [label])
    default:
      throw TrainingError(
        .badData,
        "line \(row.line): \(row.example.kind.rawValue) data; a reward model learns from "
          + "preferences, rankings, thumbs or steps")
    }
  }

  /// Whole prompts are held out, so that no prompt is on both sides.
  private static func split(
    _ rows: [RewardRow], _ settings: RewardModelSettings
  ) -> (training: [RewardRow], heldOut: [RewardRow]) {
    let prompts = rows.map(\.encoded.prompt)
    let count = (Double(Set(prompts).count) * settings.evaluationShare).rounded()
    let (training, heldOut) = Shuffle.split(prompts, heldOut: Int(count), seed: settings.seed)
    return (training.map { rows[$0] }, heldOut.map { rows[$0] })
  }
}

extension RewardRow {
  fileprivate func withDecided() -> RewardRow {
    var row = self
    row.decided =
      labels.comparisons.compactMap { pair in
        guard pair.outcome == .preferred, pair.probability != 0.5 else { return nil }
        return pair.probability > 0.5 ? (pair.winner, pair.loser) : (pair.loser, pair.winner)
      }
    if labels.comparisons.isEmpty {
      let worth = labels.ranks.isEmpty ? labels.targets : labels.ranks.map { -Double($0) }
      for i in worth.indices {
        for j in worth.indices {
          if let a = worth[i], let b = worth[j], a > b { row.decided.append((i, j)) }
        }
      }
    }
    return row
  }
}

/// The segments of some rows, each answer scored after its last token, or after each of its steps.
func rewardSegments(_ rows: ArraySlice<RewardRow>) -> AnswerSegments {
  AnswerSegments(rows.map(\.encoded), scored: false, rewards: true)
}

/// The rows' labels with the model's scores.
func labelled(
  _ rows: ArraySlice<RewardRow>, _ answers: [[Int]], _ scores: HeadScores
) -> [RewardGroup] {
  zip(rows, answers).map { row, answers in
    var group = row.labels
    group.scores = answers.flatMap { scores.scalars[$0] }
    return group
  }
}

/// The score of every answer of some rows, or of every step.
func scores(
  _ model: any LanguageModel, _ rows: [RewardRow], _ trunks: TrunkCache,
  _ settings: RewardModelSettings
) throws -> [[Double]] {
  let pieces = cutIntoPieces(rows.map(\.encoded), for: model, budget: settings.pieceTokens)
  return try Collective.current.map(pieces) { piece in
    let made = rewardSegments(rows[piece])
    let scores = try model.score(
      made.segments,
      trunk: try trunks.trunk(for: rows[piece].map(\.encoded), segments: made.segments))
    return made.answers.map { $0.flatMap { scores.scalars[$0] } }
  }.flatMap(\.self)
}

/// What a reward model knows of pairs that it was not trained on.
struct RewardEvaluation {
  package var accuracy = 0.0
  var interval: [Double] = []
  var pairs = 0
  var calibrationError = 0.0
  /// Share of answers in steps whose first wrong step, or that there is none, is found; nil without such.
  var firstWrong: (value: Double, interval: [Double])?
  /// A JSON line a pair, or a step.
  var lines = ""
}

/// Accuracy and calibration on rows.
func evaluate(
  _ model: any LanguageModel, _ rows: [RewardRow], _ trunks: TrunkCache,
  _ settings: RewardModelSettings
) throws -> RewardEvaluation {
  var result = RewardEvaluation()
  var predictions: [Double] = []
  var outcomes: [Double] = []
  var held: [HeldOutRow] = []
  var found: [HeldOutRow] = []
  let prompts = HeldOutRow.numbers(rows.map(\.encoded.prompt))
  for (i, (row, scores)) in zip(rows, try scores(model, rows, trunks, settings)).enumerated() {
    if row.encoded.answers[0].steps.isEmpty == false {
      let labels = row.labels.thumbs.map { $0 == true }
      for (step, (score, label)) in zip(scores, labels).enumerated() {
        let margin = label ? score : -score
        predictions.append(sigmoid(abs(score)))
        outcomes.append(margin > 0 ? 1 : margin == 0 ? 0.5 : 0)
        held.append(
          HeldOutRow(
            line: row.encoded.line, prompt: prompts[i], values: [.accuracy: outcomes.last ?? 0]))
        result.lines +=
          "{\"line\":\(row.encoded.line),\"prompt\":\(prompts[i]),\"step\":\(step),"
          + "\"label\":\(label),\"margin\":\(margin)}\n"
      }
      let isFound = scores.firstIndex { $0 < 0 } == labels.firstIndex(of: false)
      found.append(
        HeldOutRow(
          line: row.encoded.line, prompt: prompts[i], values: [.accuracy: isFound ? 1 : 0]))
    }
    for (better, worse) in row.decided {
      let margin = scores[better] - scores[worse]
      let won = margin > 0 ? 1 : margin == 0 ? 0.5 : 0
      predictions.append(sigmoid(abs(margin)))
      outcomes.append(won)
      held.append(
        HeldOutRow(line: row.encoded.line, prompt: prompts[i], values: [.accuracy: won]))
      result.lines +=
        "{\"line\":\(row.encoded.line),\"prompt\":\(prompts[i]),\"better\":\(better),"
        + "\"worse\":\(worse),\"margin\":\(margin)}\n"
    }
  }
  result.pairs = predictions.count
  if let estimate = HeldOutRow.estimate(.accuracy, of: found) {
    result.firstWrong = (estimate.value, [estimate.interval.low, estimate.interval.high])
  }
  guard let estimate = HeldOutRow.estimate(.accuracy, of: held) else { return result }
  result.accuracy = estimate.value
  result.interval = [estimate.interval.low, estimate.interval.high]
  result.calibrationError =
    Statistics.calibration(predictions: predictions, outcomes: outcomes).error
  return result
}

/// Scalars that a loss owns, stepped by Adam beside the model's numbers.
struct OwnedParameters: Codable {
  var values: [Double] = []
  private var first: [Double] = []
  private var second: [Double] = []
  @Count private var steps = 0

  package init(_ values: [Double] = []) {
    self.values = values
    first = values.map { _ in 0 }
    second = first
  }

  /// Whether numbers that were read from a file can be those of a loss that owns so many.
  func fits(_ count: Int) -> Bool {
    [values, first, second].allSatisfy { $0.count == count } && second.allSatisfy { $0 >= 0 }
  }

  mutating func step(_ gradient: [Double], learningRate: Double) {
    steps += 1
    for i in values.indices {
      first[i] = 0.9 * first[i] + 0.1 * gradient[i]
      second[i] = 0.999 * second[i] + 0.001 * gradient[i] * gradient[i]
      let mean = first[i] / (1 - pow(0.9, Double(steps)))
      let square = second[i] / (1 - pow(0.999, Double(steps)))
      values[i] -= learningRate * mean / (square.squareRoot() + 1e-8)
    }
  }
}
