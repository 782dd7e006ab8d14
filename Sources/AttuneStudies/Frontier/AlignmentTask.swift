// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneRewards
import AttuneTraining
public import Foundation

/// A finished run of `attune rlhf` as a task for others: its start, prompts, reward models, labeller
/// and the start's own answers.
public struct AlignmentTask: Sendable {
  /// The run's folder.
  public let folder: URL
  /// What the run was made with.
  public let settings: RLHFSettings
  /// The model that it started from, as it was named.
  public let model: String
  /// What told the start from others.
  private let modelFingerprint: String?

  /// Reads a run.
  ///
  /// - Parameter folder: The folder of a finished `attune rlhf` or `attune quickstart`.
  /// - Throws: `TrainingError` if it is none, if its files are damaged, or if a judge labelled it: then
  ///   there is no gold reward.
  public init(run folder: URL) throws {
    let file = folder.appending(path: "report.json")
    guard let data = try? Data(contentsOf: file) else {
      throw TrainingError(
        .badData,
        "\(folder.path): is no finished run of attune rlhf or quickstart (no report.json)")
    }
    if let other = try? JSONDecoder().decode(RunReport.self, from: data) {
      throw TrainingError(
        .badData,
        "\(folder.path): is no finished run of attune rlhf or quickstart: attune \(other.stage) wrote it"
      )
    }
    guard let report = try? JSONDecoder().decode(Report.self, from: data),
      let settings = try? Self.settings(of: report)
    else { throw TrainingError(.badData, "\(file.path): is damaged or of another version") }
    guard !settings.hasJudge else {
      throw TrainingError(
        .badData,
        "\(folder.path): a judge gave its preferences, so there is no gold reward to draw; take a run "
          + "with a labeller")
    }
    guard !settings.hasGrader else {
      throw TrainingError(
        .badData,
        "\(folder.path): a grader checked its answers, so there are no preferences and no reward model; take a "
          + "run with a labeller")
    }
    self.folder = folder
    self.settings = settings
    model = report.model
    // What is made from a run reads its start as the run did.
    StageLog.resumeClock(in: folder)
    modelFingerprint = try StageLog.read(.init(.samples), in: folder)?
      .record.inputs["model"]
  }

  /// The settings that a report lists.
  private static func settings(of report: Report) throws -> RLHFSettings {
    var value = try ConfigFile.value(of: RLHFSettings())
    for setting in report.settings {
      let path = setting.stage == "run" ? setting.name : "\(setting.stage).\(setting.name)"
      value.set(
        try JSONDecoder().decode(JSONTree.self, from: Data(setting.value.utf8)),
        at: path[...])
    }
    return try ConfigFile.decode(value)
  }

  /// Opens the start.
  ///
  /// - Throws: An error if it is not there, or is another model by now.
  func openStart(on engine: any Engine) throws -> LoadedModel {
    let start = try LoadedModel.open(model, on: engine)
    if let modelFingerprint, modelFingerprint != start.fingerprint {
      throw TrainingError(
        .badModel,
        "\(model): is another model than the one that \(folder.path) started from (fingerprints "
          + "differ)")
    }
    return start
  }

  /// Prompts to train on.
  var prompts: URL { folder.appending(path: "prompts.jsonl") }
  /// Prompts to evaluate on.
  var heldOutPrompts: URL { folder.appending(path: "held-out-prompts.jsonl") }
  /// Preferences over answers to these.
  var heldOutPreferences: URL { folder.appending(path: "held-out-preferences.jsonl") }
  /// The start's own answers to the prompts: those of the first round.
  var startSamples: URL { place(1).appending(path: "samples.jsonl") }

  /// What a round's reward model was trained on: 0 is the last.
  func preferences(ofRound round: Int) -> URL {
    place(round).appending(path: "preferences.jsonl")
  }

  /// A round's reward model: 0 is the last.
  func rewardFolder(ofRound round: Int) -> URL { place(round).appending(path: "reward") }

  private func place(_ round: Int) -> URL {
    round == 0 || round == settings.rounds ? folder : folder.appending(path: "round-\(round)")
  }

  /// Opens a round's reward model on the start's weights: 0 is the last.
  func reward(ofRound round: Int, beside start: LoadedModel) throws -> ModelReward {
    try ModelReward(
      try LoadedModel.open(
        rewardFolder(ofRound: round).path, beside: start, rewardModels: true), name: "model:reward")
  }

  /// The gold reward.
  func gold() throws -> LabellerReward { LabellerReward(try settings.label.labeller.scorer()) }

  /// How the start's answers are labelled in pairs for methods without rollouts: as the run labelled.
  ///
  /// - Parameter perPrompt: Pairs of each prompt's answers; 0 is all.
  func pairSettings(perPrompt: Int) -> LabelSettings {
    var label = settings.seeded.label
    label.shape = .pairs
    label.pairsPerPrompt = perPrompt
    return label
  }

  /// How many prompts there are to train on.
  var promptCount: Int {
    get throws { try DataFile.readPrompts(prompts).prompts.count }
  }

  /// How many answers the run collected of the start.
  var collectedAnswers: (prompts: Int, answers: Int) {
    get throws {
      let rows = try SampleRow.read(startSamples)
      return (rows.count, rows.reduce(0) { $0 + $1.completions.count })
    }
  }
}
