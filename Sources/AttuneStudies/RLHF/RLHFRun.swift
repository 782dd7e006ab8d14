// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneRewards
import AttuneTraining
import Foundation

/// One run of the job: every stage in its order, each with what it reads and writes.
struct RLHFRun {
  let inputs: RLHF.Inputs
  let settings: RLHFSettings
  let output: URL
  let options: RLHF.Options
  let start: LoadedModel
  let productRate: Double
  /// Of answers that the reward models of several rounds learn from.
  let trunks = TrunkStore()
  var stages: [Report.Stage] = []

  init(
    _ inputs: RLHF.Inputs, _ start: LoadedModel, settings: RLHFSettings, output: URL,
    options: RLHF.Options
  ) throws {
    self.inputs = inputs
    self.settings = settings
    self.output = output
    self.options = options
    self.start = start
    productRate = try start.engine.matrixProductRate(of: start.model.spec)
  }

  func file(_ name: String) -> URL { output.appending(path: name) }
  var trainPrompts: URL { file("prompts.jsonl") }
  var heldOutPrompts: URL { file("held-out-prompts.jsonl") }
  var heldOutSamples: URL { file("held-out-samples.jsonl") }
  var heldOutPreferences: URL { file("held-out-preferences.jsonl") }
  /// Every round, the last one's files at the top of the run's folder.
  var rounds: [RLHFRound] {
    (1...settings.rounds).map { number in
      RLHFRound(
        number: number,
        folder: number == settings.rounds
          ? output : output.appending(path: "round-\(number)", directoryHint: .isDirectory))
    }
  }
  var lastRound: RLHFRound { RLHFRound(number: settings.rounds, folder: output) }

  /// Who prefers, as the report names it.
  var labeller: String {
    if settings.hasGrader { return settings.grader }
    if settings.hasPeople { return Report.people }
    return settings.hasJudge
      ? "judge:" + settings.judge.judges.joined(separator: "+") : settings.label.labeller.rawValue
  }

  /// The labeller's score; none where a judge prefers, or people do, or a grader checks.
  func goldReward() throws -> LabellerReward? {
    settings.hasJudge || settings.hasPeople || settings.hasGrader
      ? nil : LabellerReward(try settings.label.labeller.scorer())
  }

  mutating func run() throws -> Report {
    StageLog.resumeClock(in: output)
    // What can fail for want of a file fails before anything is computed.
    _ = try goldReward()
    if settings.hasJudge { _ = try Constitution.named(settings.judge.constitution) }
    try makePrompts()
    var earlier: RLHFRound?
    for round in rounds {
      try AtomicFile.makeFolder(round.folder)
      if !settings.hasGrader {
        try makeSamples(round, after: earlier)
        try makePreferences(round, after: earlier)
        try trainReward(round)
      }
      try trainPolicy(round)
      earlier = round
    }
    try evaluate()
    return try report()
  }

  // MARK: Stages

  /// Runs a stage unless it is done.
  ///
  /// - Parameters:
  ///   - step: Which one.
  ///   - settings: The knobs that it reads.
  ///   - inputs: Digests of what it reads.
  ///   - work: Does it; told whether to begin anew rather than to resume. What it made, in words.
  mutating func perform(
    _ step: RLHF.Step, settings: some Encodable, inputs: [(name: String, digest: String)],
    work: (_ restart: Bool) throws -> String
  ) throws {
    let record = try RunRecord(
      stage: step.stage.rawValue, settings: settings, model: start, inputs: inputs)
    let all = RLHF.Step.all(self.settings)
    let place = all.firstIndex(of: step) ?? 0
    let isRedone = options.from.flatMap(all.firstIndex(of:)).map { place >= $0 } ?? false
    let old = try isRedone ? nil : StageLog.read(step, in: output)
    if let old {
      let differences = record.differences(from: old.record)
      guard differences.isEmpty else {
        throw TrainingError(
          .badOutput,
          "\(output.path): the stage \(step.name) was made otherwise; what differs: "
            + "\(differences.joined(separator: ", ")); redo it with --from \(step.name), or "
            + "give another folder")
      }
      if old.state == "finished" {
        options.say("\(title(step)): done before (\(old.summary))")
        stages.append(
          Report.Stage(
            name: step.name, seconds: old.seconds, reused: true, summary: old.summary))
        return
      }
    }
    // What follows was made from what is about to change.
    for later in all[(place + 1)...] where old == nil {
      try Collective.current.first {
        try? FileManager.default.removeItem(at: StageLog.url(later, in: output))
      }
    }
    options.say("\(title(step)) …")
    var log =
      old ?? StageLog(state: "running", seconds: 0, summary: "", record: record)
    try log.write(step, in: output)
    let began = ContinuousClock.now
    do {
      log.summary = try work(old == nil)
    } catch let error as TrainingError where error.code == .interrupted {
      log.seconds += seconds(ContinuousClock.now - began)
      try log.write(step, in: output)
      throw error
    }
    log.seconds += seconds(ContinuousClock.now - began)
    log.state = "finished"
    try log.write(step, in: output)
    options.say("\(title(step)): \(log.summary), \(readableSeconds(log.seconds))")
    stages.append(
      Report.Stage(
        name: step.name, seconds: log.seconds, reused: false, summary: log.summary))
  }

  func title(_ step: RLHF.Step) -> String {
    let all = RLHF.Step.all(settings)
    return "[\((all.firstIndex(of: step) ?? 0) + 1)/\(all.count)] \(step.words)"
  }

  /// Trains into a stage's folder.
  func train<Result>(
    _ restart: Bool, _ body: (RunOptions) throws -> Result
  ) throws -> Result {
    var run = options.run
    run.restart = restart
    return try run.inPart(body)
  }
}
