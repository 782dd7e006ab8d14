// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneTraining
import Foundation

/// Training on rows in memory. Each call begins at the session's start; the same call again after one that
/// was cancelled goes on with it, bit for bit.
extension AttuneSession {
  /// Supervised fine-tuning: answers are made more probable.
  ///
  /// - Parameters:
  ///   - rows: Texts, conversations or prompt–completion rows.
  ///   - heldOut: Rows that are only scored.
  ///   - settings: The knobs.
  ///   - onEvent: Is told after each step, and what a person should know; it runs on the sessions' thread.
  /// - Returns: What it came to. Its `model` is empty: the policy is in the session.
  /// - Throws: ``AttuneError`` that names the row or setting at fault.
  @discardableResult
  public func train(
    _ rows: [Example], heldOut: [Example] = [], with settings: SFTSettings,
    onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> SFTReport {
    try policy("sft", DataFile.rows(rows), heldOut, settings, onEvent, \.model) {
      try SFT.train(
        $0, data: $1, heldOut: $2, settings: settings, output: $3, options: $4)
    }
  }

  /// Direct preference optimisation and its relatives, on pairs.
  ///
  /// - Parameters:
  ///   - rows: Preferences.
  ///   - heldOut: Preferences for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - onEvent: Is told after each step, and what a person should know; it runs on the sessions' thread.
  /// - Returns: What it came to. Its `model` is empty: the policy is in the session.
  /// - Throws: ``AttuneError`` that names the row or setting at fault.
  @discardableResult
  public func train(
    _ rows: [Example], heldOut: [Example] = [], with settings: DPOSettings,
    onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> ContrastiveReport {
    try policy("dpo", DataFile.rows(rows), heldOut, settings, onEvent, \.model) {
      try DPO.train(
        $0, data: $1, heldOut: $2, settings: settings, output: $3, options: $4)
    }
  }

  /// Kahneman–Tversky optimisation and binary-classifier optimisation, on thumbs.
  ///
  /// - Parameters:
  ///   - rows: Thumbs, or pairs, of which each gives a thumb up and a thumb down.
  ///   - heldOut: Rows for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - onEvent: Is told after each step, and what a person should know; it runs on the sessions' thread.
  /// - Returns: What it came to. Its `model` is empty: the policy is in the session.
  /// - Throws: ``AttuneError`` that names the row or setting at fault.
  @discardableResult
  public func train(
    _ rows: [Example], heldOut: [Example] = [], with settings: KTOSettings,
    onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> ContrastiveReport {
    try policy("kto", DataFile.rows(rows), heldOut, settings, onEvent, \.model) {
      try KTO.train(
        $0, data: $1, heldOut: $2, settings: settings, output: $3, options: $4)
    }
  }

  /// A reward model, which ``SessionReward/trained(weight:)`` then stands for. The policy stays as it is.
  ///
  /// - Parameters:
  ///   - rows: Preferences, rankings or thumbs.
  ///   - heldOut: Rows for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - onEvent: Is told after each step, and what a person should know; it runs on the sessions' thread.
  /// - Returns: What it came to. Its `model` is empty: the reward model is in the session.
  /// - Throws: ``AttuneError`` that names the row or setting at fault.
  @discardableResult
  public func train(
    _ rows: [Example], heldOut: [Example] = [], with settings: RewardModelSettings,
    onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> RewardReport {
    try translated {
      var (report, model) = try run("reward", DataFile.rows(rows), heldOut, settings, onEvent) {
        try RewardModel.train(
          $0, data: $1, heldOut: $2, settings: settings, output: $3, options: $4)
      }
      models.reward = model
      report.model = ""
      return report
    }
  }

  /// Trains with an online algorithm, one of Attune's or the app's own: the policy's answers are rewarded.
  ///
  /// - Parameters:
  ///   - algorithm: The algorithm: `GRPO.self`.
  ///   - prompts: What is answered.
  ///   - rewards: Where rewards come from; several are added up.
  ///   - settings: The knobs: `GRPOSettings()`.
  ///   - onEvent: Is told after each rollout, and what a person should know; it runs on the sessions'
  ///     thread.
  /// - Returns: What it came to. Its `model` is empty: the policy is in the session.
  /// - Throws: ``AttuneError`` that names the prompt, reward or setting at fault.
  @discardableResult
  public func train<Algorithm: OnlineAlgorithm>(
    _ algorithm: Algorithm.Type, on prompts: [Content], rewards: [SessionReward],
    with settings: Algorithm.Knobs, onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> OnlineReport {
    try train(
      algorithm, on: prompts.map { PromptRow($0) }, rewards: rewards, with: settings,
      onEvent: onEvent)
  }

  /// The same on rows of prompts, whose further columns reach every reward: right answers for a grader.
  @discardableResult
  public func train<Algorithm: OnlineAlgorithm>(
    _ algorithm: Algorithm.Type, on rows: [PromptRow], rewards: [SessionReward],
    with settings: Algorithm.Knobs, onEvent: (@Sendable (TrainingEvent) -> Void)? = nil
  ) throws(AttuneError) -> OnlineReport {
    let sources = try translated {
      try RewardSources(rewards, models).keeping(
        settings.rewards.constraints, on: models.start.engine, beside: models.start)
    }
    return try policy(
      "\(algorithm)", DataFile.rows(rows), [], settings, onEvent, \.model,
      marks: [sources.fingerprint]
    ) {
      try Algorithm.train(
        $0, data: $1, rewards: sources.weighted, rewardFingerprint: sources.fingerprint,
        watched: nil, settings: settings, output: $3, options: $4)
    }
  }

  /// A trainer: start, rows, held-out rows, folder, options.
  private typealias Trainer<Report> = (
    LoadedModel, DataFile, DataFile?, URL, RunOptions
  ) throws -> Report

  private func policy<Report>(
    _ name: String, _ rows: @autoclosure () throws -> DataFile, _ heldOut: [Example],
    _ settings: some Settings,
    _ onEvent: (@Sendable (TrainingEvent) -> Void)?,
    _ folder: WritableKeyPath<Report, String>, marks: [String] = [], _ train: Trainer<Report>
  ) throws(AttuneError) -> Report {
    try translated {
      var (report, model) = try run(
        name, rows(), heldOut, settings, onEvent, marks: marks, train)
      models.answer(with: model)
      report[keyPath: folder] = ""
      return report
    }
  }

  /// Trains in a folder that is the run's own, and opens what was trained beside the start.
  private func run<Report>(
    _ name: String, _ data: DataFile, _ heldOut: [Example], _ settings: some Settings,
    _ onEvent: (@Sendable (TrainingEvent) -> Void)?, marks: [String] = [],
    _ train: Trainer<Report>
  ) throws -> (Report, LoadedModel) {
    try settings.validate()
    let heldOut = heldOut.isEmpty ? nil : try DataFile.rows(heldOut)
    var options = RunOptions()
    options.progress = .silent
    options.onEvent = onEvent
    // Whatever decides the outcome decides the folder, so that the same call finds what it left.
    let digest = try Fingerprint.of(
      value: [
        name, try Fingerprint.of(value: settings), models.start.fingerprint,
        try Fingerprint.of(data: data), try heldOut.map { try Fingerprint.of(data: $0) } ?? "",
      ] + marks)
    let folder = try runs.folder(of: digest)
    let report: Report
    do {
      report = try options.inPart { try train(models.start, data, heldOut, folder, $0) }
    } catch let error where AttuneError(error).code != .cancelled {
      // Nothing there is of use to another call.
      try? FileManager.default.removeItem(at: folder)
      throw error
    }
    let model = try LoadedModel.open(folder.path, beside: models.start, rewardModels: true)
    try? FileManager.default.removeItem(at: folder)
    return (report, model)
  }
}
