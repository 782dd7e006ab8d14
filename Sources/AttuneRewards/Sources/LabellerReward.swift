// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneTraining

/// A labeller's score as a reward: `labeller:NAME`.
public struct LabellerReward: RewardSource {
  /// `labeller:concise`.
  public var name: String { "labeller:\(scorer.labeller.rawValue)" }
  private let scorer: Labeller.Scorer

  /// Makes a source of a labeller that is ready.
  public init(_ scorer: Labeller.Scorer) { self.scorer = scorer }

  /// The labeller's score of every answer.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    zip(prompts, completions).map {
      scorer.score(
        prompt: $0.content.lastText, completion: $1.text, endedByItself: $1.endedByItself)
    }
  }
}

extension Labeller {
  /// Finds a labeller.
  ///
  /// - Parameter name: Its name.
  /// - Throws: `TrainingError.badSetting` that lists the names.
  public static func named(_ name: String) throws -> Labeller {
    if let labeller = Labeller(rawValue: name) { return labeller }
    throw TrainingError(
      .badSetting,
      "there is no labeller \(name)\(hint(for: name, among: allCases.map(\.rawValue)))")
  }
}
