// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneObjectives
import AttuneRewards
public import AttuneTraining
public import Foundation

/// What any run shows of itself: curves, held-out figures, answers before and after, settings. It is read
/// from the run's folder alone, whichever stage wrote it.
public struct RunReport: Codable, Sendable, Equatable {
  /// The version of this format.
  public var formatVersion = 1
  /// The version of Attune that made the run.
  public var version: String
  /// The stage: `dpo`, `sft`, `reward`, `ppo`, `evaluate`, `rlhf`.
  public var stage: String
  /// What it is called.
  public var title: String
  /// Whether the run is finished.
  public var isFinished: Bool
  /// When the report was written, in UTC.
  public var date: String
  /// Figures over what nothing was trained on.
  public var heldOut: [HeldOutFigure]
  /// The numbers over training.
  public var training: [Report.Point]
  /// The reward model, where the run has one.
  public var rewardModel: Report.RewardModelFacts?
  /// Before and after on prompts, where the run evaluates.
  public var evaluation: EvaluationReport?
  /// Greedy answers before and after.
  public var greedy: [Report.SideBySide]
  /// Sampled answers before and after.
  public var samples: [Report.SideBySide]
  /// Every setting.
  public var settings: [Report.Setting]

  private enum CodingKeys: String, CodingKey {
    case version, stage, title, date, training, evaluation, greedy, samples, settings
    case formatVersion = "format_version"
    case isFinished = "is_finished"
    case heldOut = "held_out"
    case rewardModel = "reward_model"
  }

  /// What a run's step is called.
  var unit: String {
    switch stage {
    case "sft", "reward", "dpo", "kto": "step"
    case "iterate": "round"
    default: "rollout"
    }
  }

  /// The last value of a metric.
  func last(_ metric: Metric) -> Double? {
    training.last { $0.values[metric.rawValue] != nil }?.values[metric.rawValue]
  }

  /// The report as JSON, keys sorted, with a newline at its end.
  func json() throws -> Data { try JSONText.pretty(self) }

  /// Writes `report.json` and `report.html` into a folder.
  ///
  /// - Throws: `TrainingError.file`.
  public func write(to folder: URL) throws {
    try AtomicFile.write(try json(), to: folder.appending(path: "report.json"))
    try AtomicFile.write(html, to: folder.appending(path: "report.html"))
  }
}

// MARK: - From a folder

extension RunReport {
  /// Reads any run's folder: of a trainer (finished or not), of `attune rlhf`, of `attune evaluate --output`.
  ///
  /// - Parameter folder: The run's folder.
  /// - Throws: `TrainingError` if it holds no run, or a damaged one.
  public init(run folder: URL) throws {
    if let run = try RunFolder.contents(of: folder) {
      self = try RunReport(trainer: run.record, in: folder, isFinished: run.isFinished)
      return
    }
    let file = folder.appending(path: "report.json")
    guard let data = try? Data(contentsOf: file) else {
      throw TrainingError(
        .badData,
        "\(folder.path): is no run's folder: it has neither run.json nor report.json (a run of attune "
          + "rlhf has that once it is finished)")
    }
    let decoder = JSONDecoder()
    if let report = try? decoder.decode(RunReport.self, from: data) {
      self = report
    } else if let report = try? decoder.decode(Report.self, from: data) {
      self = RunReport(report)
    } else {
      throw TrainingError(.badData, "\(file.path): is damaged, or no report of a single run")
    }
  }

  /// A trainer's run.
  ///
  /// - Parameters:
  ///   - record: What it was made from.
  ///   - folder: Its folder.
  ///   - isFinished: Whether it is at its end.
  init(trainer record: RunRecord, in folder: URL, isFinished: Bool) throws {
    version = record.version
    stage = record.stage
    title = folder.standardizedFileURL.lastPathComponent
    self.isFinished = isFinished
    date = ReportFiles.now()
    let metrics = folder.appending(path: "metrics.jsonl")
    training = try ReportFiles.points(of: [metrics])
    let rows = try HeldOutRow.read(folder)
    heldOut = HeldOutFigure.of(rows, unit: record.stage == "reward" ? "pairs" : "rows")
    if record.stage == "reward", !rows.isEmpty {
      let accuracy = heldOut.first { $0.metric == Metric.accuracy.rawValue }
      rewardModel = Report.RewardModelFacts(
        accuracy: accuracy?.value, accuracyInterval: accuracy?.interval, pairs: rows.count,
        calibrationError: training.last?.values[Metric.calibrationError.rawValue],
        bins: try ReportFiles.calibration(folder.appending(path: HeldOutRow.file)),
        learningCurve: [])
    }
    (greedy, samples) = try ReportFiles.sideBySide(
      folder.appending(path: GreedyAnswers.file), count: 0)
    settings = record.listed
  }

  /// The whole job's run.
  init(_ report: Report) {
    version = report.version
    stage = "rlhf"
    title = report.title
    isFinished = true
    date = report.date
    heldOut = HeldOutFigure.of(report.evaluation) + HeldOutFigure.of(report.rewardModel)
    training = report.training
    rewardModel = report.rewardModel
    evaluation = report.evaluation
    greedy = report.greedy ?? []
    samples = report.samples
    settings = report.settings
  }

  /// An evaluation.
  ///
  /// - Parameters:
  ///   - evaluation: What was found.
  ///   - answers: The file of all answers.
  ///   - settings: The knobs, and what was compared.
  public init(
    _ evaluation: EvaluationReport, answers: URL, settings: EvaluationSettings,
    inputs: [(name: String, value: String)]
  ) throws {
    version = attuneVersion
    stage = "evaluate"
    let names = evaluation.models.beforeAndAfter.map(\.model)
    title = names.reversed().joined(separator: " against ")
    isFinished = true
    date = ReportFiles.now()
    heldOut = HeldOutFigure.of(evaluation)
    training = []
    self.evaluation = evaluation
    (greedy, samples) = try ReportFiles.sideBySide(answers, count: 10)
    self.settings =
      inputs.map { .init(stage: "input", name: $0.name, value: $0.value) }
      + (try ConfigFile.value(of: settings).leaves().map {
        .init(stage: "evaluate", name: $0.path, value: $0.value.line)
      })
  }

  /// Makes the folder of an evaluation, or takes one that holds an earlier evaluation.
  ///
  /// - Throws: `TrainingError` for a folder that holds anything else, which a report would overwrite.
  public static func prepare(_ folder: URL) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    let own = ["report.json", "report.html"]
    if let stranger = names.sorted().first(where: {
      !own.contains($0) && !$0.hasPrefix("answers.jsonl") && !$0.hasPrefix(".")
    }) {
      throw TrainingError(
        .badOutput,
        "\(folder.path): holds other files (\(stranger)); give a new folder for the evaluation")
    }
    try AtomicFile.makeFolder(folder)
  }

  /// Writes the report of a trainer's run that is at its end, whose folder is not yet marked as finished.
  @Sendable public static func writeAtEnd(of record: RunRecord, in folder: URL) throws {
    try RunReport(trainer: record, in: folder, isFinished: true).write(to: folder)
  }
}

extension RunRecord {
  /// The knobs and inputs as a report lists them.
  var listed: [Report.Setting] {
    var list = inputs.sorted { $0.key < $1.key }.map { name, digest in
      // A digest tells one file from another; its start does.
      Report.Setting(
        stage: "input", name: name, value: digest.count == 64 ? String(digest.prefix(12)) : digest)
    }
    list += settings.leaves().map { .init(stage: stage, name: $0.path, value: $0.value.line) }
    if let precision {
      list.append(.init(stage: stage, name: "precision", value: precision))
    }
    if let basePrecision {
      list.append(.init(stage: stage, name: "base_precision", value: basePrecision))
    }
    return list
  }
}

// MARK: - The page

extension RunReport {
  /// The page: one self-contained document that loads nothing.
  public var html: String {
    var body = "<h1>\(escapedHTML(title))</h1>\n<p class=\"quiet\">attune \(escapedHTML(stage)) · "
    body += "\(escapedHTML(date)) · Attune \(escapedHTML(version))"
    body += isFinished ? "</p>\n" : " · <b>not finished</b></p>\n"
    if let evaluation {
      body += ReportSection.comparison(evaluation)
      body += ReportSection.heldOut(evaluation.preferences?.figures ?? [])
    } else {
      body += ReportSection.heldOut(heldOut)
    }
    body += ReportSection.answers(
      greedy: greedy, samples: samples, open: 10, reward: evaluation?.winRate?.reward,
      prompts: evaluation == nil ? "prompts" : "held-out prompts")
    if !training.isEmpty {
      body += "<h2>Over training</h2>\n" + ReportSection.charts([("", training)], xLabel: unit)
    }
    body += ReportSection.rewardModel(
      rewardModel, remark: "What is preferred is not always certain, so 100 % may be out of reach.")
    body += ReportSection.settings(settings)
    return standalonePage(title: title, body: body)
  }
}
