// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneObjectives
public import Foundation

/// What a run of PPO came to.
public struct PPOReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The folder of the trained policy.
  public var model: String
  /// Rollouts made.
  public var rollouts: Int
  /// Optimiser steps.
  public var steps: Int
  /// Mean reward over the first rollout's answers.
  public var firstReward: Double
  /// The same over the last rollout's.
  public var lastReward: Double
  /// KL from the reference in nats a sequence, over the last rollout's answers.
  public var kl: Double
  /// Why the run ended: `rollouts`, or `kl_budget`.
  public var stopped: String
  /// What was noticed on the way.
  public var warnings: [String]
  /// Seconds of this process's part of the run.
  public var seconds: Double
}

/// Proximal policy optimisation with a KL penalty in the reward.
///
/// Answers are sampled, rewarded and compared with what the value head expected; the policy then
/// makes the tokens that did better more probable, within a clipped ratio (Schulman et al. 2017;
/// details of Huang et al. 2024, arXiv:2403.17031). The reward of a token is
/// −β·(log π_old − log π_ref), the answer's score added at its last token.
///
/// Differs from the paper: the answers to a prompt stay together in a minibatch, so that they share
/// its pass; the frozen layers' results are computed once a rollout, for policy, reference, reward
/// model and every epoch.
public enum PPO {
  private struct State: Codable {
    var rollout = 0
    var step = 0
    var kl: AdaptiveKL
    var scale: RewardScale?
    var firstReward = 0.0
    var lastReward = 0.0
    var lastKL = 0.0
    var stopped = false
    var watch = RolloutWatch()
  }

  /// Trains a policy and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; it is the reference too.
  ///   - data: Prompts; of rows that hold more, the prompt is taken.
  ///   - rewards: Where rewards come from, each with its weight.
  ///   - rewardFingerprint: What tells these sources from others, for the run's record.
  ///   - valueStart: A reward model that a separate value model starts from.
  ///   - watched: A reward that is only measured.
  ///   - mixed: Rows whose supervised loss is mixed in (ptx).
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, valueStart: LoadedModel? = nil,
    watched: (any RewardSource)? = nil, mixed: DataFile? = nil, settings: PPOSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> PPOReport {
    try settings.validate()
    try settings.check(against: start.model.spec)
    let began = ContinuousClock.now
    let encoder = try TextEncoder(start, maximumLength: settings.maxLength)
    let (prompts, promptIds) = try encoder.prompts(data, room: settings.maxTokens)
    guard prompts.count >= settings.promptsPerRollout else {
      throw TrainingError(
        .badSetting,
        "prompts_per_rollout is \(settings.promptsPerRollout), and \(data.url.path) has only "
          + "\(prompts.count) prompts")
    }
    let ptx = try settings.ptx(mixed, encoder)
    let mixedDigest = try mixed.map { try Fingerprint.of(file: $0.url) } ?? "none"
    let record = try RunRecord(
      stage: "ppo", settings: settings,
      inputs: [
        ("model", start.fingerprint), ("data", try Fingerprint.of(file: data.url)),
        ("reward", rewardFingerprint), ("value start", valueStart?.fingerprint ?? "none"),
        ("ptx data", mixedDigest),
      ])
    let folder = try RunFolder(output, record: record, restart: options.restart)

    // The policy carries the value head, unless a model of its own does.
    let reference = start.model
    let policy = try reference.copy(
      training: settings.trainable(reference.spec),
      scalarHead: settings.value == .shared ? .zero : nil)
    let value = try settings.valueModel(start, from: valueStart)
    for model in [policy, value].compactMap(\.self) {
      model.recomputesActivations = settings.recompute
    }
    let trained = [policy] + (value.map { [$0] } ?? [])
    let sharedLayers = rewards.compactMap { $0.source.sharedLayers(with: start.origin) }
      .reduce(policy.sharedLayers, min)

    let steps = settings.rollouts * settings.epochs * settings.minibatches
    let schedule = Schedule(
      peak: settings.learningRate, decay: settings.decay,
      warmupSteps: min(settings.warmupSteps, steps / 10),
      totalSteps: steps)
    let optimizer = AdamW(epsilon: settings.adamEpsilon, weightDecay: settings.weightDecay)
    var order = BatchOrder(
      rows: prompts.count, batch: settings.promptsPerRollout, seed: settings.seed)
    var ptxOrder = BatchOrder(
      rows: max(1, ptx.count), batch: settings.ptxBatchSize, seed: settings.seed)

    var progress = Progress(
      "ppo", total: settings.rollouts, unit: "rollouts", style: options.progress)
    let saved = try RunCheckpoint<State>.read(into: trained, from: output) {
      progress.say("warning: \($0)")
    }
    var state = try saved?.state ?? State(kl: settings.klControl())
    if state.rollout > 0 {
      progress.say("resuming at rollout \(state.rollout)")
      progress.resume(at: state.rollout)
    }
    let metrics = try MetricsFile(in: output, stage: "ppo", keeping: saved?.metricsBytes ?? 0)
    var clock = CheckpointClock(seconds: settings.checkpointSeconds)
    func checkpoint() throws {
      try clock.time {
        metrics.flush()
        try RunCheckpoint(state: state, metricsBytes: metrics.bytes).write(trained, to: output)
      }
    }
    func interrupted() throws -> TrainingError {
      try checkpoint()
      return TrainingError(
        .interrupted,
        "stopped after rollout \(state.rollout); the same command goes on from there")
    }

    while state.rollout < settings.rollouts, !state.stopped {
      // 1. Answers, their rewards, and log-probabilities that stay as they are for all epochs.
      let stepBegan = ContinuousClock.now
      let chosen = order.promptsOfRollout(state.rollout)
      guard
        var rollout = try Rollout.sample(
          policy, prompts: chosen.map { prompts[$0] }, promptIds: chosen.map { promptIds[$0] },
          tokenizer: start.tokenizer,
          settings: settings.sampling(rollout: state.rollout, end: encoder.endings),
          shouldStop: options.shouldStop)
      else { throw try interrupted() }
      let sampled = ContinuousClock.now
      try rollout.score(
        policy: policy, reference: reference, value: value, layers: sharedLayers,
        temperature: settings.temperature, budget: settings.pieceTokens)
      try rollout.reward(rewards, origin: start.origin)
      if options.shouldStop() { throw try interrupted() }

      // 2. Advantages, once a rollout.
      if state.scale == nil {
        state.scale = settings.scale(of: rollout.answers.map(\.reward), sources: rewards)
      }
      rollout.normalise(
        state.scale, missingEnd: settings.penaliseMissingEnd ? settings.missingEndReward : nil)
      let beta = state.kl.beta
      var totals = rollout.advantages(beta: beta, settings: settings)
      totals.merge(rollout.metrics())
      totals.add(.beta, beta)
      if settings.adaptiveKl { totals.add(.klTarget, settings.klTarget) }
      if let watched {
        totals.merge(
          try rollout.watched(watched, origin: start.origin))
      }
      let scored = ContinuousClock.now

      // 3. Epochs of minibatches over whole prompts.
      for epoch in 0..<settings.epochs {
        let shuffled = Shuffle.order(
          count: chosen.count, seed: settings.seed &+ UInt64(state.rollout) &* 0x9E37_79B9,
          epoch: epoch)
        for (minibatch, batch) in settings.cut(shuffled).enumerated() {
          policy.zeroGradients()
          value?.zeroGradients()
          let update = PPOUpdate(rollout: rollout, batch: batch, settings: settings)
          var stepTotals: MetricTotals
          do {
            stepTotals = try update.accumulate(
              policy: policy, value: value, checkingRatio: epoch == 0 && minibatch == 0)
            if !ptx.isEmpty {
              let rows = ptxOrder.rows(of: state.step).map { ptx[$0] }
              stepTotals.merge(try settings.mix(rows, into: policy))
            }
            let rate = schedule.rate(state.step)
            let norm = try policy.step(
              optimizer, learningRate: rate, maximumNorm: settings.gradientBound)
            try value?.step(
              optimizer, learningRate: rate / settings.learningRate * settings.valueLearningRate,
              maximumNorm: settings.gradientBound)
            stepTotals.addMean(.gradientNorm, total: norm, weight: 1)
            stepTotals.addMean(.learningRate, total: rate, weight: 1)
          } catch let error as EngineError where error.code == .notFinite {
            throw TrainingError(
              .diverged,
              "rollout \(state.rollout + 1), epoch \(epoch + 1), minibatch \(minibatch + 1): "
                + "\(error.message); the last checkpoint stays; try a lower learning_rate")
          }
          state.step += 1
          totals.merge(stepTotals)
        }
      }

      // 4. β follows the KL that this rollout showed; what went wrong is said.
      let statistics = rollout.statistics
      state.kl.update(kl: statistics.klPerSequence)
      state.rollout += 1
      state.lastReward = totals[.rewardMean] ?? 0
      state.lastKL = statistics.klPerSequence
      if state.rollout == 1 { state.firstReward = state.lastReward }
      for warning in state.watch.look(at: totals, maximumLength: settings.maxTokens) {
        progress.say("warning: rollout \(state.rollout): \(warning)")
      }
      if settings.klBudget > 0, statistics.klPerSequence > settings.klBudget {
        state.stopped = true
        progress.say(
          "KL is \(fixed(statistics.klPerSequence, 1)) nats a sequence, above kl_budget "
            + "\(settings.klBudget): training ends here")
      }
      let finished = ContinuousClock.now
      totals.add(.secondsRollout, seconds(sampled - stepBegan))
      totals.add(.secondsScore, seconds(scored - sampled))
      totals.add(.secondsUpdate, seconds(finished - scored))
      totals.add(.secondsStep, seconds(finished - stepBegan))
      totals.add(
        .sampledTokensPerSecond, Double(statistics.tokens) / seconds(sampled - stepBegan))
      totals.add(.peakMemory, peakMemory())
      try metrics.append(step: state.rollout, totals)
      if settings.showEvery > 0, (state.rollout - 1) % settings.showEvery == 0 {
        progress.say(
          try sampleToShow(
            policy, prompts[0], promptIds[0], start.tokenizer, settings, encoder,
            rollout: state.rollout))
      }
      progress.update(
        state.rollout,
        "reward \(fixed(state.lastReward, 3))  KL \(fixed(state.lastKL, 2))  "
          + "length \(fixed(statistics.meanLength, 1))")
      if options.shouldStop(), state.rollout < settings.rollouts { throw try interrupted() }
      if clock.isDue, state.rollout < settings.rollouts { try checkpoint() }
    }

    try checkpoint()
    // The policy without its value head.
    let written = try reference.copy(training: settings.trainable(reference.spec))
    try written.setTrainedParameters(
      policy.trainedParameters().filter { $0.name != "score.weight" })
    try start.write(written, to: output, merging: settings.merge)
    let report = PPOReport(
      model: output.path, rollouts: state.rollout, steps: state.step,
      firstReward: state.firstReward, lastReward: state.lastReward, kl: state.lastKL,
      stopped: state.stopped ? "kl_budget" : "rollouts", warnings: state.watch.warnings,
      seconds: seconds(ContinuousClock.now - began))
    try folder.finish()
    return report
  }

  /// An answer to the same prompt, with the same random numbers each time.
  private static func sampleToShow(
    _ policy: LanguageModel, _ prompt: Content, _ ids: [Int32], _ tokenizer: Tokenizer,
    _ settings: PPOSettings, _ encoder: TextEncoder, rollout: Int
  ) throws -> String {
    var sampling = settings.sampling(rollout: 0, end: encoder.endings)
    sampling.samplesPerPrompt = 1
    let sample = try policy.sample([ids], sampling)[0][0]
    let question = prompt.lastText.prefix(60).replacing("\n", with: " ")
    let answer = tokenizer.decode(sample.ids).replacing("\n", with: " ")
    return "after \(rollout): \(question) → \(answer)"
      + (sample.finishReason == .stop ? "" : " …")
  }
}
