// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
public import AttuneTraining
import Foundation

/// A reward model's score as a reward: `model:DIR`, read after each answer's last token; `model:DIR:min`, a process
/// reward model's, read after each step.
public struct ModelReward: RewardSource {
  /// How what a process reward model says of an answer's steps becomes one number: of σ(score), how likely each
  /// step is right.
  public enum Steps: String, Sendable, CaseIterable {
    /// The least likely step decides.
    case min
    /// The product: how likely all are right, were they independent.
    case prod
    /// The last step.
    case last
    /// The mean.
    case mean

    /// One number of the scores of an answer's steps.
    func value(of scores: [Double]) -> Double {
      let likely = scores.map { 1 / (1 + exp(-$0)) }
      return switch self {
      case .min: likely.min() ?? 0
      case .prod: likely.reduce(1, *)
      case .last: likely.last ?? 0
      case .mean: likely.reduce(0, +) / Double(Swift.max(1, likely.count))
      }
    }
  }

  /// `model:runs/reward`.
  public let name: String
  private let loaded: LoadedModel
  private let encoder: TextEncoder
  private let notice = CutNotice()
  private let pieceTokens: Int
  private let steps: (rule: Steps, separator: String)?

  /// Makes a source of a reward model.
  ///
  /// - Parameters:
  ///   - loaded: A model with a scalar head.
  ///   - steps: How its scores of an answer's steps become one number; nil: it is read after the last token.
  ///   - name: What it is called in reports; `model:` and its folder unless given.
  ///   - pieceTokens: Tokens that are worked on at once.
  /// - Throws: `TrainingError.badModel` if it has no scalar head, or did not learn from steps.
  public init(
    _ loaded: LoadedModel, steps: Steps? = nil, name: String? = nil, pieceTokens: Int = 2048
  ) throws {
    guard loaded.model.hasScalarHead else {
      throw TrainingError(
        .badModel, "\(loaded.name): is no reward model (it has no scalar head score.weight)")
    }
    self.name = name ?? "model:\(loaded.name)" + (steps.map { ":\($0.rawValue)" } ?? "")
    self.loaded = loaded
    self.pieceTokens = pieceTokens
    self.steps = try steps.map { rule in
      guard let separator = loaded.reward?.stepSeparator else {
        throw TrainingError(
          .badModel,
          "\(loaded.name): did not learn from steps, so what it says inside an answer means nothing; leave out "
            + ":\(rule.rawValue), or train one on rows of steps (attune reward)")
      }
      return (rule, separator)
    }
    encoder = try TextEncoder(loaded)
  }

  /// The folder that an argument names, and how steps become one number, if it says so.
  static func parts(_ argument: String) -> (folder: String, steps: Steps?) {
    guard let colon = argument.lastIndex(of: ":"),
      let steps = Steps(rawValue: String(argument[argument.index(after: colon)...]))
    else { return (argument, nil) }
    return (String(argument[..<colon]), steps)
  }

  /// The model's fingerprint.
  package var fingerprint: String {
    loaded.fingerprint + (steps.map { " \($0.rule.rawValue)" } ?? "")
  }

  /// Its lower layers where it was trained from that model and opened beside it.
  public func sharedLayers(with origin: String) -> Int? { loaded.sharedLayers(with: origin) }

  /// Mean and deviation of its rewards on what it was trained on; nil of steps, whose number is another.
  public var scale: RewardScale? { steps == nil ? loaded.reward : nil }

  /// The reward of every answer; where the pass is of this model's own origin, its trunk is reused.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    func places(_ ids: [Int32]) -> [Int] {
      steps.map { encoder.stepEnds(of: ids, separator: $0.separator) } ?? [ids.count - 1]
    }
    func value(_ scores: [Double]) -> Double { steps?.rule.value(of: scores) ?? scores[0] }
    if let shared, shared.origin == loaded.origin {
      return try shared.values(
        loaded.model, pieceTokens: pieceTokens,
        asking: { $0.scalarsAfter = places($0.ids) }, reading: { value($0.scalars[$1]) })
    }
    var groups = try encoder.groups(
      prompts: prompts, completions: completions, source: name, notice: notice)
    if steps != nil {
      for (i, group) in groups.enumerated() {
        for j in group.answers.indices { groups[i].answers[j].steps = places(group.answers[j].ids) }
      }
    }
    return try SequenceScores.stepRewards(loaded.model, groups, pieceTokens: pieceTokens)
      .flatMap { $0.map(value) }
  }
}

extension LoadedModel {
  /// How many lower layers it shares with all models of that origin; nil where it shares none.
  func sharedLayers(with origin: String) -> Int? {
    self.origin == origin && model.sharedLayers > 0 ? model.sharedLayers : nil
  }
}
