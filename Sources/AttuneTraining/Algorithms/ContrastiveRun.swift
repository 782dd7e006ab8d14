// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// The knobs that contrastive trainers share, beside the loss's own.
protocol ContrastiveSettings: TrainsWeights {
  var epochs: Int { get }
  var maxSteps: Int { get }
  var batchSize: Int { get }
  var maxLength: Int { get }
  var tooLong: TooLong { get }
  var decay: Decay { get }
  var warmupSteps: Int { get }
  var weightDecay: Double { get }
  var maxGradientNorm: Double { get }
  var precomputeReference: Bool { get }
  var evaluationShare: Double { get }
  var pieceTokens: Int { get }
  var trunkMegabytes: Int { get }
  var recompute: Bool { get }
  var checkpointSeconds: Double { get }
  var seed: UInt64 { get }
}

/// A prompt with the responses that a contrastive loss holds against each other.
struct ContrastiveRow<Label> {
  /// What was said of the responses.
  var label: Label
  /// Prompt and responses; these share the prompt's pass.
  var encoded: EncodedGroup
  /// The prompt with the response to another one, scored without a gradient: KTO's mismatched pair.
  var companion: EncodedGroup?
  /// ρ of each response, once it is known.
  var reference: [Double]?
  /// ρ of the companion.
  var companionReference: [Double]?
}

/// What a contrastive run came to.
public struct ContrastiveReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The folder of the trained policy.
  public var model: String
  /// The loss, by name.
  public var loss: String
  /// Loss on the held-out rows; nil without any.
  public var evalLoss: Double?
  /// Share of them whose implicit rewards agree with what was said.
  public var evalAccuracy: Double?
  /// Its 95 % interval, by bootstrap over prompts.
  public var evalAccuracyInterval: [Double]?
  /// Mean difference of the implicit rewards of chosen and rejected, in units of reward.
  public var evalMargin: Double?
  /// Its 95 % interval, by bootstrap over prompts.
  public var evalMarginInterval: [Double]?
  /// Rows held out.
  public var evalRows: Int
  /// Accuracy over the last epoch, as rows were met.
  public var trainAccuracy: Double?
  /// Rows trained on; of a pair that gives two thumbs, two.
  public var rows: Int
  /// Rows of the file that are left out: ``dataRows`` says why.
  public var leftOut: Int
  /// What became of the data's rows.
  public var dataRows: RowAccount
  /// What became of the rows of a file for evaluation; nil without one.
  public var heldOutDataRows: RowAccount?
  /// Optimiser steps.
  public var steps: Int
  /// What was cut.
  public var cuts: CutCounts
  /// Seconds that the reference's log-probabilities took before the first step.
  public var referenceSeconds: Double
  /// Seconds of this process's part of the run.
  public var seconds: Double
}

private struct ContrastiveState: Codable {
  @Count var step = 0
  var unpaired = UnpairedState()
  var epochCorrect = 0.0
  var epochRows = 0.0
  /// Whether training is over, and what held-out rows say is in the metrics.
  var isOver = false
}

/// The loop of the contrastive trainers: no sampling, no reward model; the policy against a
/// reference on responses that are given.
///
/// Paper: Rafailov et al. 2023, arXiv:2305.18290.
struct ContrastiveRun<Label, Settings: ContrastiveSettings> {
  /// Phase two of a loss: a piece's place in the batch and its responses, row by row.
  typealias PhaseTwo = (Range<Int>, [[ScoredResponse]]) throws -> LossResult
  /// Phase one of a loss: labels, responses and companions of the whole batch, and the state that a
  /// loss keeps from batch to batch. Responses carry π only where `needsCurrentScores` says so.
  typealias PhaseOne = (
    [Label], [[ScoredResponse]], [ScoredResponse], inout UnpairedState
  ) throws -> PhaseTwo

  /// The trainer, for progress and metrics.
  let stage: String
  /// The loss, by name.
  let lossName: String
  let settings: Settings
  /// Whether the loss reads ρ.
  let needsReference: Bool
  /// Whether phase one reads π: then a batch that is cut takes one more forward pass.
  let needsCurrentScores: Bool
  /// Whether the prompt's likelihood counts too.
  let scoresPrompt: Bool
  let phaseOne: PhaseOne

  /// Trains.
  ///
  /// - Parameters:
  ///   - start: The policy's start.
  ///   - reference: The reference, if it is not the start.
  ///   - trained: A policy opened beside the start whose numbers are gone on with.
  ///   - data: The file that all rows come from.
  ///   - rows: Its rows.
  ///   - heldOut: A file of held-out rows, these, and what became of the others; without it some of
  ///     the prompts are held out.
  ///   - pair: Gives rows their companions, once training and held-out rows are apart.
  ///   - account: What became of the file's rows.
  ///   - remarks: What a person should know of the data.
  func train(
    _ start: consuming LoadedModel, reference: consuming LoadedModel?,
    goingOnWith trained: LoadedModel? = nil, data: DataFile, rows: [ContrastiveRow<Label>],
    heldOut: (data: DataFile, rows: [ContrastiveRow<Label>], account: RowAccount)?,
    pair: ([ContrastiveRow<Label>]) throws -> [ContrastiveRow<Label>], account: RowAccount,
    remarks: [String] = [], encoder: TextEncoder, output: URL, options: RunOptions
  ) throws -> ContrastiveReport {
    let began = ContinuousClock.now
    var inputs = [("model", start.fingerprint), ("data", try Fingerprint.of(file: data.url))]
    if let heldOut { inputs.append(("held-out data", try Fingerprint.of(file: heldOut.data.url))) }
    if let reference { inputs.append(("reference", reference.fingerprint)) }
    if let trained { inputs.append(("policy", trained.fingerprint)) }
    let record = try RunRecord(
      stage: stage, settings: settings, template: start.chatTemplate, inputs: inputs)
    let folder = try RunFolder(output, record: record, restart: options.restart)
    let greedy =
      options.reports ? try GreedyAnswers(of: copy start, to: heldOut?.data ?? data) : nil
    // Then what the reference says of held-out answers is what the policy said before.
    let isOwnReference = reference == nil && trained == nil
    let model = try start.model.copy(training: settings.trainable(start.model.spec))
    if let trained { try model.setTrainedParameters(trained.model.trainedParameters()) }
    model.recomputesActivations = settings.recompute
    // Let go once every answer's log-probability under it is known.
    var origin: LoadedModel? = reference ?? copy start
    let all = rows + (heldOut?.rows ?? [])
    let trunks = TrunkCache(
      model, megabytes: settings.trunkMegabytes,
      tokens: all.reduce(0) { $0 + $1.encoded.tokens })

    var progress = Progress(stage, total: 1, style: options.progress)
    progress.say(settings.rateRemark)
    let cuts = CutCounts(rows.map(\.encoded))
    if let text = cuts.summary(maximumLength: encoder.maximumLength) { progress.say(text) }
    var account = account
    var heldOutAccount = heldOut?.account
    if let text = account.summary(of: data.url.lastPathComponent) { progress.say(text) }
    if let heldOut, let text = heldOut.account.summary(of: heldOut.data.url.lastPathComponent) {
      progress.say(text)
    }
    for remark in remarks { progress.say(remark) }

    // Before rows are split, so that another seed finds the same file.
    let referenceBegan = ContinuousClock.now
    var known = rows
    var evaluated = heldOut?.rows ?? []
    let isPrecomputed = needsReference && settings.precomputeReference
    if isPrecomputed, let origin {
      known = try withReference(
        known, of: data, origin, trunks, say: { progress.say($0) })
      if let heldOut {
        evaluated = try withReference(
          evaluated, of: heldOut.data, origin, trunks, say: { progress.say($0) })
      }
    }
    var training = known
    if heldOut == nil {
      let prompts = known.map(\.encoded.prompt)
      let count = (Double(Set(prompts).count) * settings.evaluationShare).rounded()
      let split = Shuffle.split(prompts, heldOut: Int(count), seed: settings.seed)
      training = split.train.map { known[$0] }
      evaluated = split.heldOut.map { known[$0] }
    }
    guard !training.isEmpty else {
      throw TrainingError(.badData, "\(data.url.path): no row is left to train on")
    }
    training = try pair(training)
    // Held-out rows of one prompt have nothing to be mismatched with.
    if Set(evaluated.map(\.encoded.prompt)).count > 1
      || training.allSatisfy({ $0.companion == nil })
    {
      evaluated = try pair(evaluated)
    } else if heldOut == nil {
      if !evaluated.isEmpty {
        progress.say(
          "no row is held out: \(lossName) compares answers to several prompts, and "
            + "evaluation_share \(settings.evaluationShare) of these rows is one prompt")
      }
      training = try pair(known)
      evaluated = []
    } else {
      for row in evaluated {
        heldOutAccount?.leaveOut(
          line: row.encoded.line, "the only prompt, and \(lossName) compares answers to several")
      }
      evaluated = []
    }
    let heldOutRows = evaluated.map(\.encoded.row)
    account.count(
      trained: training.map(\.encoded.row), heldOut: heldOut == nil ? heldOutRows : [])
    heldOutAccount?.count(trained: [], heldOut: heldOutRows)
    if isPrecomputed, let origin {
      training = try withCompanionReference(training, origin)
      evaluated = try withCompanionReference(evaluated, origin)
    }
    if isPrecomputed || !needsReference { origin = nil }
    if settings.train == .full { start = start.holding(model) }
    let referenceSeconds = seconds(ContinuousClock.now - referenceBegan)

    var order = BatchOrder(
      rows: training.count, batch: settings.batchSize, seed: settings.seed)
    let allSteps = settings.epochs * order.stepsPerEpoch
    let steps = settings.maxSteps > 0 ? min(allSteps, settings.maxSteps) : allSteps
    let schedule = Schedule(
      peak: settings.learningRate, decay: settings.decay,
      warmupSteps: min(settings.warmupSteps, steps / 10), totalSteps: steps)
    let optimizer = AdamW(weightDecay: settings.weightDecay)
    progress = Progress(stage, total: steps, style: options.progress)
    let saved = try RunCheckpoint<ContrastiveState>.read(
      into: [model], from: output, steps: steps, isPossible: { $0.step <= steps },
      warn: { progress.say("warning: \($0)") })
    var state = saved?.state ?? ContrastiveState()
    if state.step > 0 {
      progress.say("resuming at step \(state.step)")
      progress.resume(at: state.step)
    }
    let metrics = try MetricsFile(
      in: output, stage: stage, keeping: saved?.metricsBytes ?? 0, upTo: state.step,
      warn: { progress.say("warning: \($0)") })
    var clock = CheckpointClock(seconds: settings.checkpointSeconds)
    func checkpoint() throws {
      try clock.time {
        metrics.flush()
        try RunCheckpoint(state: state, metricsBytes: metrics.bytes).write([model], to: output)
      }
    }

    while state.step < steps {
      let stepBegan = ContinuousClock.now
      let batch = order.rows(of: state.step).map { training[$0] }
      var totals = MetricTotals()
      var total = 0.0
      do {
        total = try step(model, origin, batch, trunks, &state.unpaired, &totals)
        totals.add(.learningRate, schedule.rate(state.step))
        totals.add(
          .gradientNorm,
          try model.step(
            optimizer, learningRate: schedule.rate(state.step),
            maximumNorm: settings.maxGradientNorm > 0 ? settings.maxGradientNorm : nil))
      } catch let error as EngineError where error.code == .notFinite {
        throw diverged(error, step: state.step + 1, batch.map(\.encoded))
      }
      if state.step % order.stepsPerEpoch == 0 {
        state.epochCorrect = 0
        state.epochRows = 0
      }
      state.step += 1
      state.epochRows += Double(batch.count)
      state.epochCorrect += (totals[.accuracy] ?? 0) * Double(batch.count)
      let elapsed = seconds(ContinuousClock.now - stepBegan)
      totals.add(.loss, total)
      totals.add(.epoch, Double(state.step) / Double(order.stepsPerEpoch))
      totals.add(.tokensPerSecond, Double(batch.reduce(0) { $0 + $1.encoded.tokens }) / elapsed)
      totals.add(.secondsStep, elapsed)
      totals.add(.peakMemory, peakMemory())
      try metrics.append(step: state.step, totals)
      progress.update(
        state.step,
        "loss \(fixed(total, 4))  accuracy \(fixed(totals[.accuracy] ?? 0, 2))"
          + (totals[.margin].map { "  margin \(fixed($0, 3))" } ?? ""))
      if options.shouldStop(), state.step < steps {
        try checkpoint()
        throw TrainingError(
          .interrupted, "stopped after step \(state.step); the same command goes on from there")
      }
      if clock.isDue, state.step < steps { try checkpoint() }
    }

    var evaluation: (loss: Double, totals: MetricTotals, rows: [HeldOutRow])?
    if !evaluated.isEmpty {
      let result = try evaluate(
        model, origin, evaluated, trunks, state.unpaired, withBefore: isOwnReference)
      evaluation = result
      try HeldOutRow.write(result.rows, to: output)
      var totals = MetricTotals()
      totals.add(.heldOutLoss, result.loss)
      if let accuracy = result.totals[.accuracy] { totals.add(.heldOutAccuracy, accuracy) }
      if !state.isOver { try metrics.append(step: state.step, totals) }
    }
    state.isOver = true
    try checkpoint()
    try start.write(model, to: output, merging: settings.merge)
    if options.reports {
      try greedy?.write(after: start.holding(model), to: output)
      try RunReport.writeAtEnd(of: record, in: output)
    }
    func interval(_ metric: Metric) -> [Double]? {
      HeldOutRow.estimate(metric, of: evaluation?.rows ?? [])
        .map { [$0.interval.low, $0.interval.high] }
    }
    let report = ContrastiveReport(
      model: output.path, loss: lossName, evalLoss: evaluation?.loss,
      evalAccuracy: evaluation?.totals[.accuracy], evalAccuracyInterval: interval(.accuracy),
      evalMargin: evaluation?.totals[.margin], evalMarginInterval: interval(.margin),
      evalRows: evaluated.count,
      trainAccuracy: state.epochRows > 0 ? state.epochCorrect / state.epochRows : nil,
      rows: training.count, leftOut: account.leftOutRows, dataRows: account,
      heldOutDataRows: heldOutAccount, steps: state.step, cuts: cuts,
      referenceSeconds: referenceSeconds, seconds: seconds(ContinuousClock.now - began))
    try folder.finish()
    return report
  }
}

extension ContrastiveRun {
  /// Gradients of one batch; the optimiser's step is the caller's.
  ///
  /// - Returns: The loss.
  func step(
    _ model: any LanguageModel, _ origin: LoadedModel?, _ batch: [ContrastiveRow<Label>],
    _ trunks: TrunkCache, _ unpaired: inout UnpairedState, _ totals: inout MetricTotals
  ) throws -> Double {
    let pieces = cutIntoPieces(batch.map(\.encoded.tokens), budget: settings.pieceTokens)
    let labels = batch.map(\.label)
    let companions = try companionScores(model, origin, batch)
    var phaseTwo: PhaseTwo?
    if !needsCurrentScores {
      // Counts only: log-probabilities are not read.
      let blank = batch.map { row in
        responses(row, policy: row.encoded.answers.map { _ in 0 }, reference: row.reference)
      }
      phaseTwo = try phaseOne(labels, blank, companions, &unpaired)
    } else if pieces.count > 1 {
      let scored = try responses(model, origin, batch, trunks)
      phaseTwo = try phaseOne(labels, scored, companions, &unpaired)
    }
    model.zeroGradients()
    var total = 0.0
    for piece in pieces {
      let made = segments(batch[piece])
      let trunk = try trunks.trunk(for: batch[piece].map(\.encoded), segments: made.segments)
      // First: the model's own pass is the one whose activations are kept.
      let reference = try reference(batch[piece], made.segments, origin, trunk)
      let scores = try model.score(made.segments, trunk: trunk, keepingActivations: true)
      let scored = responses(batch[piece], made, scores, reference)
      let second = try phaseTwo ?? phaseOne(labels, scored, companions, &unpaired)
      phaseTwo = second
      let result = try second(piece, scored)
      total += result.loss
      totals.merge(result.metrics)
      // Every token of a response has the same derivative.
      var gradients = made.segments.map { segment in
        [Double](repeating: 0, count: segment.scored.reduce(0) { $0 + $1.count })
      }
      func fill(_ segment: Int, _ value: Double) {
        gradients[segment] = gradients[segment].map { _ in value }
      }
      for (answers, gradient) in zip(made.answers, result.logProbabilities) {
        for (segment, value) in zip(answers, gradient) { fill(segment, value) }
        if gradient.count > answers.count, let first = answers.first, first > 0,
          made.segments[first].parent == first - 1
        {
          fill(first - 1, gradient[answers.count])
        }
      }
      try model.backward(HeadGradients(logProbabilities: gradients))
    }
    return total
  }

  /// Loss and metrics over rows that are not trained on, as one batch; and of each row alone.
  ///
  /// - Parameter withBefore: Whether the reference is what the policy was before training.
  private func evaluate(
    _ model: any LanguageModel, _ origin: LoadedModel?, _ rows: [ContrastiveRow<Label>],
    _ trunks: TrunkCache, _ unpaired: UnpairedState, withBefore: Bool
  ) throws -> (loss: Double, totals: MetricTotals, rows: [HeldOutRow]) {
    var unpaired = unpaired
    let scored = try responses(model, origin, rows, trunks)
    let second = try phaseOne(
      rows.map(\.label), scored, try companionScores(model, origin, rows), &unpaired)
    let result = try second(0..<rows.count, scored)
    let prompts = HeldOutRow.numbers(rows.map(\.encoded.prompt))
    func metrics(
      _ i: Int, _ responses: [ScoredResponse], _ wanted: [Metric]
    ) throws -> [Metric: Double] {
      let metrics = try second(i..<i + 1, [responses]).metrics
      return wanted.reduce(into: [:]) { $0[$1] = metrics[$1] }
    }
    let logProbabilities: [Metric] = [.chosenLogProbability, .rejectedLogProbability]
    let single = try rows.indices.map { i in
      var row = HeldOutRow(
        line: rows[i].encoded.line, prompt: prompts[i],
        values: try metrics(
          i, scored[i],
          [.accuracy, .margin, .chosenReward, .rejectedReward] + logProbabilities))
      if withBefore, scored[i].allSatisfy({ $0.reference != nil }) {
        let start = scored[i].map { response in
          var response = response
          response.policy = response.reference ?? response.policy
          return response
        }
        row.before = try metrics(i, start, logProbabilities)
      }
      return row
    }
    return (result.loss, result.metrics, single)
  }

  func segments(
    _ rows: ArraySlice<ContrastiveRow<Label>>
  ) -> (segments: [Segment], answers: [[Int]]) {
    Self.segments(rows.map(\.encoded), scoringPrompt: scoresPrompt)
  }

  static func segments(
    _ groups: [EncodedGroup], scoringPrompt: Bool
  ) -> (segments: [Segment], answers: [[Int]]) {
    var segments: [Segment] = []
    var answers: [[Int]] = []
    for group in groups {
      let made = group.segments(from: segments.count, scoringPrompt: scoringPrompt)
      segments += made.segments
      answers.append(made.answers)
    }
    return (segments, answers)
  }

  /// The responses of rows under the model as it is, without a gradient.
  private func responses(
    _ model: any LanguageModel, _ origin: LoadedModel?, _ rows: [ContrastiveRow<Label>],
    _ trunks: TrunkCache
  ) throws -> [[ScoredResponse]] {
    var all: [[ScoredResponse]] = []
    for piece in cutIntoPieces(rows.map(\.encoded.tokens), budget: settings.pieceTokens) {
      let made = segments(rows[piece])
      let trunk = try trunks.trunk(for: rows[piece].map(\.encoded), segments: made.segments)
      let reference = try reference(rows[piece], made.segments, origin, trunk)
      let scores = try model.score(made.segments, trunk: trunk)
      all += responses(rows[piece], made, scores, reference)
    }
    return all
  }

  private func responses(
    _ rows: ArraySlice<ContrastiveRow<Label>>, _ made: (segments: [Segment], answers: [[Int]]),
    _ scores: HeadScores, _ reference: HeadScores?
  ) -> [[ScoredResponse]] {
    return zip(rows, made.answers).map { row, answers in
      let policy = answers.map { Self.sum(scores.logProbabilities[$0]) }
      var list = responses(
        row, policy: policy,
        reference: row.reference
          ?? reference.map { scores in answers.map { Self.sum(scores.logProbabilities[$0]) } })
      if scoresPrompt, let first = answers.first, first > 0,
        made.segments[first].parent == first - 1
      {
        let prompt = scores.logProbabilities[first - 1]
        for i in list.indices {
          list[i].promptPolicy = Self.sum(prompt)
          list[i].promptTokens = prompt.count
        }
      }
      return list
    }
  }

  /// The reference's pass over rows for which it is not known yet.
  private func reference(
    _ rows: ArraySlice<ContrastiveRow<Label>>, _ segments: [Segment], _ origin: LoadedModel?,
    _ trunk: Trunk?
  ) throws -> HeadScores? {
    guard needsReference, rows.contains(where: { $0.reference == nil }) else { return nil }
    let model = Self.unknown(under: origin)
    let fits = trunk.map { model.accepts($0) } ?? false
    return try model.score(segments, trunk: fits ? trunk : nil)
  }

  private func responses(
    _ row: ContrastiveRow<Label>, policy: [Double], reference: [Double]?
  ) -> [ScoredResponse] {
    row.encoded.answers.indices.map { i in
      ScoredResponse(
        policy: policy[i], reference: needsReference ? reference?[i] ?? 0 : nil,
        tokens: row.encoded.answers[i].scored.reduce(0) { $0 + $1.count },
        promptTokens: scoresPrompt ? max(0, row.encoded.prompt.count - 1) : 0)
    }
  }

  /// The reference, where something is to be asked of it.
  static func unknown(under origin: LoadedModel?) -> any LanguageModel {
    guard let origin else { preconditionFailure("the reference is gone, and something is unknown") }
    return origin.model
  }

  static func sum(_ values: [Double]) -> Double { values.reduce(0, +) }
}
