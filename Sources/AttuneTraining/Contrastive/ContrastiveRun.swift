// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// The knobs that contrastive trainers share, beside the loss's own.
package protocol ContrastiveSettings: PlansRowRuns {
  var precomputeReference: Bool { get }
  var evaluationShare: Double { get }
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

/// A contrastive run that is open: rows, policy and reference, beside what every run has; no sampling,
/// no reward model. The loop is the trainer's.
final class ContrastiveRun<Label, Settings: ContrastiveSettings> {
  /// Where the run stands; in the checkpoint.
  struct State: RunState {
    @Count var step = 0
    /// What an unpaired loss keeps from batch to batch.
    var unpaired = UnpairedState()
    var epoch = EpochAccuracy()
    /// Whether training is over, and what held-out rows say is in the metrics.
    var isOver = false
  }

  /// The run itself.
  let run: TrainingRun<State>
  /// Policy and reference.
  let scores: ContrastiveScores<Label>

  private let data: ContrastiveData<Label>
  private var order: BatchOrder
  /// Whether the reference is what the policy was before training.
  private let isOwnReference: Bool
  private let referenceSeconds: Double
  private let began = ContinuousClock.now

  /// Opens a run, or goes on with one that was stopped.
  ///
  /// - Parameters:
  ///   - stage: The trainer.
  ///   - start: The policy's start.
  ///   - reference: The reference, if it is not the start.
  ///   - trained: A policy opened beside the start whose numbers are gone on with.
  ///   - data: The rows, not yet split.
  ///   - needs: What the loss asks for.
  ///   - pair: Gives rows their companions, once training and held-out rows are apart.
  ///   - remarks: What a person should know of the data.
  init(
    _ stage: String, _ start: consuming LoadedModel, reference: consuming LoadedModel?,
    goingOnWith trained: LoadedModel? = nil, data: ContrastiveData<Label>, needs: ContrastiveNeeds,
    pair: ([ContrastiveRow<Label>]) throws -> [ContrastiveRow<Label>] = { $0 },
    remarks: [String] = [], encoder: TextEncoder, settings: Settings, output: URL,
    options: RunOptions
  ) throws {
    try options.plan(
      settings, start: copy start,
      beside: needs.reference && settings.precomputeReference
        ? [copy reference].compactMap(\.self) : []
    ) { try PlannedRows(data, for: start.model, settings, needs, pair: pair) }
    var inputs: [(name: String, digest: String)] = []
    if let reference { inputs.append(("reference", reference.fingerprint)) }
    if let trained { inputs.append(("policy", trained.fingerprint)) }
    let folder = try RunOutput(
      stage, copy start, settings: settings, data: data.file, heldOut: data.heldOutFile,
      inputs: inputs, to: output, options)
    isOwnReference = reference == nil && trained == nil
    let model = try start.model.copy(training: settings.trainable(start.model.spec))
    if let trained { try model.setTrainedParameters(trained.model.trainedParameters()) }
    let all = data.training + data.heldOut
    var scores = ContrastiveScores<Label>(
      policy: model, origin: reference ?? copy start, needs: needs,
      trunks: TrunkCache(
        model, megabytes: settings.trunkMegabytes ?? 0,
        tokens: all.reduce(0) { $0 + $1.encoded.tokens }),
      pieceTokens: settings.pieceTokens)
    folder.say(settings.rateRemark)
    for remark in data.remarks(maximumLength: encoder.maximumLength) + remarks {
      folder.say(remark)
    }

    let referenceBegan = ContinuousClock.now
    var data = data
    let isPrecomputed = needs.reference && settings.precomputeReference
    if isPrecomputed {
      // Before rows are split, so that another seed finds the same file.
      try scores.addReference(to: &data.training, of: data.file) { folder.say($0) }
      if let file = data.heldOutFile {
        try scores.addReference(to: &data.heldOut, of: file) { folder.say($0) }
      }
    }
    try data.split(
      share: settings.evaluationShare, seed: settings.seed, loss: needs.loss, pair: pair
    ) { folder.say($0) }
    if isPrecomputed {
      try scores.addCompanionReference(to: &data.training)
      try scores.addCompanionReference(to: &data.heldOut)
    }
    if isPrecomputed || !needs.reference { scores.origin = nil }
    referenceSeconds = seconds(ContinuousClock.now - referenceBegan)

    order = BatchOrder(
      rows: data.training.count, batch: settings.batchSize, seed: settings.seed)
    run = try TrainingRun(
      folder, training: model, of: start, settings: settings,
      steps: order.steps(epochs: settings.epochs, atMost: settings.maxSteps), state: State())
    self.scores = scores
    self.data = data
  }

  /// The rows of the next step.
  func batch() -> [ContrastiveRow<Label>] {
    order.rows(of: run.state.step).map { data.training[$0] }
  }

  /// Ends a step.
  func finish(_ batch: [ContrastiveRow<Label>], _ totals: MetricTotals) throws {
    run.state.epoch.add(
      totals[.accuracy], rows: batch.count, isFirst: order.beginsEpoch(run.state.step - 1))
    try run.finish(
      totals, order, tokens: batch.reduce(0) { $0 + $1.encoded.tokens },
      "loss \(fixed(totals[.loss] ?? 0, 4))  accuracy \(fixed(totals[.accuracy] ?? 0, 2))"
        + (totals[.margin].map { "  margin \(fixed($0, 3))" } ?? ""))
  }

  /// Evaluates on held-out rows, writes the policy, and ends the run.
  ///
  /// - Parameter loss: The loss of a batch, as training has it.
  func close(_ loss: ContrastiveScores<Label>.BatchLoss) throws -> ContrastiveReport {
    var evaluation: (totals: MetricTotals, rows: [HeldOutRow])?
    if !data.heldOut.isEmpty {
      let result = try run.asWritten {
        try scores.evaluate(data.heldOut, withBefore: isOwnReference, loss)
      }
      evaluation = result
      try HeldOutRow.write(result.rows, to: run.output.url)
      var totals = MetricTotals()
      totals.add(.heldOutLoss, result.totals[.loss] ?? 0)
      if let accuracy = result.totals[.accuracy] { totals.add(.heldOutAccuracy, accuracy) }
      if !run.state.isOver { try run.log(totals) }
    }
    run.state.isOver = true
    try run.checkpoint()
    try run.end()
    func interval(_ metric: Metric) -> [Double]? {
      HeldOutRow.estimate(metric, of: evaluation?.rows ?? [])
        .map { [$0.interval.low, $0.interval.high] }
    }
    return ContrastiveReport(
      model: run.output.url.path, loss: scores.needs.loss, evalLoss: evaluation?.totals[.loss],
      evalAccuracy: evaluation?.totals[.accuracy], evalAccuracyInterval: interval(.accuracy),
      evalMargin: evaluation?.totals[.margin], evalMarginInterval: interval(.margin),
      evalRows: data.heldOut.count, trainAccuracy: run.state.epoch.value,
      rows: data.training.count, leftOut: data.account.leftOutRows, dataRows: data.account,
      heldOutDataRows: data.heldOutAccount, steps: run.state.step, cuts: data.cuts,
      referenceSeconds: referenceSeconds, seconds: seconds(ContinuousClock.now - began))
  }
}
