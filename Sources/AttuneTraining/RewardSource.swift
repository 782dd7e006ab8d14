// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine

/// An answer as a reward source sees it.
public struct Completion: Sendable, Equatable {
  /// The tokens as sampled, with the end-of-sequence token if it ended by itself.
  public var ids: [Int32]
  /// Its text, without special tokens.
  public var text: String
  /// Whether it ended by itself, and was not cut at the token limit.
  public var endedByItself: Bool

  /// Makes an answer.
  ///
  /// - Parameters:
  ///   - ids: The tokens as sampled.
  ///   - text: Its text.
  ///   - endedByItself: Whether it ended by itself.
  public init(ids: [Int32], text: String, endedByItself: Bool) {
    self.ids = ids
    self.text = text
    self.endedByItself = endedByItself
  }
}

/// The prompts and answers of a batch as the policy reads them, with hidden states that every
/// model made from the same weights can start from.
public struct SharedPass {
  /// The prompts, then their answers, each with its prompt as parent.
  public var segments: [Segment]
  /// For each answer, in the order of `completions`, its segment.
  public var answers: [Int]
  /// Hidden states of those segments below some layer, where the lower layers are frozen.
  public var trunk: Trunk?
  /// The fingerprint of the model that trunk and policy were made from.
  public var origin: String

  /// Makes a pass.
  ///
  /// - Parameters:
  ///   - segments: The prompts, then their answers.
  ///   - answers: For each answer its segment.
  ///   - trunk: Hidden states of the segments.
  ///   - origin: The fingerprint of the model they were made from.
  public init(segments: [Segment], answers: [Int], trunk: Trunk?, origin: String) {
    self.segments = segments
    self.answers = answers
    self.trunk = trunk
    self.origin = origin
  }
}

/// Where rewards come from: a reward model, a labeller, a rule, a program.
public protocol RewardSource {
  /// What it is called in reports: `model:runs/reward`, `labeller:concise`.
  var name: String { get }

  /// How many of its lower layers are those of the model with this fingerprint: a trunk of so many
  /// layers at most serves it too. Nil where it is no such model.
  func sharedLayers(with origin: String) -> Int?

  /// Mean and deviation of its rewards on answers of the start, if it knows them.
  var scale: RewardScale? { get }

  /// The reward of every answer, higher is better.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt.
  ///   - completions: The answers.
  ///   - shared: The same as tokens with shared hidden states; a source that doesn't need them, or
  ///     whose tokenizer or weights are others, takes the texts.
  /// - Returns: One finite number an answer.
  /// - Throws: An error that names the source, and the answer at fault if there is one.
  func scores(prompts: [Content], completions: [Completion], shared: SharedPass?) throws -> [Double]
}

extension RewardSource {
  /// Nil: it starts from the texts.
  public func sharedLayers(with origin: String) -> Int? { nil }

  /// Nil: they are taken from the first answers.
  public var scale: RewardScale? { nil }
}
