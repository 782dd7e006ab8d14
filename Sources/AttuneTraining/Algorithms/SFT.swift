// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of supervised fine-tuning.
public struct SFTSettings: ReadsRows {
  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings()
  /// Whether prompts count in the loss too, and not only the answers.
  public var scorePrompts = false
  /// Which answers of a conversation are learned: `all` or `last`.
  public var answers = LearnedAnswers.all
  /// What the sum over tokens is divided by.
  public var reduction = TokenReduction.token
  /// Passes over the data.
  @Flattened public var rows = RowsSettings()
  /// Held-out rows are scored every so many steps, and at the end; 0 is only then.
  public var evaluateEvery = 0

  /// The defaults.
  public init() {
    training.weights.train = .full
    training.weights.layers = 0
    training.optimiser.learningRate = 2e-5
    rows.maxLength = 1024
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs("model") + [
      Knob(
        "score_prompts", "Whether prompts count in the loss too, and not only the answers.", .flag),
      Knob(
        "answers", "Which answers of a conversation are learned.",
        .choice(LearnedAnswers.self)),
      Knob(
        "reduction", "What the sum over tokens is divided by.", .choice(TokenReduction.self)),
    ]
    + RowsSettings.knobs(batch: "Rows")
    .saying("max_length", "Longest text in tokens; 0 is the model's own limit.")
    + OptimiserSettings.knobs + [
      Knob(
        "evaluate_every",
        "Held-out rows are scored every so many steps, and at the end; 0 is only then.",
        .whole(atLeast: 0))
    ]
    + EngineSettings.knobs(cutBetween: "rows") + [
      TrainingSettings.checkpointSeconds,
      Knob.seed("the order of rows, and of weights that start at random"),
    ]

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] { training.weights.unreadKnobs }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(
      !scorePrompts || answers == .all, "score_prompts",
      "false where answers is last: the other answers are part of the prompt")
  }
}

/// What a run of supervised fine-tuning came to.
public struct SFTReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The folder of the trained model.
  public var model: String
  /// Optimiser steps.
  public var steps: Int
  /// Rows trained on.
  public var rows: Int
  /// Texts that they make: a conversation makes one for each answer where the chat template writes
  /// earlier turns otherwise once others follow.
  public var texts: Int
  /// What became of the data's rows.
  public var dataRows: RowAccount
  /// What became of the rows that are only scored; nil without any.
  public var heldOutDataRows: RowAccount?
  /// Mean negative log-likelihood of a token over the last step's batch, in nats; the mean of the
  /// rows' means where `reduction` is sequence.
  public var loss: Double
  /// The same over the held-out rows, if there are any.
  public var heldOutLoss: Double?
  /// Its 95 % interval, by bootstrap over prompts.
  public var heldOutLossInterval: [Double]?
  /// Held-out rows.
  public var heldOutRows: Int
  /// What was cut.
  public var cuts: CutCounts
  /// Seconds of this process's part of the run.
  public var seconds: Double
}

/// Supervised fine-tuning: the tokens of answers (or of whole texts) are made more probable.
///
/// Loss −Σ_t log π(y_t | x, y_<t) / N over the answers' tokens, N their number in the whole batch of
/// an optimiser step, however it is cut (Ouyang et al. 2022). From random weights on plain texts the
/// same loop is pre-training.
public enum SFT {
  private struct State: RunState {
    @Count var step = 0
    var loss = 0.0
    /// Whether training is over, and what held-out rows say is in the metrics.
    var isOver = false
  }

  /// Trains a model and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; handed over (`consume`), its weights go once all are copied.
  ///   - data: Texts, prompt–completion rows or conversations.
  ///   - heldOut: Rows of the same kind that are only scored.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the model is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: consuming LoadedModel, data: DataFile, heldOut: DataFile? = nil, settings: SFTSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> SFTReport {
    try settings.validate()
    try settings.check(against: start.model)
    let began = ContinuousClock.now
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      copy start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    var account = RowAccount(data)
    let groups = try encode(data, encoder, settings, &account)
    account.count(trained: groups.map(\.row), heldOut: [])
    var heldOutAccount = heldOut.map { RowAccount($0) }
    var heldOutGroups: [EncodedGroup] = []
    if let heldOut, var counted = heldOutAccount {
      heldOutGroups = try encode(heldOut, encoder, settings, &counted)
      counted.count(trained: [], heldOut: heldOutGroups.map(\.row))
      heldOutAccount = counted
    }
    let cuts = CutCounts(groups)
    try options.plan(settings, start: copy start) {
      PlannedRows(
        groups, heldOut: heldOutGroups, for: start.model, scoringPrompts: settings.scorePrompts)
    }

    let folder = try RunOutput(
      "sft", copy start, settings: settings, data: data, heldOut: heldOut, to: output, options)
    let model = try start.model.copy(training: settings.trainable(start.model.spec))
    var order = BatchOrder(rows: groups.count, batch: settings.batchSize, seed: settings.seed)
    folder.say(settings.rateRemark)
    let run = try TrainingRun(
      folder, training: model, of: start, settings: settings,
      steps: order.steps(epochs: settings.epochs, atMost: settings.maxSteps), state: State())
    if let text = account.summary(of: data.url.lastPathComponent) { run.say(text) }
    if let heldOut, let text = heldOutAccount?.summary(of: heldOut.url.lastPathComponent) {
      run.say(text)
    }
    if groups.count > account.trained {
      run.say(
        "\(account.trained) rows make \(groups.count) texts: the chat template writes earlier turns "
          + "otherwise once others follow (answers=last learns the last answers alone)")
    }
    if let text = cuts.summary(maximumLength: encoder.maximumLength) { run.say(text) }

    while run.goesOn {
      // 1. The next rows, and a step on the likelihood of their answers.
      let batch = order.rows(of: run.state.step).map { groups[$0] }
      var totals = try run.step(on: batch) { _ in
        var (loss, totals) = try accumulateSFT(model, batch, settings: settings)
        totals.add(.loss, loss)
        return totals
      }
      run.state.loss = totals[.loss] ?? 0
      totals.add(.perplexity, exp(totals[.supervisedLoss] ?? 0))

      // 2. A look at held-out rows on the way.
      if settings.evaluateEvery > 0, run.state.step % settings.evaluateEvery == 0, run.goesOn,
        !heldOutGroups.isEmpty
      {
        let rows = try run.asWritten {
          try Self.heldOutRows(model, heldOutGroups, settings: settings)
        }
        totals.add(.heldOutLoss, HeldOutRow.estimate(.heldOutLoss, of: rows)?.value ?? 0)
      }
      try run.finish(
        totals, order, tokens: batch.reduce(0) { $0 + $1.tokens },
        "loss \(fixed(run.state.loss, 4))")
    }

    // 3. What held-out rows say of the trained model.
    let heldOutRows = try run.asWritten {
      try Self.heldOutRows(model, heldOutGroups, settings: settings)
    }
    try HeldOutRow.write(heldOutRows, to: output)
    let estimate = HeldOutRow.estimate(.heldOutLoss, of: heldOutRows)
    if let heldOutLoss = estimate?.value, !run.state.isOver {
      var totals = MetricTotals()
      totals.add(.heldOutLoss, heldOutLoss)
      try run.log(totals)
    }
    run.state.isOver = true
    try run.checkpoint()
    try run.end()
    return SFTReport(
      model: output.path, steps: run.state.step, rows: account.trained, texts: groups.count,
      dataRows: account, heldOutDataRows: heldOutAccount, loss: run.state.loss,
      heldOutLoss: estimate?.value,
      heldOutLossInterval: estimate.map { [$0.interval.low, $0.interval.high] },
      heldOutRows: heldOutRows.count, cuts: cuts, seconds: seconds(ContinuousClock.now - began))
  }

  /// The rows of files as a plan sees them.
  static func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel, _ settings: SFTSettings
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(
      start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    func groups(_ data: DataFile) throws -> [EncodedGroup] {
      var account = RowAccount(data)
      return try encode(data, encoder, settings, &account)
    }
    return PlannedRows(
      try groups(data), heldOut: try heldOut.map(groups) ?? [], for: start.model,
      scoringPrompts: settings.scorePrompts)
  }

  private static func encode(
    _ data: DataFile, _ encoder: TextEncoder, _ settings: SFTSettings, _ account: inout RowAccount
  ) throws -> [EncodedGroup] {
    guard data.kind == .languageModelling || data.kind == .promptCompletion else {
      throw TrainingError(
        .badData,
        "\(data.url.path): holds \(data.kind.rawValue) data; sft learns from texts or "
          + "prompt–completion rows")
    }
    let groups = try account.rows(data) { row in
      let groups = try encoder.learned(row, answers: settings.answers)
      if settings.scorePrompts {
        guard groups.count == 1, row.example.allTurns.allSatisfy(\.carriesLoss) else {
          throw TrainingError(
            .badData,
            "line \(row.line): score_prompts puts a loss on all that stands before an answer, and "
              + (groups.count > 1
                ? "the chat template writes that anew for each answer" : "a turn's weight is 0")
              + "; leave score_prompts out")
        }
      }
      return groups
    }.flatMap(\.self)
    guard !groups.isEmpty else {
      throw TrainingError(
        .badData,
        account.summary(of: data.url.path) ?? "\(data.url.path): no row is left to train on")
    }
    return groups
  }

  /// The loss on rows that are not trained on: of each the mean over its tokens, which are its weight
  /// where `reduction` is token; else every text of it weighs the same.
  private static func heldOutRows(
    _ model: any LanguageModel, _ groups: [EncodedGroup], settings: SFTSettings
  ) throws -> [HeldOutRow] {
    // A text that follows no prompt stands for itself; all texts of a row are of one prompt.
    let first = Dictionary(groups.map { ($0.row, $0) }, uniquingKeysWith: { first, _ in first })
    let prompts = HeldOutRow.numbers(
      groups.map { first[$0.row] ?? $0 }
        .map { $0.prompt.count > 1 ? $0.prompt : $0.answers.first?.ids ?? [] })
    let pieces = cutIntoPieces(groups, for: model, budget: settings.pieceTokens)
    return try Collective.current.map(pieces) { piece in
      var rows: [HeldOutRow] = []
      let segments = AnswerSegments(
        groups[piece], scoringPrompts: settings.scorePrompts
      ).segments
      let scores = try model.score(segments).logProbabilities
      var next = 0
      for i in piece {
        let count = groups[i].answers.count + (groups[i].prompt.isEmpty ? 0 : 1)
        let texts = scores[next..<next + count].filter { !$0.isEmpty }
        let own = settings.reduction == .token ? texts.flatMap(\.self) : texts.map(Statistics.mean)
        next += count
        rows.append(
          HeldOutRow(
            line: groups[i].line, prompt: prompts[i], weight: Double(own.count),
            values: [.heldOutLoss: -Statistics.mean(own)]))
      }
      return rows
    }.flatMap(\.self)
  }
}

extension Example {
  /// The turns of prompt and answer.
  fileprivate var allTurns: [Message] {
    switch self {
    case .text(let content): content.turns
    case .completion(let prompt, let completion): prompt.turns + completion.turns
    default: []
    }
  }
}

/// A weight for each scored token.
private func ones(_ segments: [Segment]) -> [[Double]] {
  segments.map { [Double](repeating: 1, count: $0.scored.reduce(0) { $0 + $1.count }) }
}

/// What a loss came to on a piece of a batch.
struct PieceResult: Codable {
  var loss: Double
  var metrics: MetricTotals
  /// ∂loss/∂parameter for the scalars that the loss owns.
  var parameters: [Double] = []

  init(_ result: LossResult) {
    loss = result.loss
    metrics = result.metrics
    parameters = result.parameters
  }

  /// Loss and metrics of a batch.
  static func totals(of pieces: [PieceResult]) -> MetricTotals {
    var totals = MetricTotals(merging: pieces.map(\.metrics))
    for piece in pieces { totals.add(.loss, piece.loss) }
    return totals
  }
}

/// Adds the gradient of the supervised loss on a batch, piece by piece; PPO mixes it in too.
///
/// - Parameter weight: What the loss is multiplied by.
/// - Returns: The loss that is trained, as `reduction` has it, before the weight; and the metrics of the
///   batch, among them the mean over tokens.
func accumulateSFT(
  _ model: any LanguageModel, _ batch: [EncodedGroup], settings: SFTSettings, weight: Double = 1
) throws -> (loss: Double, metrics: MetricTotals) {
  let pieces = cutIntoPieces(batch, for: model, budget: settings.pieceTokens).map {
    AnswerSegments(batch[$0], scoringPrompts: settings.scorePrompts).segments
  }
  let statistics = TokenLoss.statistics(
    weights: pieces.flatMap(ones), reduction: settings.reduction)
  var totals = MetricTotals()
  var loss = 0.0
  let results = try model.accumulate(pieces) { segments in
    let weights = ones(segments)
    let scaled = statistics.scaled(weights).map { $0.map { $0 * weight } }
    let scores = try model.supervise(segments, weights: scaled)
    return PieceResult(
      TokenLoss.supervised(
        logProbabilities: scores.logProbabilities, weights: weights, statistics: statistics))
  }
  for result in results {
    loss += result.loss
    totals.merge(result.metrics)
  }
  return (loss, totals)
}
