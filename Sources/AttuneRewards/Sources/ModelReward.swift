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
    /// Nothing of the answer as a whole: a step is given what it adds to how likely the last one is right, and the
    /// answer's end takes all of it back, which leaves the optimum as it is (Ng et al. 1999).
    case shaping

    /// How likely a step of that score is right.
    static func likelihood(of score: Double) -> Double { 1 / (1 + exp(-score)) }

    /// What an answer is worth after some of its steps, to which each of them adds.
    func potential(of scores: [Double]) -> Double {
      self == .shaping ? Self.last.value(of: scores) : value(of: scores)
    }

    /// One number of the scores of an answer's steps.
    func value(of scores: [Double]) -> Double {
      let likely = scores.map(Self.likelihood)
      return switch self {
      case .min: likely.min() ?? 0
      case .prod: likely.reduce(1, *)
      case .last: likely.last ?? 0
      case .mean: likely.reduce(0, +) / Double(Swift.max(1, likely.count))
      case .shaping: 0
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
    try said(prompts, completions, shared).map { steps?.rule.value(of: $0.scores) ?? $0.scores[0] }
  }

  /// What ended a step where it learned from steps.
  public var stepSeparator: String? { steps?.separator }

  /// σ of its score after each step.
  public func steps(prompts: [DataPrompt], completions: [Completion]) throws -> [[Double]]? {
    guard steps != nil else { return nil }
    return try said(prompts, completions, nil).map { $0.scores.map(Steps.likelihood) }
  }

  /// Whether it is read after every step.
  public var hasParts: Bool { steps != nil }

  /// Whether its parts add up to nothing.
  public var isShaping: Bool { steps?.rule == .shaping }

  /// What each step adds to the reward of the steps before it, at the step's last token; the first one's begins
  /// at 0, and what is more than the whole answer's is taken back at its end.
  public func parts(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [[Double]]? {
    guard let steps else { return nil }
    return try zip(completions, said(prompts, completions, shared)).map { completion, said in
      guard said.ids == completion.ids else {
        throw TrainingError(
          .badModel,
          "\(name): reads an answer in other tokens than the policy's, so its steps have no places there; set "
            + "step_rewards=false")
      }
      var parts = completion.ids.map { _ in 0.0 }
      var before = 0.0
      for (count, place) in places(said.ids).enumerated() {
        let now = steps.rule.potential(of: Array(said.scores[...count]))
        parts[place] += now - before
        before = now
      }
      parts[parts.count - 1] += steps.rule.value(of: said.scores) - before
      return parts
    }
  }

  /// The tokens after which an answer is scored.
  private func places(_ ids: [Int32]) -> [Int] {
    steps.map { encoder.stepEnds(of: ids, separator: $0.separator) } ?? [ids.count - 1]
  }

  /// The tokens of every answer, and the scores at their places.
  private func said(
    _ prompts: [DataPrompt], _ completions: [Completion], _ shared: SharedPass?
  ) throws -> [(ids: [Int32], scores: [Double])] {
    if let shared, shared.origin == loaded.origin {
      let scores = try shared.values(
        loaded.model, pieceTokens: pieceTokens,
        asking: { $0.scalarsAfter = places($0.ids) }, reading: { $0.scalars[$1] })
      return zip(shared.answers, scores).map { (shared.segments[$0].ids, $1) }
    }
    var groups = try encoder.groups(
      prompts: prompts, completions: completions, source: name, notice: notice)
    for (i, group) in groups.enumerated() {
      for j in group.answers.indices { groups[i].answers[j].steps = places(group.answers[j].ids) }
    }
    let scores = try SequenceScores.stepRewards(loaded.model, groups, pieceTokens: pieceTokens)
    return zip(groups.flatMap(\.answers), scores.flatMap(\.self)).map { ($0.ids, $1) }
  }
}

extension LoadedModel {
  /// How many lower layers it shares with all models of that origin; nil where it shares none.
  func sharedLayers(with origin: String) -> Int? {
    self.origin == origin && model.sharedLayers > 0 ? model.sharedLayers : nil
  }
}
