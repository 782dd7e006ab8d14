// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

extension RLHFRun {
  private func decode<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
    do {
      return try JSONText.read(type, from: try Data(contentsOf: file(name)))
    } catch {
      throw TrainingError(
        .badOutput, "\(file(name).path): is missing or damaged; redo its stage with --from")
    }
  }

  mutating func report() throws -> Report {
    options.say("\(title(.init(.report))) …")
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
    let facts =
      !settings.hasGrader
      ? try rewardFacts(try decode(RewardReport.self, lastRound.rewardReport.lastPathComponent))
      : nil
    let training = try ReportFiles.points(
      of: rounds.map { $0.policyFolder.appending(path: "metrics.jsonl") })
    let answers = try ReportFiles.sideBySide(
      file("answers.jsonl"), count: settings.sideBySide)
    let machine = Report.Machine(
      threads: start.engine.record.threads, productRateAtStart: productRate,
      productRateAtEnd: try start.engine.matrixProductRate(of: start.model.spec))
    stages.append(
      Report.Stage(
        name: RLHF.Stage.report.rawValue, seconds: seconds(ContinuousClock.now - began),
        reused: false, summary: "report.html, report.json"))
    let report = Report(
      version: attuneVersion, title: inputs.title, model: start.name,
      labeller: labeller,
      labellerSummary: try labellerSummary(),
      date: ReportFiles.now(), seed: settings.seed, machine: machine, stages: stages,
      evaluation: evaluation, rewardModel: facts, training: training,
      samples: answers.samples, greedy: answers.greedy,
      settings: try ReportFiles.settings(settings), remark: inputs.remark)
    try report.write(to: output)
    return report
  }

  /// Who prefers or checks, in a sentence.
  private func labellerSummary() throws -> String {
    if settings.hasGrader { return try RewardSpecification(settings.grader).kind.summary + "." }
    if settings.hasPeople { return "asked on a page: \(peopleSummary)." }
    if settings.hasJudge {
      let principles = try Constitution.named(settings.judge.constitution).principles.count
      return
        "an AI judge with a constitution of \(principles) principles, asked in both orders."
    }
    let rule = settings.label.labeller
    return "\(rule.summary). It is \(rule.formula)."
  }

  /// What people were asked, as the stages tell it.
  private var peopleSummary: String {
    stages.filter { $0.name.hasPrefix(RLHF.Stage.preferences.rawValue) }.map(\.summary)
      .joined(separator: ", then ")
  }

  private func rewardFacts(_ report: RewardReport) throws -> Report.RewardModelFacts {
    Report.RewardModelFacts(
      accuracy: report.evalAccuracy,
      accuracyInterval: Interval(report.evalAccuracyInterval),
      pairs: report.evalPairs, calibrationError: report.evalEce,
      bins: try ReportFiles.calibration(lastRound.rewardFolder.appending(path: "evaluation.jsonl")),
      learningCurve: report.learningCurve.map { .init(pairs: $0.pairs, accuracy: $0.accuracy) })
  }
}
