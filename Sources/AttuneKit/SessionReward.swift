// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneRewards
import AttuneTraining

/// Where a session's rewards come from.
public struct SessionReward: Sendable {
  /// What it is called in reports; another name is another reward to a run that is gone on with.
  public let name: String
  /// What it is multiplied by where several are added up.
  public let weight: Double
  fileprivate let open: @Sendable (SessionModels) throws -> RewardSources

  /// The session's own reward model (`session.train` with `RewardModelSettings`).
  ///
  /// - Parameter weight: What it is multiplied by where several are added up.
  public static func trained(weight: Double = 1) -> SessionReward {
    SessionReward(name: "model", weight: weight) { models in
      guard let model = models.reward else {
        throw TrainingError(
          .badModel, "the session has no reward model yet: train one with RewardModelSettings")
      }
      let source = try ModelReward(model, name: "model")
      return RewardSources(weighted: [(source, weight)], fingerprint: model.fingerprint)
    }
  }

  /// A source as the command line names it: `length:20-40`, `model:DIR`, `exec:COMMAND`.
  ///
  /// - Parameter text: `KIND:ARGUMENT`, with `@WEIGHT` behind it.
  /// - Throws: ``AttuneError`` that says what is wrong with it.
  public static func source(_ text: String) throws(AttuneError) -> SessionReward {
    let specification = try translated { try RewardSpecification(text) }
    return SessionReward(name: specification.name, weight: specification.weight) { models in
      try RewardSources([specification], on: models.start.engine, beside: models.start)
    }
  }

  /// A function of the app's.
  ///
  /// - Parameters:
  ///   - name: What it is called; change it with what the function computes.
  ///   - weight: What it is multiplied by where several are added up.
  ///   - reward: The reward of an answer's text, finite; the higher the better. It runs on the sessions'
  ///     thread.
  public static func function(
    _ name: String, weight: Double = 1,
    _ reward: @escaping @Sendable (_ prompt: Content, _ answer: String) throws -> Double
  ) -> SessionReward {
    function(name, weight, readsRows: false) { try reward($0.prompt, $1) }
  }

  /// A function of the app's that reads more of a row than its prompt: a right answer, tests.
  ///
  /// - Parameters:
  ///   - name: What it is called; change it with what the function computes.
  ///   - weight: What it is multiplied by where several are added up.
  ///   - reward: The reward of an answer's text to a row, finite; the higher the better. It runs on the
  ///     sessions' thread.
  public static func grader(
    _ name: String, weight: Double = 1,
    _ reward: @escaping @Sendable (_ row: PromptRow, _ answer: String) throws -> Double
  ) -> SessionReward {
    function(name, weight, readsRows: true, reward)
  }

  private static func function(
    _ name: String, _ weight: Double, readsRows: Bool,
    _ reward: @escaping @Sendable (PromptRow, String) throws -> Double
  ) -> SessionReward {
    SessionReward(name: name, weight: weight) { _ in
      let source = FunctionReward(name: name, readsRows: readsRows, reward: reward)
      return RewardSources(weighted: [(source, weight)], fingerprint: name)
    }
  }
}

private struct FunctionReward: RewardSource {
  let name: String
  let readsRows: Bool
  let reward: @Sendable (PromptRow, String) throws -> Double

  func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    try zip(prompts, completions).map { prompt, completion in
      let fields = prompt.row?.json.fields.filter { $0.key != "prompt" } ?? []
      return try reward(PromptRow(prompt.content, fields: fields), completion.text)
    }
  }
}

extension RewardSources {
  /// Opens a session's rewards.
  init(_ rewards: [SessionReward], _ models: SessionModels) throws {
    let opened = try rewards.map { try $0.open(models) }
    let names = opened.flatMap { $0.weighted.map(\.source.name) }
    guard !names.isEmpty else { throw TrainingError(.badSetting, "there is no reward; give one") }
    guard Set(names).count == names.count else {
      throw TrainingError(.badSetting, "a reward is given twice; give it one weight")
    }
    if let wrong = rewards.first(where: { !$0.weight.isFinite }) {
      throw TrainingError(.badSetting, "reward \(wrong.name): its weight is no finite number")
    }
    self.init(
      weighted: opened.flatMap(\.weighted),
      fingerprint: try Fingerprint.of(
        value: zip(opened, rewards).map { "\($0.fingerprint) \($1.weight)" }))
  }
}
