// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// One policy of several from one start: trained in a folder of its own, then held against the start.
///
/// What is done is noted in `point.json`: a finished policy is not trained again, one that was stopped
/// goes on, and one whose training failed says so and stops no other.
struct PolicyPoint {
  /// What is noted.
  struct Log: Codable {
    enum State: String, Codable {
      case training, trained, finished, failed
    }
    /// 1 held every knob as a text.
    static let version = 2
    var formatVersion = Self.version
    var state = State.training
    /// What it is made from.
    var record: RunRecord
    /// Seconds of training.
    var seconds = 0.0
    /// Largest resident memory while training, in MB.
    var peakMemory = 0.0
    /// What training came to.
    var summary = ""
    var failure: String?
    var found: PolicyFacts?

    private enum CodingKeys: String, CodingKey {
      case state, record, seconds, summary, failure, found
      case formatVersion = "format_version"
      case peakMemory = "peak_mb"
    }
  }

  /// What it is called in messages.
  let name: String
  /// Method and knobs.
  let settings: RLHFSettings
  /// What it is trained from; its output is inside `folder`.
  let task: PolicyTask
  /// The learned reward that is measured, whether or not it is the one that is climbed.
  let learned: ModelReward
  /// The gold reward.
  let gold: LabellerReward
  /// The file of held-out prompts.
  let heldOutPrompts: URL
  /// How it is held against the start.
  let evaluation: EvaluationSettings
  /// The point's folder.
  let folder: URL

  /// The trainer's own folder inside of a point's.
  static func policyFolder(in folder: URL) -> URL { folder.appending(path: "policy") }

  private var file: URL { folder.appending(path: "point.json") }

  /// What decides the outcome.
  func record() throws -> RunRecord {
    var inputs = [
      ("method", settings.method.rawValue), ("model", task.start.fingerprint),
      ("reward", task.rewardFingerprint), ("learned reward", learned.fingerprint),
      ("gold reward", gold.name), ("prompts", try Fingerprint.of(file: task.prompts)),
      ("held-out prompts", try Fingerprint.of(file: heldOutPrompts)),
      ("evaluation", try Fingerprint.of(value: evaluation)),
    ]
    if settings.method.readsPreferences {
      inputs.append(("preferences", try Fingerprint.of(file: task.preferences)))
    }
    return try RunRecord(
      stage: "point", settings: settings.policyKnobs, model: task.start,
      inputs: inputs)
  }

  /// What is noted of it; nil where nothing is.
  ///
  /// - Parameter restart: Whether one that failed, or was made otherwise, is discarded.
  /// - Throws: `TrainingError.badOutput` for a damaged note, or one of other settings, which it names.
  func log(restart: Bool) throws -> Log? {
    guard let data = try? Data(contentsOf: file) else { return nil }
    let log: Log
    do {
      try FormatVersion.require(
        Log.version, of: data, at: file, orElse: "--restart makes this point anew")
      log = try JSONDecoder().decode(Log.self, from: data)
    } catch {
      if restart { return nil }
      throw (error as? TrainingError)
        ?? TrainingError(.badOutput, "\(file.path): is damaged; --restart makes this point anew")
    }
    let differences = try record().differences(from: log.record)
    if restart, !differences.isEmpty || log.state == .failed { return nil }
    guard differences.isEmpty else {
      throw TrainingError(
        .badOutput,
        "\(folder.path): was made otherwise; what differs: "
          + "\(differences.joined(separator: ", ")); give another folder, or --restart to make such "
          + "points anew")
    }
    return log
  }

  /// Trains and evaluates, or what is left of it.
  ///
  /// - Parameters:
  ///   - start: The start's answers.
  ///   - restart: Whether a point that failed, or was made otherwise, is made anew.
  ///   - say: Told what is going on.
  /// - Throws: `interrupted` with all that is done kept; an error of files, settings or models. Of
  ///   training that fails the log says so.
  func run(
    against start: StartAnswers, restart: Bool, say: (String) -> Void
  ) throws -> Log {
    let saved = try log(restart: restart)
    if let saved, saved.state == .finished || saved.state == .failed {
      say("\(name): done before (\(saved.failure ?? saved.summary))")
      return saved
    }
    try AtomicFile.makeFolder(folder)
    var log = try saved ?? Log(record: record())
    say("\(name) …")
    do {
      if log.state == .training {
        try write(log)
        try train(&log, restart: saved == nil)
      }
      log.found = try evaluate(log, against: start)
      log.state = .finished
    } catch let error where Self.isOfTheMethod(error) {
      log.state = .failed
      log.failure = "\(error)"
    }
    try write(log)
    say("\(name): \(log.failure.map { "failed: \($0)" } ?? log.summary)")
    return log
  }

  /// Whether an error is what the method came to, and not of the disk, the settings or the person.
  private static func isOfTheMethod(_ error: any Error) -> Bool {
    switch error {
    case let error as TrainingError: error.code == .diverged
    case let error as EngineError: error.code == .notFinite
    case is ObjectiveError, is AnswerFault: true
    default: false
    }
  }

  private func write(_ log: Log) throws { try AtomicFile.write(try JSONText.pretty(log), to: file) }

  private func train(_ log: inout Log, restart: Bool) throws {
    resetPeakMemory()
    let began = ContinuousClock.now
    func account(_ log: inout Log) throws {
      log.seconds += seconds(ContinuousClock.now - began)
      log.peakMemory = max(log.peakMemory, peakMemory())
      try write(log)
    }
    var options = task.options
    options.restart = restart
    do {
      log.summary = try options.inPart {
        var task = task
        task.options = $0
        return try settings.policyKnobs.trainPolicy(task).text
      }
    } catch {
      try account(&log)
      throw error
    }
    log.state = .trained
    try account(&log)
  }

  private func evaluate(_ log: Log, against start: StartAnswers) throws -> PolicyFacts {
    let policy = try LoadedModel.open(task.output.path, beside: task.start)
    let answers = folder.appending(path: "answers.jsonl")
    let report = try Evaluation.run(
      [EvaluatedModel(role: "policy", loaded: policy)], reference: task.start,
      prompts: start.prompts, rewards: [gold, learned], settings: evaluation,
      style: task.options.progress, answersFile: answers)
    let model = report.models[0]
    let ours = try ReportFiles.rewards(of: "policy", by: gold.name, in: answers)
    let win = Evaluation.winRate(ours, start.gold, by: gold.name, settings: evaluation)
    func figure(_ name: String) throws -> FrontierReport.Figure {
      guard let summary = model.rewards[name] else {
        throw TrainingError(.badData, "\(answers.path): has no rewards by \(name)")
      }
      return .init(mean: summary.mean, interval: summary.interval)
    }
    let metrics = task.output.appending(path: "metrics.jsonl")
    return PolicyFacts(
      facts: model, gold: try figure(gold.name), learned: try figure(learned.name),
      winRate: .init(mean: win.value, interval: win.interval), seconds: log.seconds,
      peakMemory: log.peakMemory,
      alarms: settings.method.readsPreferences
        ? []
        : RolloutWatch.alarms(
          of: try ReportFiles.points(of: [metrics]), maximumLength: evaluation.maxTokens),
      summary: log.summary)
  }
}

extension ReportFiles {
  /// The rewards of one model's answers by one source, prompt by prompt, from a file of evaluated
  /// answers.
  static func rewards(of role: String, by source: String, in answers: URL) throws -> [[Double]] {
    var groups: [[Double]] = []
    let text = try String(contentsOf: answers, encoding: .utf8)
    for line in text.split(separator: "\n") {
      let row = try JSONText.read(EvaluatedPrompt.self, from: Data(line.utf8))
      groups.append(row.answers[role]?.compactMap { $0.rewards[source] } ?? [])
    }
    return groups
  }
}
