// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// One run of the job: every stage in its order, each with what it reads and writes.
struct RLHFRun {
  let inputs: RLHF.Inputs
  let settings: RLHFSettings
  let output: URL
  let options: RLHF.Options
  private let start: LoadedModel
  private let productRate: Double
  private var stages: [Report.Stage] = []

  init(
    _ inputs: RLHF.Inputs, settings: RLHFSettings, output: URL, options: RLHF.Options
  ) throws {
    self.inputs = inputs
    self.settings = settings
    self.output = output
    self.options = options
    start = try LoadedModel.open(inputs.model)
    productRate = AttuneEngine.Machine.matrixProductRate(of: start.model.spec)
  }

  private func file(_ name: String) -> URL { output.appending(path: name) }
  private var trainPrompts: URL { file("prompts.jsonl") }
  private var heldOutPrompts: URL { file("held-out-prompts.jsonl") }
  private var samples: URL { file("samples.jsonl") }
  private var heldOutSamples: URL { file("held-out-samples.jsonl") }
  private var preferences: URL { file("preferences.jsonl") }
  private var heldOutPreferences: URL { file("held-out-preferences.jsonl") }
  private var rewardFolder: URL { file("reward") }
  private var policyFolder: URL { file("policy") }
  /// Who prefers, as the report names it.
  private var labeller: String {
    settings.hasJudge
      ? "judge:" + settings.judge.judges.joined(separator: "+") : settings.label.labeller.rawValue
  }

  /// The labeller's score; none where a judge prefers.
  private func goldReward() throws -> LabellerReward? {
    settings.hasJudge ? nil : LabellerReward(try settings.label.labeller.scorer())
  }

  mutating func run() throws -> Report {
    // What can fail for want of a file fails before anything is computed.
    _ = try goldReward()
    if settings.hasJudge { _ = try Constitution.named(settings.judge.constitution) }
    try makePrompts()
    try makeSamples()
    try makePreferences()
    try trainReward()
    try trainPolicy()
    try evaluate()
    return try report()
  }

  // MARK: Stages

  /// Runs a stage unless it is done.
  ///
  /// - Parameters:
  ///   - stage: Which one.
  ///   - settings: The knobs that it reads.
  ///   - inputs: Digests of what it reads.
  ///   - work: Does it; told whether to begin anew rather than to resume. What it made, in words.
  private mutating func perform(
    _ stage: RLHF.Stage, settings: some Encodable, inputs: [(name: String, digest: String)],
    work: (_ restart: Bool) throws -> String
  ) throws {
    let record = try RunRecord(stage: stage.rawValue, settings: settings, inputs: inputs)
    let isRedone = options.from.map { stage >= $0 } ?? false
    let old = try isRedone ? nil : StageLog.read(stage, in: output)
    if let old {
      let differences = record.differences(from: old.record)
      guard differences.isEmpty else {
        throw TrainingError(
          .badOutput,
          "\(output.path): the stage \(stage.rawValue) was made otherwise; what differs: "
            + "\(differences.joined(separator: ", ")); redo it with --from \(stage.rawValue), or "
            + "give another folder")
      }
      if old.state == "finished" {
        options.say("\(title(stage)): done before (\(old.summary))")
        stages.append(
          Report.Stage(
            name: stage.rawValue, seconds: old.seconds, reused: true, summary: old.summary))
        return
      }
    }
    // What follows was made from what is about to change.
    for later in RLHF.Stage.allCases where later > stage && old == nil {
      try? FileManager.default.removeItem(at: StageLog.url(later, in: output))
    }
    options.say("\(title(stage)) …")
    var log =
      old ?? StageLog(state: "running", seconds: 0, summary: "", record: record)
    try log.write(stage, in: output)
    let began = ContinuousClock.now
    do {
      log.summary = try work(old == nil)
    } catch let error as TrainingError where error.code == .interrupted {
      log.seconds += seconds(ContinuousClock.now - began)
      try log.write(stage, in: output)
      throw error
    }
    log.seconds += seconds(ContinuousClock.now - began)
    log.state = "finished"
    try log.write(stage, in: output)
    options.say("\(title(stage)): \(log.summary), \(readableSeconds(log.seconds))")
    stages.append(
      Report.Stage(
        name: stage.rawValue, seconds: log.seconds, reused: false, summary: log.summary))
  }

  private func title(_ stage: RLHF.Stage) -> String {
    let all = RLHF.Stage.allCases
    return "[\((all.firstIndex(of: stage) ?? 0) + 1)/\(all.count)] \(stage.rawValue)"
  }

  /// Trains into a folder: goes on with what is there, or begins anew where that is of no use.
  private func train<Result>(
    _ restart: Bool, _ body: (RunOptions) throws -> Result
  ) throws -> Result {
    var run = options.run
    run.restart = restart
    do {
      return try body(run)
    } catch let error as TrainingError where error.code == .badOutput && !restart {
      // Finished, but killed before the stage was noted as done.
      run.restart = true
      return try body(run)
    }
  }

  private mutating func makePrompts() throws {
    let given = try Fingerprint.of(value: [inputs.prompts, inputs.heldOut ?? []])
    struct Knobs: Encodable { var heldOutShare: Double, seed: UInt64 }
    let isSplit = inputs.heldOut == nil
    let knobs = Knobs(
      heldOutShare: isSplit ? settings.heldOutShare : 0, seed: isSplit ? settings.seed : 0)
    let (inputs, trainFile, heldOutFile) = (inputs, trainPrompts, heldOutPrompts)
    try perform(.prompts, settings: knobs, inputs: [("prompts", given)]) { _ in
      var train = inputs.prompts
      var heldOut = inputs.heldOut ?? []
      if isSplit {
        let order = Shuffle.order(count: train.count, seed: knobs.seed, epoch: 0)
        let count = Int((Double(train.count) * knobs.heldOutShare).rounded())
        let chosen = Set(order.prefix(count))
        heldOut = train.indices.filter { chosen.contains($0) }.map { train[$0] }
        train = train.indices.filter { !chosen.contains($0) }.map { train[$0] }
      }
      guard !train.isEmpty, !heldOut.isEmpty else {
        throw TrainingError(
          .badData, "\(train.count + heldOut.count) prompts are too few to train and to hold out")
      }
      for (prompts, url) in [(train, trainFile), (heldOut, heldOutFile)] {
        let rows = prompts.map { AttuneData.JSONValue.object([.init("prompt", $0.json)]).text }
        try AtomicFile.write(rows.joined(separator: "\n") + "\n", to: url)
      }
      return "\(train.count) prompts to train on, \(heldOut.count) held out"
    }
  }

  private mutating func makeSamples() throws {
    struct Knobs: Encodable { var sample: SampleSettings, heldOut: SampleSettings }
    let knobs = Knobs(sample: settings.sample, heldOut: settings.evaluation.sampling)
    let (start, style) = (start, options.run.progress)
    let files = [
      (trainPrompts, samples, knobs.sample), (heldOutPrompts, heldOutSamples, knobs.heldOut),
    ]
    try perform(
      .samples, settings: knobs,
      inputs: [
        ("model", start.fingerprint), ("prompts", try Fingerprint.of(file: trainPrompts)),
        ("held-out prompts", try Fingerprint.of(file: heldOutPrompts)),
      ]
    ) { _ in
      var answers = 0
      var ended = 0.0
      for (prompts, samples, settings) in files {
        let data = try DataFile.read(prompts, expecting: [.promptOnly])
        let report = try Sampling.run(
          start, data: data, settings: settings, output: samples, style: style)
        answers += report.answers
        ended += report.completed * Double(report.answers)
      }
      return "\(answers) answers, \(readablePercent(ended / Double(answers))) of which ended by "
        + "themselves"
    }
  }

  private mutating func makePreferences() throws {
    guard !settings.hasJudge else { return try judgePreferences() }
    var heldOut = settings.label
    heldOut.seed &+= 1 << 32
    let files = [
      (samples, preferences, settings.label), (heldOutSamples, heldOutPreferences, heldOut),
    ]
    try perform(
      .preferences, settings: settings.label,
      inputs: [
        ("samples", try Fingerprint.of(file: samples)),
        ("held-out samples", try Fingerprint.of(file: heldOutSamples)),
      ]
    ) { _ in
      let reports = try files.map { try Labelling.run(file: $0, settings: $2, output: $1) }
      return "\(reports[0].summary.pairs) preferences by \(reports[0].labeller), which agree with "
        + "its score in \(readablePercent(reports[0].summary.agreement))"
    }
  }

  /// Preferences by a judge: what it has answered is kept, also where it is stopped in the middle.
  private mutating func judgePreferences() throws {
    let (start, knobs, style) = (start, settings.judge, options.run.progress)
    let files = [(samples, preferences), (heldOutSamples, heldOutPreferences)]
    try perform(
      .preferences, settings: knobs,
      inputs: [
        ("samples", try Fingerprint.of(file: samples)),
        ("held-out samples", try Fingerprint.of(file: heldOutSamples)),
      ] + constitutionInputs()
    ) { _ in
      let reports = try files.map { samples, preferences in
        try Judging.run(
          .init(data: try DataFile.read(samples, expecting: [.samples]), output: preferences),
          settings: knobs, beside: start, style: style)
      }
      let bias = reports[0].bias.map { "; \($0.words)" } ?? ""
      return "\(reports[0].rows) preferences by \(reports[0].judge)\(bias)"
    }
  }

  /// What tells the principles of a judge from others.
  private func constitutionInputs() throws -> [(name: String, digest: String)] {
    guard settings.hasJudge else { return [] }
    let principles = try Constitution.named(settings.judge.constitution).principles
    return [("constitution", try Fingerprint.of(value: principles))]
  }

  private mutating func trainReward() throws {
    let (start, knobs) = (start, settings.reward)
    let (data, heldOut, folder) = (preferences, heldOutPreferences, rewardFolder)
    let reportFile = file("reward.json")
    let run = self
    try perform(
      .reward, settings: knobs,
      inputs: [
        ("model", start.fingerprint), ("preferences", try Fingerprint.of(file: data)),
        ("held-out preferences", try Fingerprint.of(file: heldOut)),
      ]
    ) { restart in
      let report = try run.train(restart) {
        try RewardModel.train(
          start, data: try DataFile.read(data), heldOut: try DataFile.read(heldOut),
          settings: knobs, output: folder, options: $0)
      }
      try AtomicFile.write(try JSONText.pretty(report), to: reportFile)
      return "accuracy \(readablePercent(report.evalAccuracy)) on \(report.evalPairs) pairs of "
        + "answers to held-out prompts"
    }
  }

  /// The learned reward, on the start's own weights.
  private func learnedReward() throws -> ModelReward {
    try ModelReward(
      try LoadedModel.open(rewardFolder.path, beside: start), name: "model:reward")
  }

  private mutating func trainPolicy() throws {
    let (start, knobs, prompts, folder) = (start, settings.ppo, trainPrompts, policyFolder)
    let (labeller, gold) = (labeller, try goldReward())
    let reward = try learnedReward()
    let run = self
    try perform(
      .ppo, settings: knobs,
      inputs: [
        ("model", start.fingerprint), ("reward model", reward.fingerprint),
        ("prompts", try Fingerprint.of(file: prompts)), ("labeller", labeller),
      ]
    ) { restart in
      let report = try run.train(restart) {
        try PPO.train(
          start, data: try DataFile.read(prompts), rewards: [(reward, 1)],
          rewardFingerprint: reward.fingerprint,
          watched: gold, settings: knobs, output: folder, options: $0)
      }
      return "\(report.rollouts) rollouts of "
        + "\(knobs.promptsPerRollout * knobs.samplesPerPrompt) answers, learned reward "
        + "\(readable(report.firstReward)) → \(readable(report.lastReward)), KL "
        + "\(readable(report.kl, digits: 1)) nats"
    }
  }

  private mutating func evaluate() throws {
    let policy = try LoadedModel.open(policyFolder.path, beside: start)
    let reward = try learnedReward()
    let (gold, labeller) = (try goldReward(), labeller)
    let judge = settings.hasJudge ? settings.judge : nil
    let (start, knobs, style) = (start, settings.evaluation, options.run.progress)
    let (samples, reportFile, answers) = (
      heldOutSamples, file("evaluation.json"), file("answers.jsonl")
    )
    try perform(
      .evaluation, settings: knobs,
      inputs: [
        ("policy", policy.fingerprint), ("model", start.fingerprint),
        ("reward model", reward.fingerprint), ("labeller", gold?.name ?? labeller),
        ("held-out samples", try Fingerprint.of(file: samples)),
      ] + constitutionInputs()
    ) { _ in
      let rows = try SampleRow.read(samples)
      let report = try Evaluation.run(
        [
          EvaluatedModel(role: "policy", loaded: policy),
          EvaluatedModel(
            role: "start", loaded: start,
            answers: try rows.map { try $0.completions.map(Answer.init) }),
        ],
        reference: start, prompts: rows.map(\.prompt),
        rewards: (gold.map { [$0] } ?? []) + [reward], settings: knobs, judge: judge, style: style,
        answersFile: answers)
      try AtomicFile.write(try JSONText.pretty(report), to: reportFile)
      return "\(report.prompts) held-out prompts, \(report.samplesPerPrompt) answers each"
    }
  }

  // MARK: The report

  private func decode<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(type, from: try Data(contentsOf: file(name)))
    } catch {
      throw TrainingError(
        .badOutput, "\(file(name).path): is missing or damaged; redo its stage with --from")
    }
  }

  private mutating func report() throws -> Report {
    options.say("\(title(.report)) …")
    let began = ContinuousClock.now
    let evaluation: EvaluationReport
    do {
      evaluation = try JSONDecoder().decode(
        EvaluationReport.self, from: try Data(contentsOf: file("evaluation.json")))
    } catch {
      throw TrainingError(
        .badOutput,
        "\(file("evaluation.json").path): is missing or damaged; redo it with --from evaluation")
    }
    let facts = try rewardFacts(try decode(RewardReport.self, "reward.json"))
    let training = try ReportFiles.points(of: policyFolder.appending(path: "metrics.jsonl"))
    let samples = try ReportFiles.sideBySide(
      file("answers.jsonl"), count: settings.sideBySide)
    let rule = settings.label.labeller
    let principles =
      settings.hasJudge
      ? try Constitution.named(settings.judge.constitution).principles.count : 0
    let machine = Report.Machine(
      threads: AttuneEngine.Machine.threads, productRateAtStart: productRate,
      productRateAtEnd: AttuneEngine.Machine.matrixProductRate(of: start.model.spec))
    stages.append(
      Report.Stage(
        name: RLHF.Stage.report.rawValue, seconds: seconds(ContinuousClock.now - began),
        reused: false, summary: "report.html, report.json"))
    let report = Report(
      version: attuneVersion, title: inputs.title, model: start.name,
      labeller: labeller,
      labellerSummary: settings.hasJudge
        ? "an AI judge with a constitution of \(principles) principles, asked in both orders."
        : "\(rule.summary). It is \(rule.formula).",
      date: ReportFiles.now(), seed: settings.seed, machine: machine, stages: stages,
      evaluation: evaluation, rewardModel: facts, training: training, samples: samples,
      settings: try ReportFiles.settings(settings))
    try report.write(to: output)
    return report
  }

  private func rewardFacts(_ report: RewardReport) throws -> Report.RewardModelFacts {
    Report.RewardModelFacts(
      accuracy: report.evalAccuracy,
      accuracyInterval: report.evalAccuracyInterval.flatMap {
        $0.count == 2 ? Interval($0[0], $0[1]) : nil
      },
      pairs: report.evalPairs, calibrationError: report.evalEce,
      bins: try ReportFiles.calibration(rewardFolder.appending(path: "evaluation.jsonl")),
      learningCurve: report.learningCurve.map { .init(pairs: $0.pairs, accuracy: $0.accuracy) })
  }
}
