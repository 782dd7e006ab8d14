// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
public import AttuneTraining

/// A reward model's score as a reward: `model:DIR`, read after each answer's last token.
public struct ModelReward: RewardSource {
  /// `model:runs/reward`.
  public let name: String
  private let loaded: LoadedModel
  private let encoder: TextEncoder
  private let notice = CutNotice()
  private let pieceTokens: Int

  /// Makes a source of a reward model.
  ///
  /// - Parameters:
  ///   - loaded: A model with a scalar head.
  ///   - name: What it is called in reports; `model:` and its folder unless given.
  ///   - pieceTokens: Tokens that are worked on at once.
  /// - Throws: `TrainingError.badModel` if it has no scalar head.
  public init(_ loaded: LoadedModel, name: String? = nil, pieceTokens: Int = 2048) throws {
    guard loaded.model.hasScalarHead else {
      throw TrainingError(
        .badModel, "\(loaded.name): is no reward model (it has no scalar head score.weight)")
    }
    self.name = name ?? "model:\(loaded.name)"
    self.loaded = loaded
    self.pieceTokens = pieceTokens
    encoder = try TextEncoder(loaded)
  }

  /// The model's fingerprint.
  package var fingerprint: String { loaded.fingerprint }

  /// Its lower layers where it was trained from that model and opened beside it.
  public func sharedLayers(with origin: String) -> Int? { loaded.sharedLayers(with: origin) }

  /// Mean and deviation of its rewards on what it was trained on.
  public var scale: RewardScale? { loaded.reward }

  /// The reward of every answer; where the pass is of this model's own origin, its trunk is reused.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    if let shared, shared.origin == loaded.origin {
      return try shared.values(
        loaded.model, pieceTokens: pieceTokens,
        asking: { $0.scalarsAfter = [$0.ids.count - 1] }, reading: { $0.scalars[$1][0] })
    }
    let groups = try encoder.groups(
      prompts: prompts, completions: completions, source: name, notice: notice)
    return try SequenceScores.rewards(loaded.model, groups, pieceTokens: pieceTokens)
      .flatMap(\.self)
  }
}

extension LoadedModel {
  /// How many lower layers it shares with all models of that origin; nil where it shares none.
  func sharedLayers(with origin: String) -> Int? {
    self.origin == origin && model.sharedLayers > 0 ? model.sharedLayers : nil
  }
}
