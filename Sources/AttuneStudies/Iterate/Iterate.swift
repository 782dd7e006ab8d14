// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneRewards
public import AttuneTraining
public import Foundation

/// Iterative preference optimisation: sample answers from the current policy, rank them, train on the
/// pairs with any contrastive loss, repeat. Online, a round is one optimiser step on a fresh batch.
///
/// Each round has a folder of its own, `round-1` and so on, with its pairs, which say where they come
/// from, and the policy after it; the policy of the last round is written into the run's folder too.
/// The reference is the start, or moves to the policy that a round begins with; KL is always measured
/// from the start.
///
/// Papers: Xu et al. 2023, arXiv:2312.16682 (iterative); Guo et al. 2024, arXiv:2402.04792 (online); Xie et
/// al. 2024, arXiv:2405.21046 (XPO).
public enum Iterate {
  /// Trains a policy and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; it is the first reference too.
  ///   - data: Prompts; of rows that hold more, the prompt is taken.
  ///   - rewards: What answers are ranked by, each with its weight; none where `settings.judge` names a
  ///     judge.
  ///   - rewardFingerprint: What tells these sources from others, for the run's record.
  ///   - watched: A reward that is only measured.
  ///   - mixed: Preferences of which a share is mixed into each round's pairs.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, mixed: DataFile? = nil,
    settings: IterateSettings, output: URL, options: RunOptions = RunOptions()
  ) throws -> IterateReport {
    let began = ContinuousClock.now
    try settings.validate()
    try settings.dpo.check(against: start.model)
    guard rewards.isEmpty == settings.hasJudge else {
      throw TrainingError(
        .badSetting,
        rewards.isEmpty
          ? "nothing ranks the answers: name a reward source or a judge"
          : "rewards and a judge are given; one of them ranks the answers")
    }
    try data.check(for: rewards.map(\.source) + (watched.map { [$0] } ?? []))
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      start, maximumLength: settings.dpo.maxLength, tooLong: settings.dpo.tooLong)
    let set = try encoder.prompts(
      data, room: settings.maxTokens, byRow: RewardSources.readRows(rewards, watched: watched))
    let (prompts, ids) = (set.prompts, set.ids)
    guard settings.promptsPerRound <= prompts.count else {
      throw TrainingError(
        .badSetting,
        "prompts_per_round is \(settings.promptsPerRound), and \(data.url.path) has only "
          + "\(prompts.count) prompts")
    }
    try options.plan(settings, start: start) { settings.plannedRows(set.ids, for: start.model) }
    let mix = try MixedPairs(mixed, encoder: encoder, settings: settings)
    var inputs = [
      (name: "reward", digest: settings.hasJudge ? "judge" : rewardFingerprint),
      ("mixed data", try mixed.map { try Fingerprint.of(data: $0) } ?? "none"),
      ("watched", watched?.name ?? "none"),
    ]
    if settings.hasJudge {
      let principles = try Constitution.named(settings.judge.constitution).principles
      inputs.append(("constitution", try Fingerprint.of(value: principles)))
    }
    let folder = try RunOutput(
      "iterate", start, settings: settings, data: data, inputs: inputs, to: output, options)
    var remarks = set.remarks(
      of: data.url.lastPathComponent, encoder, room: settings.maxTokens)
    if let mix, let text = mix.account.summary(of: mix.data.url.lastPathComponent) {
      remarks.append(text)
    }
    for remark in remarks { folder.say(remark) }
    var judge = settings.judge
    judge.seed = settings.seed
    let panel =
      settings.hasJudge
      ? try JudgePanel(
        judge, answers: output.appending(path: RewardSources.answersFile), on: start.engine,
        beside: start,
        style: options.progress) : nil
    let run = IterateRun(
      start: start, prompts: prompts, ids: ids, encoder: encoder, rewards: rewards, panel: panel,
      watched: watched, mix: mix, settings: settings, folder: folder)
    var report = settings.online ? try run.online() : try run.inRounds()
    try folder.finish(LoadedModel.open(output.path, beside: start))
    report.dataRows = set.account
    report.mixedRows = mix?.account
    report.seconds = seconds(ContinuousClock.now - began)
    return report
  }
}

/// A run of `Iterate` with all that it reads.
struct IterateRun {
  let start: LoadedModel
  let prompts: [DataPrompt]
  let ids: [[Int32]]
  let encoder: TextEncoder
  let rewards: [(source: any RewardSource, weight: Double)]
  let panel: JudgePanel?
  let watched: (any RewardSource)?
  let mix: MixedPairs?
  let settings: IterateSettings
  let folder: RunOutput

  private var output: URL { folder.url }
  private var options: RunOptions { folder.options }

  /// Who ranks, as rows and reports name it.
  var ranker: String {
    panel?.name
      ?? rewards.map { $0.weight == 1 ? $0.source.name : "\($0.source.name)@\($0.weight)" }
      .joined(separator: " + ")
  }

  // MARK: - Rounds with a folder each

  /// What is kept of a round that is over.
  private struct Finished: Codable {
    var round: IterateRound
    @Count var steps: Int
    @Count var metricsBytes: Int
  }

  /// What is kept of a round whose pairs are there.
  private struct Sampled: Codable {
    var round: IterateRound
    var metrics: [Metric: Double]
  }

  /// Rounds of sampling and training. One that is over is not made again, one that was stopped goes on.
  func inRounds() throws -> IterateReport {
    var progress = ProgressLine(
      "iterate", total: settings.rounds, unit: "rounds", style: options.progress)
    var done: [Finished] = []
    while done.count < settings.rounds,
      let finished: Finished = try read("round.json", of: done.count + 1)
    {
      done.append(finished)
    }
    if !done.isEmpty {
      progress.say("resuming after round \(done.count)")
      progress.resume(at: done.count)
    }
    let metrics = try MetricsFile(
      in: output, stage: "iterate", keeping: done.last?.metricsBytes ?? 0, upTo: done.count,
      track: options.track, of: folder.record,
      warn: { progress.say("warning: \($0)") })
    var order = BatchOrder(
      rows: prompts.count, batch: settings.promptCount(of: prompts.count), seed: settings.seed)
    var policy = done.isEmpty ? start : try opened(done.count)

    while done.count < settings.rounds {
      let round = done.count + 1
      // 1. Fresh answers, ranked; their pairs in a file.
      let began = ContinuousClock.now
      var sampled: Sampled
      if let kept: Sampled = try read("sampled.json", of: round) {
        sampled = kept
      } else {
        sampled = try sample(round, order.promptsOfRollout(round - 1), policy)
      }
      let ranked = ContinuousClock.now
      // 2. A contrastive round on them.
      guard sampled.round.pairs > 0 else {
        throw TrainingError(
          .badData,
          "round \(round): no prompt has two answers of which one is better; sample more of each "
            + "(samples_per_prompt), or longer ones, or rank by another reward")
      }
      let trained = try train(round, policy)
      sampled.round.loss = trained.loss
      sampled.round.trainAccuracy = trained.report.trainAccuracy
      // 3. The round is over once its last file is there.
      var totals = MetricTotals()
      for (metric, value) in sampled.metrics { totals.add(metric, value) }
      totals.add(.rows, Double(sampled.round.pairs) + Double(sampled.round.mixed))
      if let loss = trained.loss { totals.add(.loss, loss) }
      if let accuracy = trained.report.trainAccuracy { totals.add(.accuracy, accuracy) }
      totals.add(.secondsRollout, seconds(ranked - began))
      totals.add(.secondsUpdate, seconds(ContinuousClock.now - ranked))
      totals.add(.peakMemory, peakMemory())
      try metrics.append(step: round, totals)
      metrics.flush()
      let finished = Finished(
        round: sampled.round, steps: trained.report.steps, metricsBytes: metrics.bytes)
      try write(finished, "round.json", of: round)
      done.append(finished)
      policy = try opened(round)
      progress.say("round \(round): \(sampled.round.summary)")
      progress.update(round)
      if options.shouldStop(), done.count < settings.rounds { throw stopped(after: round) }
    }

    let trained = try look(policy.model, fingerprint: policy.fingerprint, order.promptsOfRollout(0))
    progress.say("trained: \(trained.summary)")
    // Adapters and top layers beside their base, everything else as it is.
    try start.write(policy.model, to: output, merging: settings.dpo.merge)
    try metrics.finish()
    return IterateReport(
      model: output.path, loss: settings.dpo.loss.rawValue, ranker: ranker,
      rounds: done.map(\.round), trained: trained, steps: done.reduce(0) { $0 + $1.steps },
      seconds: 0)
  }

  private func sample(_ round: Int, _ places: [Int], _ policy: LoadedModel) throws -> Sampled {
    guard var answers = try draw(policy.model, round, places) else {
      throw stopped(after: round - 1)
    }
    try rank(&answers)
    let pairs = answers.pairs(settings.pairs)
    var totals = try answers.metrics(pairs, watched: watched, origin: start.origin)
    totals.add(costOf: rewards.map(\.source) + (watched.map { [$0] } ?? []))
    var sampled = Sampled(
      round: IterateRound(
        round, policy: policy.fingerprint, answers: answers, pairs: pairs.count, metrics: totals),
      metrics: Dictionary(uniqueKeysWithValues: totals.values.map { ($0.0, $0.1) }))
    let mixed = try keep(
      pairs, of: answers,
      model: .init(name: name(after: round - 1), fingerprint: policy.fingerprint))
    sampled.round.mixed = mixed.count
    try write(sampled, "sampled.json", of: round)
    return sampled
  }

  private func train(
    _ round: Int, _ policy: LoadedModel
  ) throws -> (report: ContrastiveReport, loss: Double?) {
    // A policy that shares the start's weights goes on with its own numbers, so that all rounds
    // train one set of adapters; a policy that is whole is started from.
    let isBeside = policy.fingerprint != start.fingerprint && policy.origin == start.origin
    let needsReference = settings.dpo.loss.needsReference
    let isWhole = policy.fingerprint != start.fingerprint && !isBeside
    let reference: LoadedModel? =
      !needsReference
      ? nil : settings.moveReference ? (isBeside ? policy : nil) : (isWhole ? start : nil)
    let data = try DataFile.read(file("pairs.jsonl", of: round), expecting: [.preference])
    let folder = file("policy", of: round)
    var options = options
    options.restart = false
    options.report = nil
    let report = try options.inPart {
      try DPO.train(
        isWhole ? policy : start, reference: reference, goingOnWith: isBeside ? policy : nil,
        data: data, settings: settings.roundSettings(round), output: folder, options: $0)
    }
    return (report, try MetricsFile.last(.loss, in: folder))
  }

  private func opened(_ round: Int) throws -> LoadedModel {
    try LoadedModel.open(file("policy", of: round).path, beside: start)
  }

  // MARK: - Online

  private struct State: RunState {
    static var unit: RunUnit { .round }
    @Count var round = 0
    @Count var step = 0
    var first: IterateRound?
    var last: IterateRound?
    var watch = RolloutWatch()

    var done: Int { round }
  }

  /// Rounds of one optimiser step; the policy stays in memory and in the checkpoint.
  func online() throws -> IterateReport {
    let knobs = settings.dpo
    let policy = try start.model.copy(training: knobs.trainable(start.model.spec))
    let batchLoss = try DPO.batchLoss(knobs)
    var order = BatchOrder(
      rows: prompts.count, batch: settings.promptCount(of: prompts.count), seed: settings.seed)
    folder.say(knobs.rateRemark)
    let run = try TrainingRun(
      folder, training: policy, of: start, settings: knobs, steps: settings.rounds,
      state: State())

    while run.goesOn {
      // 1. Fresh answers, ranked.
      let began = ContinuousClock.now
      let round = run.state.round + 1
      guard
        var answers = try draw(policy, round, order.promptsOfRollout(run.state.round)),
        !options.shouldStop()
      else { throw try run.interrupted() }
      try rank(&answers)
      let pairs = answers.pairs(settings.pairs)
      var totals = try answers.metrics(pairs, watched: watched, origin: start.origin)
      totals.add(costOf: rewards.map(\.source) + (watched.map { [$0] } ?? []))
      let mark = try fingerprint(after: run.state.round)
      var seen = IterateRound(
        round, policy: mark, answers: answers, pairs: pairs.count, metrics: totals)
      let mixed = try keep(
        pairs, of: answers,
        model: .init(name: name(after: run.state.round), fingerprint: mark))
      seen.mixed = mixed.count
      let ranked = ContinuousClock.now

      // 2. One step on their pairs; a batch without any is passed over.
      let batch = pairs.map { answers.row($0, isTempered: settings.temperature != 1) } + mixed
      if !batch.isEmpty {
        let scores = ContrastiveScores<PreferenceLabel>(
          policy: policy, origin: start, needs: knobs.needs,
          trunks: TrunkCache(
            policy, megabytes: knobs.trunkMegabytes ?? 0,
            tokens: batch.reduce(0) { $0 + $1.encoded.tokens }),
          pieceTokens: knobs.pieceTokens)
        totals.merge(
          try run.step(scheduled: run.state.round, rateKnob: "dpo.learning_rate") { _ in
            try scores.accumulate(batch, batchLoss)
          })
        seen.loss = totals[.loss]
        seen.trainAccuracy = totals[.accuracy]
      }

      // 3. What the round showed.
      run.state.round = round
      if round == 1 { run.state.first = seen }
      run.state.last = seen
      for (_, warning) in run.state.watch.look(at: totals, maximumLength: settings.maxTokens) {
        run.say("warning: round \(round): \(warning)")
      }
      totals.add(.rows, Double(batch.count))
      totals.add(.secondsRollout, seconds(ranked - began))
      totals.add(.secondsUpdate, seconds(ContinuousClock.now - ranked))
      totals.add(.peakMemory, peakMemory())
      try run.log(totals)
      try run.goOn("reward \(fixed(seen.reward, 3))  KL \(fixed(seen.kl, 2))")
    }

    try run.checkpoint()
    run.takeAverage()
    let trained = try look(
      policy, fingerprint: try fingerprint(after: run.state.round), order.promptsOfRollout(0))
    policy.endTraining()
    try start.write(policy, to: output, merging: knobs.merge)
    let ends = [run.state.first, settings.rounds > 1 ? run.state.last : nil].compactMap(\.self)
    return IterateReport(
      model: output.path, loss: knobs.loss.rawValue, ranker: ranker, rounds: ends,
      trained: trained, steps: run.state.step, seconds: 0)
  }

  /// What tells the policy in memory from all others: the run and how far it is.
  private func fingerprint(after round: Int) throws -> String {
    round == 0
      ? start.fingerprint : try Fingerprint.of(value: [folder.record.fingerprint, "\(round)"])
  }

  // MARK: - Parts of a round

  private func draw(
    _ policy: any LanguageModel, _ round: Int, _ places: [Int]
  ) throws -> RankedAnswers? {
    try RankedAnswers.draw(
      policy, reference: start.model, round: round, places: places, prompts: prompts, ids: ids,
      encoder: encoder, tokenizer: start.tokenizer, settings: settings,
      shouldStop: options.shouldStop)
  }

  private func rank(_ answers: inout RankedAnswers) throws {
    if let panel {
      try answers.rank(by: panel)
    } else {
      try answers.rank(by: rewards, origin: start.origin)
    }
  }

  /// What rows call the policy after so many rounds.
  private func name(after round: Int) -> String {
    round == 0 ? start.name : "\(start.name) after round \(round)"
  }

  /// Writes a round's pairs.
  ///
  /// - Returns: Those from the fixed file.
  private func keep(
    _ pairs: [RankedAnswers.Pair], of answers: RankedAnswers, model: SampleRow.Model
  ) throws -> [ContrastiveRow<PreferenceLabel>] {
    let provenance = PairProvenance(
      round: answers.round, policy: model,
      reference: .init(name: start.name, fingerprint: start.fingerprint), ranker: ranker,
      seed: settings.sampling(round: answers.round, count: 1, end: []).seed)
    let mixed = mix?.draw(beside: pairs.count, round: answers.round) ?? []
    var rows = pairs.map { provenance.row($0, of: answers) }
    if let mix {
      rows += mixed.compactMap { row in
        mix.source(row).flatMap { provenance.row(mixed: $0, from: mix.data.url) }
      }
    }
    try AtomicFile.makeFolder(roundFolder(answers.round))
    try AtomicFile.write(
      rows.map { $0.text + "\n" }.joined(), to: file("pairs.jsonl", of: answers.round))
    return mixed
  }

  /// What the trained policy answers to the first round's prompts.
  private func look(
    _ policy: any LanguageModel, fingerprint: String, _ places: [Int]
  ) throws -> IterateRound {
    guard var answers = try draw(policy, 0, places) else {
      throw stopped(after: settings.rounds)
    }
    try rank(&answers)
    let pairs = answers.pairs(settings.pairs)
    return IterateRound(
      settings.rounds + 1, policy: fingerprint, answers: answers, pairs: pairs.count,
      metrics: try answers.metrics(pairs, watched: watched, origin: start.origin))
  }

  private func stopped(after round: Int) -> TrainingError {
    RunUnit.round.stopped(after: round, of: settings.rounds)
  }

  // MARK: - Files

  private func roundFolder(_ round: Int) -> URL { output.appending(path: "round-\(round)") }

  private func file(_ name: String, of round: Int) -> URL {
    roundFolder(round).appending(path: name)
  }

  private func read<Value: Decodable>(_ name: String, of round: Int) throws -> Value? {
    let url = file(name, of: round)
    guard let bytes = try? Data(contentsOf: url) else { return nil }
    do {
      return try JSONDecoder().decode(Value.self, from: bytes)
    } catch {
      throw TrainingError(.badOutput, "\(url.path): is damaged; --restart begins the run anew")
    }
  }

  private func write(_ value: some Encodable, _ name: String, of round: Int) throws {
    do {
      try AtomicFile.write(try JSONEncoder().encode(value), to: file(name, of: round))
    } catch is EncodingError {
      throw TrainingError(.diverged, "round \(round): a reward or log-probability is not finite")
    }
  }
}
