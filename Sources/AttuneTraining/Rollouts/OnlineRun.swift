// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// An online run that is open: a `TrainingRun` with prompts, reference and rewards, which every trainer
/// needs that samples its own answers. The loop is the trainer's.
///
/// A rollout is `sample`, `score`, `passes` of optimiser steps, `measure` before or after them, and
/// `finish`; of a method that climbs advantages `update` stands in the middle. A checkpoint is written
/// between rollouts alone, so a trainer changes `state.own` after it scored, never before.
final class OnlineRun<Knobs: PlansRollouts, Own: Codable> {
  /// Where the run stands; in the checkpoint.
  struct State: RunState {
    static var unit: RunUnit { .rollout }
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
    /// Whether the start's answers to held-out rows stand in the metrics.
    var hasBegun = false
    /// The order of the prompts where it follows their pass rates.
    var curriculum: [Int]?
    /// The prices of the constraints, if there are such.
    var prices: ConstraintPrices?
    /// The best policy so far by `keep_best`: after which rollout, and its figure.
    var best: Best?
    /// What the trainer itself keeps: an adaptive weight, a running mean.
    var own: Own

    var done: Int { rollout }

    struct Best: Codable {
      @Count var rollout = 0
      var figure = 0.0
    }
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
  /// The model that it started from.
  let reference: any LanguageModel

  private let run: TrainingRun<State>
  private let account: RowAccount
  private let prompts: [DataPrompt]
  private let promptIds: [[Int32]]
  private let recorded: RecordedSamples?
  private let rewards: [(source: any RewardSource, weight: Double)]
  private let watched: (any RewardSource)?
  private let teacher: Teacher?
  private let constraints: [Constraint]
  private let heldOut: HeldOutAnswers?
  private let sharedLayers: Int
  private let givesParts: Bool
  private let began = ContinuousClock.now
  private var order: BatchOrder
  private var samplers: FolderSampling?
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
  ///   - teacher: Whom the policy is to become like, whose log-probabilities are then taken too; they
  ///     are the reward where no source is given.
  ///   - settings: The knobs, which are checked here.
  ///   - steps: Optimiser steps of the whole run.
  ///   - inputs: Digests of what decides its outcome beside settings, model and data.
  ///   - valueHead: Whether the policy gets a value head.
  ///   - givesParts: Whether rewards of an answer's steps are given at these.
  ///   - others: Further models whose numbers are kept in the checkpoint.
  ///   - own: What the trainer itself keeps, at the start; settings are checked by then.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Throws: An error that names what is at fault.
  init(
    _ stage: String, _ start: LoadedModel, data: DataFile, recorded: RecordedSamples? = nil,
    rewards: [(source: any RewardSource, weight: Double)], watched: (any RewardSource)?,
    teacher: Teacher? = nil, settings: Knobs, steps: Int, inputs: [(name: String, digest: String)],
    valueHead: Bool = false, givesParts: Bool = false, beside others: [any LanguageModel] = [],
    own: () throws -> Own, output: URL, options: RunOptions
  ) throws {
    try settings.validate()
    try Knobs.check(rewards.map(\.source), givesParts: givesParts)
    try settings.check(against: start.model)
    try (settings as? any CorrectsSampler)?.checkCorrection(on: start.engine)
    try data.check(for: rewards.map(\.source) + (watched.map { [$0] } ?? []))
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
    let promptIds = promptIds
    try options.plan(settings, start: start, other: teacher?.other(than: start)) {
      let answers = recorded?.lengths ?? promptIds.map { _ in [] }
      return PlannedRows(
        training: zip(promptIds, answers).map {
          RowShape(prompt: $0, answers: $1, for: start.model)
        })
    }
    try settings.checkHeldOut(
      hasRows: options.heldOut != nil, rewards: rewards.map(\.source))
    let encoder = encoder
    constraints = rewards.compactMap { $0.source as? Constraint }
    try settings.check(constraints, recorded: recorded != nil)
    heldOut = try options.heldOut.map {
      try HeldOutAnswers(
        $0, start, encoder, sources: rewards, teacher: teacher, settings: settings)
    }
    let folder = try RunOutput(
      stage, start, settings: settings, data: data, heldOut: options.heldOut, inputs: inputs,
      to: output, options)
    reference = start.model
    let policy = try reference.copy(
      training: settings.trainable(reference.spec), scalarHead: valueHead ? .zero : nil)
    sharedLayers = rewards.compactMap { $0.source.sharedLayers(with: start.origin) }
      .reduce(policy.sharedLayers, min)
    order = BatchOrder(
      rows: prompts.count, batch: settings.promptsPerRollout, seed: settings.seed)
    for remark in [settings.rateRemark] + remarks { folder.say(remark) }
    run = try TrainingRun(
      folder, training: policy, of: start, beside: others, settings: settings, steps: steps,
      of: settings.rollouts,
      state: State(prices: try ConstraintPrices(constraints), own: try own()))
    self.rewards = rewards
    self.watched = watched
    self.teacher = teacher
    self.settings = settings
    self.givesParts = givesParts
    if settings.curriculum, state.curriculum == nil {
      guard recorded == nil else {
        throw TrainingError(
          .badSetting, "curriculum is set but not read: \(data.url.path) holds the answers")
      }
      state.curriculum = try HeldOutAnswers(
        prompts, ids: promptIds, start, encoder, sources: rewards, settings: settings
      ).curriculum(policy, seed: settings.seed)
    }
    if heldOut != nil, !state.hasBegun {
      try run.log(try answerHeldOut())
      state.hasBegun = true
    }
    guard settings.rollout.samplers == .folder, recorded == nil else { return }
    let run = run
    samplers = try FolderSampling(
      folder.url, start: run.start, settings: settings.rollout, rollout: run.state.rollout,
      say: { run.say($0) }, shouldStop: options.shouldStop)
  }

  /// Answers the held-out rows, and keeps the policy where it is the best so far.
  private func answerHeldOut() throws -> MetricTotals {
    guard let heldOut else { return MetricTotals() }
    return try run.asWritten { try measured(heldOut) }
  }

  private func measured(_ heldOut: HeldOutAnswers) throws -> MetricTotals {
    let totals = try heldOut.measure(policy)
    let shown: [Metric] = [.heldOutRight, .heldOutReward, .heldOutTeacherKL, .heldOutLength]
    let figures = shown.compactMap { metric in
      totals[metric].map { "\(metric.rawValue) \(fixed($0, 3))" }
    }
    run.say("after \(state.rollout): \(figures.joined(separator: "  "))")
    if let metric = settings.keepBest.metric, let figure = totals[metric],
      figure > state.best?.figure ?? -.infinity
    {
      state.best = State.Best(rollout: state.rollout, figure: figure)
      let tensors = policy.trainedParameters().map { ($0.name, $0.shape, $0.values) }
      _ = try Collective.current.first {
        try Safetensors.write(tensors, to: bestFile)
        return true
      }
    }
    return totals
  }

  /// Where the best policy so far is kept.
  private var bestFile: URL { run.output.url.appending(path: "best.safetensors") }

  /// Puts the best policy into the place of the last one.
  private func takeBest() throws {
    guard let best = state.best, best.rollout != state.rollout else { return }
    let file = try Safetensors.File(bestFile)
    try policy.setTrainedParameters(
      try file.names.map {
        NamedTensor(name: $0, shape: file.shape(of: $0) ?? [], values: try file.read($0))
      })
    run.say(
      "the policy after rollout \(best.rollout) is written, the best by keep_best "
        + "\(settings.keepBest.rawValue) (\(fixed(best.figure, 3)))")
  }

  /// Where the run stands.
  var state: State {
    get { run.state }
    _modify { yield &run.state }
  }

  /// The model that is trained; it has the value head if there is one.
  var policy: any LanguageModel { run.model }

  var optimizer: AdamW { run.optimizer }

  /// Whether there is a rollout to make.
  var goesOn: Bool { run.goesOn && !state.stopped }

  /// Samples answers to the next prompts, or takes those that are recorded.
  ///
  /// - Parameters:
  ///   - draw: Which prompts and which random numbers; nil is the rollout's own number, which serves
  ///     all trainers whose rollouts are one draw.
  ///   - sampler: The model that samples; nil is the policy.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func sample(draw: Int? = nil, from sampler: (any LanguageModel)? = nil) throws -> Rollout {
    let draw = draw ?? state.rollout
    let chosen = places(of: draw)
    if let recorded { return recorded.rollout(chosen) }
    return try drawing {
      if samplers != nil { return try sampleElsewhere(draw, chosen, from: sampler) }
      return try Rollout.sample(
        sampler ?? policy, prompts: chosen.map { prompts[$0] },
        promptIds: chosen.map { promptIds[$0] }, tokenizer: run.start.tokenizer,
        settings: settings.sampling(draw: draw, end: encoder.endings), isOffPolicy: sampler != nil,
        shouldStop: run.output.options.shouldStop)
    }
  }

  /// Answers to the next prompts, some of them the policy's and the others those that are recorded, or
  /// else the teacher's.
  ///
  /// - Parameter isOwn: Whether the policy answers, from the draw and the prompt's place in it.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func sample(own isOwn: (_ draw: Int, _ place: Int) -> Bool) throws -> Rollout {
    let draw = state.rollout
    let chosen = places(of: draw)
    let own = chosen.indices.filter { isOwn(draw, $0) }
    let others = chosen.indices.filter { !own.contains($0) }
    if recorded == nil, others.isEmpty { return try sample() }
    if let recorded, own.isEmpty { return recorded.rollout(chosen) }
    let stops = run.output.options.shouldStop
    var sampling = settings.sampling(draw: draw, end: encoder.endings)
    return try drawing {
      var answers: [Rollout.Answer] = []
      /// Takes answers to some of the prompts; false where it was stopped.
      func take(_ samples: [[Sample]], _ places: [Int]) -> Bool {
        guard !samples.joined().contains(where: { $0.finishReason == .cancelled }) else {
          return false
        }
        for (place, samples) in zip(places, samples) {
          answers += samples.map {
            Rollout.Answer(prompt: place, $0, tokenizer: run.start.tokenizer)
          }
        }
        return true
      }
      let drawn = try policy.answers(to: own.map { promptIds[chosen[$0]] }, sampling) { _ in
        !stops()
      }
      guard take(drawn, own) else { return nil }
      if let recorded {
        answers += recorded.rollout(others.map { chosen[$0] }).answers.map { answer in
          var answer = answer
          answer.prompt = others[answer.prompt]
          return answer
        }
      } else if let teacher {
        // Random numbers of its own.
        sampling.seed ^= 0xD157_1115
        guard
          take(
            try teacher.answers(
              to: others.map { prompts[chosen[$0]] }, sampling, shouldStop: stops), others)
        else { return nil }
      }
      return Rollout(
        prompts: chosen.map { prompts[$0] }, promptIds: chosen.map { promptIds[$0] },
        answers: answers.enumerated().sorted {
          ($0.element.prompt, $0.offset) < ($1.element.prompt, $1.offset)
        }.map(\.element), isOffPolicy: true,
        samplerDiffers: !policy.engine.samplesAsItScores(sampling.sampler))
    }
  }

  /// Draws answers, and notes how long that took.
  ///
  /// - Throws: `interrupted` after a checkpoint if it was stopped, where `draw` gives none.
  private func drawing(_ draw: () throws -> Rollout?) throws -> Rollout {
    let began = ContinuousClock.now
    if times == nil { times = Times() }
    let rollout = try run.saving(draw)
    guard let rollout else { throw try run.interrupted() }
    times?.rollout += ContinuousClock.now - began
    times?.tokens += rollout.answers.reduce(0) { $0 + $1.completion.ids.count }
    return rollout
  }

  /// Which prompts a draw answers.
  private func places(of draw: Int) -> [Int] {
    guard let curriculum = state.curriculum else { return order.promptsOfRollout(draw) }
    return (0..<settings.promptsPerRollout).map {
      curriculum[(draw * settings.promptsPerRollout + $0) % curriculum.count]
    }
  }

  /// Takes answers that others drew, with the policy as it was some rollouts before.
  private func sampleElsewhere(
    _ draw: Int, _ chosen: [Int], from sampler: (any LanguageModel)?
  ) throws -> Rollout? {
    guard
      let samples = try samplers?.answers(
        draw: draw, version: state.rollout, policy: { try sampler ?? policyWithoutHead() },
        prompts: { places(of: $0).map { promptIds[$0] } },
        sampling: { settings.sampling(draw: $0, end: encoder.endings) })
    else { return nil }
    return Rollout(
      prompts: chosen.map { prompts[$0] }, promptIds: chosen.map { promptIds[$0] },
      samples: samples, tokenizer: run.start.tokenizer, isOffPolicy: sampler != nil,
      samplerDiffers: true)
  }

  /// Computes log-probabilities, rewards and scores of a rollout's answers.
  ///
  /// - Parameters:
  ///   - value: The model with the value head, the policy or one of its own; nil: there is none.
  ///   - asksPolicy: Whether the policy gives its numbers; else the sampler's stand in.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func score(
    _ rollout: Rollout, value: (any LanguageModel)? = nil, asksPolicy: Bool = true
  ) throws -> ScoredRollout {
    let began = ContinuousClock.now
    var rollout = try run.saving {
      var rollout = try ScoredRollout(
        rollout,
        ScoringModels(
          policy: policy, reference: reference, value: value, layers: sharedLayers,
          temperature: settings.temperature, pieceTokens: settings.pieceTokens),
        asksPolicy: asksPolicy)
      if let teacher { try rollout.ask(teacher) }
      if teacher == nil || !rewards.isEmpty {
        try rollout.reward(rewards, origin: run.start.origin, inParts: givesParts)
      }
      return rollout
    }
    if run.output.options.shouldStop() { throw try run.interrupted() }
    if state.scale == nil {
      state.scale = settings.scale(
        of: rollout.answers.map(\.reward), sources: rewards.filter { !($0.source is Constraint) })
    }
    rollout.scaleParts(by: state.scale)
    try rollout.score(
      settings.rewards.normalise == .sources
        ? rollout.normalised(bySource: rewards) : rollout.normalised(by: state.scale),
      missingEnd: settings.penaliseMissingEnd ? settings.missingEndReward : nil)
    state.prices?.charge(&rollout, for: constraints)
    times?.score += ContinuousClock.now - began
    return rollout
  }

  /// What the answers of a rollout look like, and what the watched reward says of them.
  func measure(_ rollout: ScoredRollout) throws -> MetricTotals {
    let began = ContinuousClock.now
    var totals = rollout.metrics()
    let checking = rewards.map(\.source).first(where: \.isChecked)
    if let checking { totals.merge(rollout.graded(by: checking)) }
    if let watched {
      totals.merge(
        try rollout.watched(
          watched, origin: run.start.origin, grades: checking == nil && watched.isChecked))
    }
    times?.score += ContinuousClock.now - began
    return totals
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
    try run.step(
      place: ", epoch \(epoch + 1), minibatch \(minibatch + 1)", accumulate: accumulate)
  }

  /// The only step of a rollout, whose own pass, which comes before anything is trained, gives the
  /// policy's numbers.
  ///
  /// - Parameters:
  ///   - sampled: The answers.
  ///   - order: All prompts, in the order in which they are seen.
  ///   - loss: The policy loss.
  ///   - objective: Its knobs.
  ///   - advantagesReadPolicy: Whether advantages are of the policy's log-probabilities, as where a KL
  ///     term is in the reward: a sampler of other numbers can't stand in for them then.
  ///   - advantages: Gives the answers their advantages. The sampler's log-probabilities stand in for
  ///     the policy's, from which they differ by rounding alone where its numbers are the same.
  /// - Returns: The rollout with the policy's numbers, and what was measured.
  /// - Throws: `TrainingError.diverged` where a number is not finite.
  func onlyStep(
    _ sampled: Rollout, order: [Int], _ loss: PolicyLoss, _ objective: PolicySettings,
    advantagesReadPolicy: Bool, advantages: (inout ScoredRollout) throws -> MetricTotals
  ) throws -> (rollout: ScoredRollout, totals: MetricTotals) {
    var rollout = try score(
      sampled, asksPolicy: advantagesReadPolicy && sampled.samplerDiffers)
    var totals = try advantages(&rollout)
    let update = PolicyUpdate(
      batch: order, loss: loss, objective: objective, temperature: settings.temperature,
      budget: settings.pieceTokens)
    totals.merge(try step { _ in try update.accumulateOnly(&rollout, policy: policy) })
    return (rollout, totals)
  }

  /// Ends a rollout: its metrics are written, what went wrong is said, a checkpoint if one is due.
  ///
  /// - Parameters:
  ///   - rollout: A fair sample of the policy's answers.
  ///   - totals: Everything that was measured.
  /// - Throws: `interrupted` after a checkpoint if it was stopped.
  func finish(_ rollout: ScoredRollout, _ totals: MetricTotals) throws {
    var totals = totals
    let statistics = rollout.statistics
    state.rollout += 1
    state.lastReward = totals[.policyReward] ?? totals[.rewardMean] ?? 0
    state.lastKL = statistics.klPerSequence
    if state.rollout == 1 { state.firstReward = state.lastReward }
    for (_, warning) in state.watch.look(at: totals, maximumLength: settings.maxTokens) {
      run.say("warning: rollout \(state.rollout): \(warning)")
    }
    if settings.klBudget > 0, statistics.klPerSequence > settings.klBudget {
      state.stopped = true
      run.say(
        "KL is \(fixed(statistics.klPerSequence, 1)) nats a sequence, above kl_budget "
          + "\(settings.klBudget): training ends here")
    }
    if let moved = state.prices?.move(by: rollout, for: constraints) {
      totals.merge(moved.totals)
      for warning in moved.warnings { run.say("warning: rollout \(state.rollout): \(warning)") }
    }
    addTimes(to: &totals)
    if heldOut != nil, state.rollout % settings.evaluationEvery == 0 || !goesOn {
      totals.merge(try answerHeldOut())
    }
    totals.add(costOf: rewards.map(\.source) + (watched.map { [$0] } ?? []))
    try run.log(totals)
    if settings.showEvery > 0, (state.rollout - 1) % settings.showEvery == 0 {
      run.say(try sampleToShow())
    }
    try run.goOn(
      "reward \(fixed(state.lastReward, 3))  KL \(fixed(state.lastKL, 2))  "
        + "length \(fixed(statistics.meanLength, 1))")
  }

  /// Writes the policy without its value head, and ends the run.
  ///
  /// - Parameter method: The trainer and its variant; nil is the trainer's name.
  func close(method: String? = nil) throws -> OnlineReport {
    try run.checkpoint()
    try samplers?.finish(version: state.rollout)
    run.takeAverage()
    try takeBest()
    let kept = state.prices?.outcomes(of: constraints)
    for outcome in kept ?? [] { run.say(outcome.text) }
    try run.end(writing: policyWithoutHead())
    try Collective.current.first { try? FileManager.default.removeItem(at: bestFile) }
    return OnlineReport(
      method: method ?? run.output.record.stage, model: run.output.url.path,
      rollouts: state.rollout, steps: state.step, firstReward: state.firstReward,
      lastReward: state.lastReward, kl: state.lastKL, bestRollout: state.best?.rollout,
      bestFigure: state.best?.figure, constraints: kept,
      stopped: state.stopped ? "kl_budget" : "rollouts", dataRows: account,
      warnings: state.watch.warnings, seconds: seconds(ContinuousClock.now - began))
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
    if let samplers { totals.add(.staleness, samplers.staleness) }
    self.times = nil
  }

  /// An answer to the same prompt, with the same random numbers each time.
  private func sampleToShow() throws -> String {
    var sampling = settings.sampling(draw: 0, end: encoder.endings)
    sampling.samplesPerPrompt = 1
    let prompt = promptIds[0].suffix(max(1, encoder.maximumLength - settings.maxTokens))
    let sample = try policy.sample([Array(prompt)], sampling)[0][0]
    let question = prompts[0].content.lastText.prefix(60).replacing("\n", with: " ")
    let answer = run.start.tokenizer.decode(sample.ids).replacing("\n", with: " ")
    return "after \(state.rollout): \(question) → \(answer)"
      + (sample.finishReason == .stop ? "" : " …")
  }
}
