// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// An online run that is open: prompts, folder, policy and reference, rewards, metrics and
/// checkpoints, which every trainer needs that samples its own answers. The loop is the trainer's.
///
/// A rollout is `sample`, `score`, some `step`s, `measure` before or after them, and `finish`. A checkpoint is written
/// between rollouts alone, so a trainer changes `state.own` after it scored, never before.
final class OnlineRun<Knobs: OnlineSettings, Own: Codable> {
  /// Where the run stands; in the checkpoint.
  struct State: Codable {
    /// Rollouts made.
    @Count var rollout = 0
    /// Optimiser steps made.
    @Count var step = 0
    /// What rewards are normalised by, from the first rollout on.
    var scale: RewardScale?
    var firstReward = 0.0
    var lastReward = 0.0
    var lastKL = 0.0
    /// Whether the KL budget ended it.
    var stopped = false
    var watch = RolloutWatch()
    /// What the trainer itself keeps: an adaptive weight, a running mean.
    var own: Own
  }

  /// The time that a rollout has taken so far.
  private struct Times {
    let began = ContinuousClock.now
    var rollout = Duration.zero
    var score = Duration.zero
    var tokens = 0
  }

  let settings: Knobs
  let encoder: TextEncoder
  /// The model that is trained; it has the value head if there is one.
  let policy: any LanguageModel
  /// The model that it started from.
  let reference: any LanguageModel
  let optimizer: AdamW
  var state: State

  private let stage: String
  private let account: RowAccount
  private let start: LoadedModel
  private let prompts: [DataPrompt]
  private let promptIds: [[Int32]]
  private let recorded: RecordedSamples?
  private let rewards: [(source: any RewardSource, weight: Double)]
  private let watched: (any RewardSource)?
  private let sharedLayers: Int
  private let trained: [any LanguageModel]
  private let schedule: Schedule
  private let folder: RunFolder
  private let record: RunRecord
  private let greedy: GreedyAnswers?
  private let metrics: MetricsFile
  private let options: RunOptions
  private let began = ContinuousClock.now
  private var order: BatchOrder
  private var progress: Progress
  private var clock: CheckpointClock
  private var times: Times?

  /// Opens a run, or goes on with one that was stopped.
  ///
  /// - Parameters:
  ///   - stage: The trainer.
  ///   - start: The model to start from; it is the reference too.
  ///   - data: Prompts; of rows that hold more, the prompt is taken.
  ///   - recorded: The same file's answers, which then take the place of the policy's own.
  ///   - rewards: Where rewards come from, each with its weight.
  ///   - watched: A reward that is only measured.
  ///   - settings: The knobs, which are checked here.
  ///   - steps: Optimiser steps of the whole run.
  ///   - inputs: Digests of what decides its outcome beside settings, model and data.
  ///   - valueHead: Whether the policy gets a value head.
  ///   - others: Further models whose numbers are kept in the checkpoint.
  ///   - own: What the trainer itself keeps, at the start; settings are checked by then.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Throws: An error that names what is at fault.
  init(
    _ stage: String, _ start: LoadedModel, data: DataFile, recorded: RecordedSamples? = nil,
    rewards: [(source: any RewardSource, weight: Double)], watched: (any RewardSource)?,
    settings: Knobs, steps: Int, inputs: [(name: String, digest: String)],
    valueHead: Bool = false, beside others: [any LanguageModel] = [], own: () throws -> Own,
    output: URL, options: RunOptions
  ) throws {
    try settings.validate()
    try settings.check(against: start.model.spec)
    RunFolder.resumeClock(of: output, options)
    encoder = try TextEncoder(start, maximumLength: settings.maxLength)
    var remarks: [String] = []
    if let recorded {
      (prompts, promptIds) = (recorded.prompts, recorded.promptIds)
      var counted = RowAccount(data)
      counted.trained = recorded.prompts.count
      account = counted
    } else {
      let set = try encoder.prompts(
        data, room: settings.maxTokens, byRow: RewardSources.readRows(rewards, watched: watched))
      (prompts, promptIds, account) = (set.prompts, set.ids, set.account)
      remarks = set.remarks(of: data.url.lastPathComponent, encoder, room: settings.maxTokens)
    }
    self.recorded = recorded
    guard prompts.count >= settings.promptsPerRollout else {
      throw TrainingError(
        .badSetting,
        "prompts_per_rollout is \(settings.promptsPerRollout), and \(data.url.path) has only "
          + "\(prompts.count) prompts")
    }
    record = try RunRecord(
      stage: stage, settings: settings, template: start.chatTemplate,
      inputs: [
        ("model", start.fingerprint), ("data", try Fingerprint.of(file: data.url)),
      ] + inputs)
    folder = try RunFolder(output, record: record, restart: options.restart)
    greedy = options.reports ? try GreedyAnswers(of: start, to: data) : nil
    reference = start.model
    policy = try reference.copy(
      training: settings.trainable(reference.spec), scalarHead: valueHead ? .zero : nil)
    trained = [policy] + others
    for model in trained { model.recomputesActivations = settings.recompute }
    sharedLayers = rewards.compactMap { $0.source.sharedLayers(with: start.origin) }
      .reduce(policy.sharedLayers, min)
    schedule = Schedule(
      peak: settings.learningRate, decay: settings.decay,
      warmupSteps: min(settings.warmupSteps, steps / 10), totalSteps: steps)
    optimizer = AdamW(epsilon: settings.adamEpsilon, weightDecay: settings.weightDecay)
    order = BatchOrder(
      rows: prompts.count, batch: settings.promptsPerRollout, seed: settings.seed)

    var progress = Progress(
      stage, total: settings.rollouts, unit: "rollouts", style: options.progress)
    progress.say(settings.rateRemark)
    for remark in remarks { progress.say(remark) }
    let saved = try RunCheckpoint<State>.read(
      into: trained, from: output, steps: steps,
      isPossible: { $0.rollout <= settings.rollouts && $0.step <= steps },
      warn: { progress.say("warning: \($0)") })
    state = try saved?.state ?? State(own: own())
    if state.rollout > 0 {
      progress.say("resuming at rollout \(state.rollout)")
      progress.resume(at: state.rollout)
    }
    metrics = try MetricsFile(
      in: output, stage: stage, keeping: saved?.metricsBytes ?? 0, upTo: state.rollout,
      warn: { progress.say("warning: \($0)") })
    clock = CheckpointClock(seconds: settings.checkpointSeconds)
    self.progress = progress
    self.stage = stage
    self.start = start
    self.rewards = rewards
    self.watched = watched
    self.settings = settings
    self.options = options
  }

  /// Whether there is a rollout to make.
  var goesOn: Bool { state.rollout < settings.rollouts && !state.stopped }

  /// Samples answers to the next prompts, or takes those that are recorded.
  ///
  /// - Parameters:
  ///   - draw: Which prompts and which random numbers; nil is the rollout's own number, which serves
  ///     all trainers whose rollouts are one draw.
  ///   - sampler: The model that samples; nil is the policy.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func sample(draw: Int? = nil, from sampler: (any LanguageModel)? = nil) throws -> Rollout {
    let began = ContinuousClock.now
    if times == nil { times = Times() }
    let draw = draw ?? state.rollout
    let chosen = order.promptsOfRollout(draw)
    if let recorded { return recorded.rollout(chosen) }
    var rollout = try Rollout.sample(
      sampler ?? policy, prompts: chosen.map { prompts[$0] },
      promptIds: chosen.map { promptIds[$0] }, tokenizer: start.tokenizer,
      settings: settings.sampling(draw: draw, end: encoder.endings),
      shouldStop: options.shouldStop)
    rollout?.isOffPolicy = sampler != nil
    guard let rollout else { throw try interrupted() }
    times?.rollout += ContinuousClock.now - began
    times?.tokens += rollout.answers.reduce(0) { $0 + $1.completion.ids.count }
    return rollout
  }

  /// Computes log-probabilities, rewards and scores of a rollout's answers.
  ///
  /// - Parameters:
  ///   - sampler: The model that sampled; nil is the policy.
  ///   - value: The model with the value head, the policy or one of its own; nil: there is none.
  ///   - awaitingPolicy: Whether the policy's numbers are left to the update's pass, which must be the
  ///     rollout's only one.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func score(
    _ rollout: inout Rollout, by sampler: (any LanguageModel)? = nil,
    value: (any LanguageModel)? = nil,
    awaitingPolicy: Bool = false
  ) throws {
    let began = ContinuousClock.now
    try rollout.score(
      policy: sampler ?? policy, reference: reference, value: value,
      awaitingPolicy: awaitingPolicy, layers: sharedLayers, temperature: settings.temperature,
      budget: settings.pieceTokens)
    try rollout.reward(rewards, origin: start.origin)
    if options.shouldStop() { throw try interrupted() }
    if state.scale == nil {
      state.scale = settings.scale(of: rollout.answers.map(\.reward), sources: rewards)
    }
    rollout.normalise(
      state.scale, missingEnd: settings.penaliseMissingEnd ? settings.missingEndReward : nil)
    times?.score += ContinuousClock.now - began
  }

  /// What the answers of a rollout look like, and what the watched reward says of them.
  func measure(_ rollout: Rollout) throws -> MetricTotals {
    let began = ContinuousClock.now
    var totals = rollout.metrics()
    if let watched { totals.merge(try rollout.watched(watched, origin: start.origin)) }
    times?.score += ContinuousClock.now - began
    return totals
  }

  /// A rollout's prompts in an order of this epoch's own, in minibatches of as equal a size as can
  /// be; none is empty.
  func minibatches(of rollout: Rollout, epoch: Int, count: Int) -> [[Int]] {
    let shuffled = Shuffle.order(
      count: rollout.prompts.count, seed: settings.seed &+ UInt64(state.rollout) &* 0x9E37_79B9,
      epoch: epoch)
    return (0..<count).map { i in
      Array(shuffled[shuffled.count * i / count..<shuffled.count * (i + 1) / count])
    }.filter { !$0.isEmpty }
  }

  /// One optimiser step of the policy.
  ///
  /// - Parameters:
  ///   - epoch: Which pass over the rollout, counted from 0, for the error.
  ///   - minibatch: Which step of it.
  ///   - accumulate: Adds the gradients to the policy; is told the learning rate of this step.
  /// - Returns: What it measured, with gradient norm and learning rate.
  /// - Throws: `TrainingError.diverged` where a number is not finite.
  func step(
    epoch: Int = 0, minibatch: Int = 0, accumulate: (_ rate: Double) throws -> MetricTotals
  ) throws -> MetricTotals {
    let rate = schedule.rate(state.step)
    do {
      policy.zeroGradients()
      var totals = try accumulate(rate)
      let norm = try policy.step(
        optimizer, learningRate: rate, maximumNorm: settings.gradientBound)
      totals.addMean(.gradientNorm, total: norm, weight: 1)
      totals.addMean(.learningRate, total: rate, weight: 1)
      state.step += 1
      return totals
    } catch let error as EngineError where error.code == .notFinite {
      throw TrainingError(
        .diverged,
        "rollout \(state.rollout + 1), epoch \(epoch + 1), minibatch \(minibatch + 1): "
          + "\(error.message); the last checkpoint stays; try a lower learning_rate")
    }
  }

  /// Ends a rollout: its metrics are written, what went wrong is said, a checkpoint if one is due.
  ///
  /// - Parameters:
  ///   - rollout: A fair sample of the policy's answers.
  ///   - totals: Everything that was measured.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func finish(_ rollout: Rollout, _ totals: MetricTotals) throws {
    var totals = totals
    let statistics = rollout.statistics
    state.rollout += 1
    state.lastReward = totals[.policyReward] ?? totals[.rewardMean] ?? 0
    state.lastKL = statistics.klPerSequence
    if state.rollout == 1 { state.firstReward = state.lastReward }
    for (_, warning) in state.watch.look(at: totals, maximumLength: settings.maxTokens) {
      progress.say("warning: rollout \(state.rollout): \(warning)")
    }
    if settings.klBudget > 0, statistics.klPerSequence > settings.klBudget {
      state.stopped = true
      progress.say(
        "KL is \(fixed(statistics.klPerSequence, 1)) nats a sequence, above kl_budget "
          + "\(settings.klBudget): training ends here")
    }
    addTimes(to: &totals)
    try metrics.append(step: state.rollout, totals)
    if settings.showEvery > 0, (state.rollout - 1) % settings.showEvery == 0 {
      progress.say(try sampleToShow())
    }
    progress.update(
      state.rollout,
      "reward \(fixed(state.lastReward, 3))  KL \(fixed(state.lastKL, 2))  "
        + "length \(fixed(statistics.meanLength, 1))")
    guard state.rollout < settings.rollouts else { return }
    if options.shouldStop() { throw try interrupted() }
    if clock.isDue { try checkpoint() }
  }

  /// Writes the policy without its value head, and ends the run.
  ///
  /// - Parameter method: The trainer and its variant; nil is the trainer's name.
  func close(method: String? = nil) throws -> OnlineReport {
    try checkpoint()
    let trained = try policyWithoutHead()
    try start.write(trained, to: folder.url, merging: settings.merge)
    if options.reports {
      try greedy?.write(after: start.holding(trained), to: folder.url)
      try RunReport.writeAtEnd(of: record, in: folder.url)
    }
    let report = OnlineReport(
      method: method ?? stage, model: folder.url.path, rollouts: state.rollout, steps: state.step,
      firstReward: state.firstReward, lastReward: state.lastReward, kl: state.lastKL,
      stopped: state.stopped ? "kl_budget" : "rollouts", dataRows: account,
      warnings: state.watch.warnings,
      seconds: seconds(ContinuousClock.now - began))
    try folder.finish()
    return report
  }

  /// The policy itself where it has no value head: a copy takes as much memory again.
  private func policyWithoutHead() throws -> any LanguageModel {
    guard policy.hasScalarHead else { return policy }
    let written = try reference.copy(training: settings.trainable(reference.spec))
    try written.setTrainedParameters(
      policy.trainedParameters().filter { $0.name != "score.weight" })
    return written
  }

  private func addTimes(to totals: inout MetricTotals) {
    guard let times else { return }
    let whole = ContinuousClock.now - times.began
    totals.add(.secondsRollout, seconds(times.rollout))
    totals.add(.secondsScore, seconds(times.score))
    totals.add(.secondsUpdate, seconds(whole - times.rollout - times.score))
    totals.add(.secondsStep, seconds(whole))
    if times.tokens > 0 {
      totals.add(.sampledTokensPerSecond, Double(times.tokens) / seconds(times.rollout))
    }
    totals.add(.peakMemory, peakMemory())
    self.times = nil
  }

  private func checkpoint() throws {
    try clock.time {
      metrics.flush()
      try RunCheckpoint(state: state, metricsBytes: metrics.bytes)
        .write(trained, to: folder.url)
    }
  }

  private func interrupted() throws -> TrainingError {
    try checkpoint()
    return TrainingError(
      .interrupted,
      "stopped after rollout \(state.rollout); the same command goes on from there")
  }

  /// An answer to the same prompt, with the same random numbers each time.
  private func sampleToShow() throws -> String {
    var sampling = settings.sampling(draw: 0, end: encoder.endings)
    sampling.samplesPerPrompt = 1
    let prompt = promptIds[0].suffix(max(1, encoder.maximumLength - settings.maxTokens))
    let sample = try policy.sample([Array(prompt)], sampling)[0][0]
    let question = prompts[0].content.lastText.prefix(60).replacing("\n", with: " ")
    let answer = start.tokenizer.decode(sample.ids).replacing("\n", with: " ")
    return "after \(state.rollout): \(question) → \(answer)"
      + (sample.finishReason == .stop ? "" : " …")
  }
}
