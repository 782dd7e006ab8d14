// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneData
package import AttuneEngine
package import AttuneObjectives
package import Foundation

/// What a run is counted by in metrics, progress and checkpoints.
package enum RunUnit: String {
  case step, rollout, round

  /// The error of a run that was stopped after so many; of rounds it says how many there are.
  package func stopped(after done: Int, of all: Int) -> TrainingError {
    TrainingError(
      .interrupted,
      "stopped after \(rawValue) \(done)\(self == .round ? " of \(all)" : ""); the same command "
        + "goes on from there")
  }
}

/// Where a run stands; in its checkpoint.
package protocol RunState: Codable {
  /// What it is counted by.
  static var unit: RunUnit { get }
  /// Optimiser steps made.
  var step: Int { get set }
  /// Steps, rollouts or rounds made.
  var done: Int { get }
}

extension RunState {
  static var unit: RunUnit { .step }
  var done: Int { step }
}

/// A run's folder from its beginning to its end: its record, the start's greedy answers beside those
/// of what was trained, its report.
package struct RunOutput {
  package let url: URL
  package let record: RunRecord
  package let options: RunOptions
  private let folder: RunFolder
  private let greedy: GreedyAnswers?

  /// Opens the folder.
  ///
  /// - Parameters:
  ///   - stage: The trainer.
  ///   - start: The model to start from.
  ///   - settings: The knobs.
  ///   - data: The file that is learned from.
  ///   - heldOut: A file of held-out rows.
  ///   - inputs: Digests of what decides the outcome beside settings, model and files.
  ///   - asks: Whether the start answers a few prompts, if the folder gets a report.
  ///   - url: The folder.
  ///   - options: How the run is watched and stopped.
  /// - Throws: An error that names what is at fault.
  package init(
    _ stage: String, _ start: LoadedModel, settings: some Encodable, data: DataFile,
    heldOut: DataFile? = nil, inputs: [(name: String, digest: String)] = [], asks: Bool = true,
    to url: URL, _ options: RunOptions
  ) throws {
    var inputs = inputs
    inputs += [("model", start.fingerprint), ("data", try Fingerprint.of(data: data))]
    if let heldOut { inputs.append(("held-out data", try Fingerprint.of(data: heldOut))) }
    record = try RunRecord(
      stage: stage, settings: settings, model: start, inputs: inputs)
    folder = try RunFolder(url, record: record, restart: options.restart)
    greedy = asks && options.report != nil ? try GreedyAnswers(of: start, to: heldOut ?? data) : nil
    self.url = url
    self.options = options
  }

  /// Says a line where progress goes.
  package func say(_ text: String) { options.say(text) }

  /// Ends the run: greedy answers and report are written, and the folder is marked as finished.
  ///
  /// - Parameters:
  ///   - trained: What was trained.
  ///   - last: What is to be done once the report is there.
  package func finish(
    _ trained: @autoclosure () throws -> LoadedModel, last: () throws -> Void = {}
  ) throws {
    try greedy?.write(after: trained(), to: url)
    try options.report?(record, url)
    try last()
    try folder.finish()
  }
}

/// A run that trains a model: schedule and optimiser, checkpoints, metrics and progress, which every
/// trainer needs. The loop is the trainer's.
package final class TrainingRun<State: RunState> {
  /// The folder.
  let output: RunOutput
  /// The model that is trained.
  let model: any LanguageModel
  /// The model that it started from; where every weight is trained it holds the trained ones.
  let start: LoadedModel
  let optimizer: AdamW
  package var state: State

  private let settings: any TrainsWeights
  /// Steps, rollouts or rounds of the whole run.
  private let all: Int
  private let trained: [any LanguageModel]
  private let schedule: Schedule
  private let metrics: MetricsFile
  private var progress: ProgressLine
  private var clock: CheckpointClock
  private var lastStep = Duration.zero
  private var lastMetrics = MetricTotals()
  private var lastNorm = 0.0
  private var isAsWritten = false

  /// What the processes of a run tell one another after a step.
  private struct Rank: Codable {
    /// Whether it was asked to stop.
    var stops: Bool
    /// Whether its clock says that a checkpoint is due.
    var isDue: Bool
    /// The bits of the gradient norm, which are the same on all.
    var norm: UInt64
  }

  /// Begins, or goes on from the folder's checkpoint.
  ///
  /// - Parameters:
  ///   - output: The run's folder.
  ///   - model: The model that is trained, as a copy of the start.
  ///   - start: The start; handed over, its weights go where all are copied.
  ///   - others: Further models whose numbers are kept in the checkpoint.
  ///   - settings: The knobs.
  ///   - steps: Optimiser steps of the whole run.
  ///   - all: Rollouts or rounds of the whole run; nil: it is counted by steps.
  ///   - state: Where it stands before the first step.
  ///   - isPossible: Whether a run of these settings can stand where a checkpoint says.
  /// - Throws: An error that names what is at fault.
  package init(
    _ output: RunOutput, training model: any LanguageModel, of start: consuming LoadedModel,
    beside others: [any LanguageModel] = [], settings: some TrainsWeights, steps: Int,
    of all: Int? = nil, state: State, isPossible: (State) -> Bool = { _ in true }
  ) throws {
    let all = all ?? steps
    if settings.train == .full { start = start.holding(model) }
    self.start = start
    trained = [model] + others
    for model in trained {
      model.recomputesActivations = settings.recompute
      model.shardsMoments = settings.shardMoments
    }
    model.averageDecay = settings.averageDecay
    schedule = Schedule(
      peak: settings.learningRate, decay: settings.decay,
      warmupSteps: min(settings.warmupSteps, steps / 10), totalSteps: steps)
    optimizer = AdamW(
      settings.optimizer, epsilon: settings.adamEpsilon, weightDecay: settings.weightDecay)
    let stage = output.record.stage
    progress = ProgressLine(
      stage, total: all, unit: State.unit.rawValue + "s", style: output.options.progress)
    let saved = try RunCheckpoint<State>.read(
      into: trained, from: output.url, steps: steps,
      isPossible: { $0.step <= steps && $0.done <= all && isPossible($0) },
      warn: { output.say("warning: \($0)") })
    self.state = saved?.state ?? state
    if !Collective.current.isAlone, settings.train == .full {
      output.say(
        "gradients of all weights are summed rank by rank: on another number of processes the weights agree "
          + "to rounding, not bit for bit (those of adapters and last layers do)")
    }
    let done = self.state.done
    if done > 0 {
      output.say("resuming at \(State.unit) \(done)")
      progress.resume(at: done)
    }
    metrics = try MetricsFile(
      in: output.url, stage: stage, keeping: saved?.metricsBytes ?? 0, upTo: done,
      track: output.options.track, of: output.record,
      warn: { output.say("warning: \($0)") })
    clock = CheckpointClock(seconds: settings.checkpointSeconds)
    self.output = output
    self.model = model
    self.settings = settings
    self.all = all
  }

  /// Whether something is left to do.
  package var goesOn: Bool { state.done < all }

  /// Says a line, above the progress.
  package func say(_ text: String) {
    progress.say(text)
    output.options.onEvent?(.remark(text))
  }

  /// One optimiser step.
  ///
  /// - Parameters:
  ///   - batch: The rows that it sees, for the error.
  ///   - place: Where in a rollout it is, for the error.
  ///   - scheduled: The step's number for the schedule; nil: optimiser steps made.
  ///   - rateKnob: The name of the knob that the error names.
  ///   - accumulate: Adds the gradients to the model; is told the learning rate of this step.
  /// - Returns: What `accumulate` measured, with gradient norm and learning rate.
  /// - Throws: `TrainingError.diverged` where a number is not finite; `interrupted` where the task was
  ///   cancelled on the way, after a checkpoint of a run that is counted by steps.
  package func step(
    on batch: [EncodedGroup] = [], place: String = "", scheduled: Int? = nil,
    rateKnob: String = "learning_rate", accumulate: (_ rate: Double) throws -> MetricTotals
  ) throws -> MetricTotals {
    let began = ContinuousClock.now
    let before = state
    let rate = schedule.rate(scheduled ?? state.step)
    do {
      model.zeroGradients()
      var totals = try accumulate(rate)
      if let loss = totals[.loss], !loss.isFinite {
        throw EngineError(.notFinite, "the loss is not finite (\(loss))")
      }
      let norm = try model.step(
        optimizer, learningRate: rate, maximumNorm: settings.gradientBound)
      lastNorm = norm
      totals.addMean(.gradientNorm, total: norm, weight: 1)
      totals.addMean(.learningRate, total: rate, weight: 1)
      state.step += 1
      lastStep = ContinuousClock.now - began
      return totals
    } catch is CancellationError where State.unit == .step && Task.isCancelled {
      // No weight has changed since the last step ended.
      state = before
      throw try interrupted()
    } catch let error as EngineError where error.code == .notFinite {
      let lines = batch.prefix(20).map { "\($0.line)" }.joined(separator: ", ")
      let rows = "; lines \(lines)\(batch.count > 20 ? " …" : "") of the data"
      throw TrainingError(
        .diverged,
        "\(State.unit) \(state.done + 1)\(place): \(error.message)\(batch.isEmpty ? "" : rows); "
          + "the last checkpoint stays; try a lower \(rateKnob)")
    }
  }

  /// Does what changes neither weights nor state, before the first step of a rollout.
  ///
  /// - Throws: `interrupted` after a checkpoint where the task was cancelled on the way.
  func saving<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch is CancellationError where Task.isCancelled {
      throw try interrupted()
    }
  }

  /// Lets the model be asked as it would be written now: with the mean of its numbers over steps, where
  /// `average_decay` asks for one.
  package func asWritten<Result>(_ body: () throws -> Result) rethrows -> Result {
    if !isAsWritten { model.exchangeAverage() }
    defer { if !isAsWritten { model.exchangeAverage() } }
    return try body()
  }

  /// Puts that mean into the model for good, after the last step and its checkpoint.
  package func takeAverage() {
    if !isAsWritten { model.exchangeAverage() }
    isAsWritten = true
  }

  /// Writes the numbers of what was just done.
  package func log(_ totals: MetricTotals) throws {
    lastMetrics = totals
    try metrics.append(step: state.done, totals)
  }

  /// Shows how far the run is, stops it if it was asked to, and writes a checkpoint if one is due.
  ///
  /// - Parameter note: A few words: the loss.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  package func goOn(_ note: String) throws {
    progress.update(state.done, note)
    output.options.onEvent?(
      .progress(
        TrainingProgress(
          stage: output.record.stage, done: state.done, total: all,
          metrics: Dictionary(uniqueKeysWithValues: lastMetrics.named))))
    let ranks = try Collective.current.gather {
      [Rank(stops: output.options.shouldStop(), isDue: clock.isDue, norm: lastNorm.bitPattern)]
    }
    guard ranks.allSatisfy({ $0.norm == ranks[0].norm }) else {
      throw TrainingError(
        .diverged,
        "\(State.unit) \(state.done): the processes of the run hold different numbers; start them on "
          + "processors of one kind with the same --threads")
    }
    if ranks.contains(where: \.stops), goesOn { throw try interrupted() }
    if ranks.contains(where: \.isDue), goesOn { try checkpoint() }
  }

  /// Ends a step on rows of a file: `log` with what it took, and `goOn`.
  ///
  /// - Parameters:
  ///   - totals: Everything else that was measured.
  ///   - order: The order of the rows.
  ///   - tokens: Tokens of the batch.
  ///   - note: A few words: the loss.
  func finish(_ totals: MetricTotals, _ order: BatchOrder, tokens: Int, _ note: String) throws {
    var totals = totals
    totals.add(.epoch, Double(state.step) / Double(order.stepsPerEpoch))
    totals.add(.tokensPerSecond, Double(tokens) / seconds(lastStep))
    totals.add(.secondsStep, seconds(lastStep))
    totals.add(.peakMemory, peakMemory())
    try log(totals)
    try goOn(note)
  }

  /// Writes a checkpoint.
  package func checkpoint() throws {
    try clock.time {
      metrics.flush()
      try RunCheckpoint(state: state, metricsBytes: metrics.bytes).write(trained, to: output.url)
    }
  }

  /// The error of a run that was stopped, after a checkpoint.
  package func interrupted() throws -> TrainingError {
    try checkpoint()
    return State.unit.stopped(after: state.done, of: all)
  }

  /// Writes what was trained, and ends the run.
  ///
  /// - Parameters:
  ///   - written: What is written; nil: the model that is trained.
  ///   - reward: What a reward model's scores are normalised by.
  func end(writing written: (any LanguageModel)? = nil, reward: RewardScale? = nil) throws {
    takeAverage()
    let written = written ?? model
    // The last checkpoint is written: room for the model that is read again.
    for model in trained { model.endTraining() }
    try start.write(written, to: output.url, merging: settings.merge, reward: reward)
    try output.finish(start.holding(written), last: metrics.finish)
  }
}

/// Accuracy over an epoch, as its rows were met.
struct EpochAccuracy: Codable {
  private var correct = 0.0
  private var rows = 0.0

  /// The share; nil before the first row.
  var value: Double? { rows > 0 ? correct / rows : nil }

  /// Adds a batch's accuracy, which begins anew with an epoch.
  ///
  /// - Parameters:
  ///   - accuracy: The batch's.
  ///   - count: Its rows.
  ///   - isFirst: Whether the batch is an epoch's first one.
  mutating func add(_ accuracy: Double?, rows count: Int, isFirst: Bool) {
    if isFirst { self = EpochAccuracy() }
    rows += Double(count)
    correct += (accuracy ?? 0) * Double(count)
  }
}
