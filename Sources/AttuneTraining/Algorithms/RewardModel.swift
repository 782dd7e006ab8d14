// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneFiles
public import AttuneObjectives
public import Foundation

/// The knobs of reward-model training.
public struct RewardModelSettings: ReadsRows {
  /// How the scalar head of a reward model starts.
  public enum HeadStart: String, Codable, Sendable, CaseIterable {
    /// As that of the model, if it is a reward model already; else at zero.
    case keep
    /// At zero.
    case new
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.keepingTrunks
  /// The loss.
  public var loss = RewardLoss.bradleyTerry
  /// The loss's own knobs.
  @Flattened public var objective = RewardSettings()
  /// Whether a row's `probability` is its label; else the chosen answer is simply the better one.
  public var softLabels = true
  /// What stands between the steps of an answer, where rows hold such.
  public var stepSeparator = "\n"
  /// How the scalar head starts: `keep` goes on from that of a reward model, `new` from zero.
  public var head = HeadStart.keep
  /// Passes over the data.
  @Flattened public var rows = RowsSettings()
  /// Share of the prompts held out for evaluation where no file is given for it.
  public var evaluationShare = 0.1
  /// Groups that are evaluated at most; 0 is all.
  public var evaluationGroups = 1000

  /// A knob of the loss.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<RewardSettings, Value>) -> Value {
    get { objective[keyPath: knob] }
    set { objective[keyPath: knob] = newValue }
  }

  /// The defaults.
  public init() {}

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs("model").saying(
      "train", "Which numbers are trained, beside the scalar head.") + [
      Knob("loss", "The loss.", .choice(RewardLoss.self)),
      Knob(
        "centring", "Weight of the term that keeps the rewards of a pair around zero.",
        .number(.atLeast(0))),
      Knob(
        "ties",
        "What is done with 'tie' and 'both bad' where the loss has no place for them.",
        .choice(RewardSettings.Ties.self)),
      Knob.harden, Knob.softLabels,
      Knob(
        "step_separator", "What stands between the steps of an answer, where rows hold such.", .text
      ),
      Knob(
        "head",
        "How the scalar head starts: keep goes on from that of a reward model, new from zero.",
        .choice(RewardModelSettings.HeadStart.self)),
    ]
    + RowsSettings.knobs(batch: "Groups (pairs, rankings)") + OptimiserSettings.knobs + [
      Knob.evaluationShare,
      Knob(
        "evaluation_groups", "Groups that are evaluated at most; 0 is all.", .whole(atLeast: 0)),
    ]
    + EngineSettings.knobs(cutBetween: "groups", keepsTrunks: true) + [
      TrainingSettings.checkpointSeconds,
      Knob.seed("the order of rows and the held-out choice"),
    ]

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(!stepSeparator.isEmpty, "step_separator", "a text that is not empty")
  }

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    training.weights.unreadKnobs
      + (loss == .pointwise
        ? [] : [("step_separator", "\(loss.rawValue) learns from no steps; pointwise does")])
      + [RewardSettings.Knob.centring, .ties, .harden].filter { !loss.reads.contains($0) }
      .map { ($0.rawValue, "\(loss.rawValue) does not read it") }
  }
}

/// What a run of reward-model training came to.
public struct RewardReport: Codable, Sendable, Equatable {
  /// The accuracy after some of the first epoch.
  public struct CurvePoint: Codable, Sendable, Equatable {
    /// Pairs trained on by then.
    public var pairs: Int
    /// Accuracy on the held-out pairs.
    public var accuracy: Double
  }

  /// Version of this object's format.
  public var formatVersion = 1
  /// The folder of the trained model.
  public var model: String
  /// Share of held-out pairs whose better answer scores higher; nil without held-out pairs.
  public var evalAccuracy: Double?
  /// Its 95 % interval, by bootstrap over prompts.
  public var evalAccuracyInterval: [Double]?
  /// Held-out pairs; of rows in steps the steps, whose accuracy is that of the score's sign.
  public var evalPairs: Int
  /// Share of held-out answers in steps whose first wrong step, or that there is none, the scores' signs tell;
  /// nil without such.
  public var evalFirstWrong: Double?
  /// Its 95 % interval, by bootstrap over prompts.
  public var evalFirstWrongInterval: [Double]?
  /// Expected calibration error of σ(|difference|) on them.
  public var evalEce: Double?
  /// Accuracy after ⅛, ¼, ½ and all of the first epoch.
  public var learningCurve: [CurvePoint]
  /// Accuracy on the pairs trained on, over the last epoch, as they were met.
  public var trainAccuracy: Double?
  /// Groups trained on.
  public var groups: Int
  /// Pairs trained on.
  public var pairs: Int
  /// Rows of the file that are left out: ``dataRows`` says why.
  public var leftOut: Int
  /// What became of the data's rows.
  public var dataRows: RowAccount
  /// What became of the rows of a file for evaluation; nil without one.
  public var heldOutDataRows: RowAccount?
  /// Optimiser steps.
  public var steps: Int
  /// Mean reward of the answers trained on.
  public var rewardMean: Double
  /// Standard deviation of that reward.
  public var rewardDeviation: Double
  /// What was cut.
  public var cuts: CutCounts
  /// Seconds of this process's part of the run.
  public var seconds: Double
}

/// Reward models: a scalar read after an answer's last token, trained on what was preferred.
///
/// Of answers in steps the scalar is read after each step, and the logistic loss is of the step's label: a
/// process reward model (Lightman et al. 2023, arXiv:2305.20050).
///
/// The answers to one prompt share its pass and are scored once, however many comparisons they are
/// part of (Ouyang et al. 2022). Where lower layers are frozen their results are kept over epochs.
public enum RewardModel {
  private struct State: RunState {
    @Count var step = 0
    @Count var pairs = 0
    var curve: [RewardReport.CurvePoint] = []
    var parameters: OwnedParameters
    var epoch = EpochAccuracy()
    /// Whether training is over, and what it was measured as is in the metrics and the curve.
    var isOver = false
  }

  /// Trains a reward model and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; handed over (`consume`), its weights go once all are copied.
  ///   - data: Preferences, rankings, thumbs or answers in steps.
  ///   - heldOut: Rows for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the model is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: consuming LoadedModel, data: DataFile, heldOut: DataFile? = nil,
    settings: RewardModelSettings, output: URL, options: RunOptions = RunOptions()
  ) throws -> RewardReport {
    try train(
      start, data: data, heldOut: heldOut, settings: settings, output: output, options: options,
      trunks: TrunkStore())
  }

  /// The same, with the frozen layers' results of models that were trained from the same start before.
  package static func train(
    _ start: consuming LoadedModel, data: DataFile, heldOut: DataFile?,
    settings: RewardModelSettings, output: URL, options: RunOptions, trunks store: TrunkStore
  ) throws -> RewardReport {
    try settings.validate()
    try settings.check(against: start.model)
    let began = ContinuousClock.now
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      copy start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    guard
      settings.stepSeparator == RewardModelSettings().stepSeparator
        || data.kind == .stepwise || heldOut?.kind == .stepwise
    else {
      throw TrainingError(
        .badSetting,
        "step_separator is set but not read: \(data.url.path) holds \(data.kind.rawValue) data, no steps"
      )
    }
    let set = try RewardData(data, heldOut: heldOut, encoder: encoder, settings: settings)
    let loss = settings.loss
    try options.plan(settings, start: copy start, asks: false) {
      PlannedRows(set, for: start.model)
    }

    let folder = try RunOutput(
      "reward", copy start, settings: settings, data: data, heldOut: heldOut, asks: false,
      to: output, options)
    // From zero: behind a trained final norm a random head would start with scores far apart.
    let keepsHead = settings.head == .keep && start.model.hasScalarHead
    let model = try start.model.copy(
      training: settings.trainable(start.model.spec), scalarHead: keepsHead ? nil : .zero)
    let trunks = TrunkCache(
      model, megabytes: settings.trunkMegabytes ?? 0,
      tokens: (set.training + set.heldOut).reduce(0) { $0 + $1.encoded.tokens }, store: store)
    var order = BatchOrder(
      rows: set.training.count, batch: settings.batchSize, seed: settings.seed)
    // The curve's points, as steps of the first epoch.
    let curveSteps = [8, 4, 2, 1].map { max(1, order.stepsPerEpoch / $0) }
    let run = try TrainingRun(
      folder, training: model, of: start, settings: settings,
      steps: order.steps(epochs: settings.epochs, atMost: settings.maxSteps),
      state: State(parameters: OwnedParameters(loss.initialParameters)),
      isPossible: { $0.parameters.fits(loss.initialParameters.count) })
    run.say(settings.rateRemark)
    if keepsHead {
      run.say("goes on from the scalar head of \(run.start.name) (set head=new to begin anew)")
    }
    for line in set.remarks { run.say(line) }
    if let text = set.cuts.summary(maximumLength: encoder.maximumLength) { run.say(text) }

    while run.goesOn {
      // 1. The next groups, and a step on their scores; the loss's own numbers step along.
      let batch = order.rows(of: run.state.step).map { set.training[$0] }
      let statistics = try loss.statistics(of: batch.map(\.labels), settings: set.objective)
      var totals = try run.step(on: batch.map(\.encoded)) { rate in
        let parameters = run.state.parameters.values
        var parameterGradient = parameters.map { _ in 0.0 }
        let pieces = cutIntoPieces(
          batch.map(\.encoded), for: model, budget: settings.pieceTokens)
        let results = try model.accumulate(pieces) { piece in
          let made = rewardSegments(batch[piece])
          let pass = try model.pass(
            made.segments,
            trunk: trunks.trunk(for: batch[piece].map(\.encoded), segments: made.segments))
          let result = loss.loss(
            labelled(batch[piece], made.answers, pass.scores), statistics: statistics,
            settings: set.objective, parameters: parameters)
          var gradients = made.segments.map { [Double](repeating: 0, count: $0.scalarsAfter.count) }
          for (group, segments) in made.answers.enumerated() {
            var next = 0
            for segment in segments {
              let count = made.segments[segment].scalarsAfter.count
              gradients[segment] = Array(result.scalars[group][next..<next + count])
              next += count
            }
          }
          try pass.backward(HeadGradients(scalars: gradients))
          return PieceResult(result)
        }
        for result in results {
          for i in parameterGradient.indices { parameterGradient[i] += result.parameters[i] }
        }
        run.state.parameters.step(parameterGradient, learningRate: rate)
        return PieceResult.totals(of: results)
      }
      let pairs = batch.reduce(0) { $0 + $1.decided.count }
      run.state.pairs += pairs
      run.state.epoch.add(
        totals[.accuracy], rows: pairs, isFirst: order.beginsEpoch(run.state.step - 1))

      // 2. A point of the learning curve.
      if !set.heldOut.isEmpty, curveSteps.contains(run.state.step), run.goesOn {
        let result = try run.asWritten { try evaluate(model, set.heldOut, trunks, settings) }
        run.state.curve.append(.init(pairs: run.state.pairs, accuracy: result.accuracy))
        totals.add(.heldOutAccuracy, result.accuracy)
      }
      try run.finish(
        totals, order, tokens: batch.reduce(0) { $0 + $1.encoded.tokens },
        "loss \(fixed(totals[.loss] ?? 0, 4))  accuracy \(fixed(totals[.accuracy] ?? 0, 2))")
    }

    // 3. What held-out groups say of it, and what PPO normalises by: the rewards of answers like those
    // that it starts from.
    let evaluation = try run.asWritten { try evaluate(model, set.heldOut, trunks, settings) }
    try AtomicFile.write(evaluation.lines, to: output.appending(path: HeldOutRow.file))
    var moments = RunningMoments()
    let scored = try run.asWritten {
      try scores(model, Array(set.training.prefix(256)), trunks, settings)
    }
    for score in scored.joined() { moments.add(score) }
    if !run.state.isOver {
      if curveSteps.contains(run.state.step), !set.heldOut.isEmpty {
        run.state.curve.append(.init(pairs: run.state.pairs, accuracy: evaluation.accuracy))
      }
      var totals = MetricTotals()
      totals.add(.rewardDeviation, moments.standardDeviation)
      if !set.heldOut.isEmpty {
        totals.add(.heldOutAccuracy, evaluation.accuracy)
        totals.add(.calibrationError, evaluation.calibrationError)
      }
      try run.log(totals)
      run.state.isOver = true
      try run.checkpoint()
    }
    var scale = RewardScale(mean: moments.mean, deviation: moments.standardDeviation)
    if data.kind == .stepwise { scale.stepSeparator = settings.stepSeparator }
    try run.end(reward: scale)
    return RewardReport(
      model: output.path, evalAccuracy: set.heldOut.isEmpty ? nil : evaluation.accuracy,
      evalAccuracyInterval: set.heldOut.isEmpty ? nil : evaluation.interval,
      evalPairs: evaluation.pairs, evalFirstWrong: evaluation.firstWrong?.value,
      evalFirstWrongInterval: evaluation.firstWrong?.interval,
      evalEce: set.heldOut.isEmpty ? nil : evaluation.calibrationError,
      learningCurve: run.state.curve, trainAccuracy: run.state.epoch.value,
      groups: set.training.count, pairs: run.state.pairs, leftOut: set.account.leftOutRows,
      dataRows: set.account, heldOutDataRows: set.heldOutAccount, steps: run.state.step,
      rewardMean: moments.mean, rewardDeviation: moments.standardDeviation, cuts: set.cuts,
      seconds: seconds(ContinuousClock.now - began))
  }
}
