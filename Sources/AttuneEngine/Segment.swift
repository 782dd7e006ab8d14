// SPDX-License-Identifier: Apache-2.0

/// A run of tokens to be scored, which may continue another one.
///
/// Answers to one prompt share its pass: the prompt is a segment, each answer a segment whose
/// parent it is. A conversation of many turns is one segment with several scored ranges.
public struct Segment: Sendable, Equatable {
  /// Token ids.
  public var ids: [Int32]
  /// The earlier segment of the list whose tokens (with those of its own parents) this one continues.
  public var parent: Int?
  /// Tokens whose log-probability, given all tokens before them, is wanted: indices into `ids`.
  /// Index 0 needs a parent.
  public var scored: [Range<Int>]
  /// Tokens after which the scalar head is read: indices into `ids`, −1 for the parent's last token.
  /// The reward of an answer is read after its last token, the value of the state in which token t
  /// is chosen after token t − 1.
  public var scalarsAfter: [Int]

  /// Makes a segment.
  ///
  /// - Parameters:
  ///   - ids: Token ids.
  ///   - parent: The earlier segment that this one continues.
  ///   - scored: Ranges of tokens whose log-probability is wanted.
  ///   - scalarsAfter: Tokens after which the scalar head is read.
  public init(
    _ ids: [Int32], parent: Int? = nil, scored: [Range<Int>] = [], scalarsAfter: [Int] = []
  ) {
    self.ids = ids
    self.parent = parent
    self.scored = scored
    self.scalarsAfter = scalarsAfter
  }
}

extension Segment {
  /// Openings that are shorter are read with the rest: they are not worth a place of their own.
  private static var leastOpening: Int { 8 }

  /// How many first tokens of a text are its opening, which texts of a pass that begin with it have in common:
  /// all that stands before its last turn, a system prompt and earlier turns.
  ///
  /// - Parameters:
  ///   - ids: The text.
  ///   - turn: The tokens that a chat template puts before what is asked.
  /// - Returns: 0 where it has no turn, or little before it.
  package static func opening(of ids: [Int32], turn: [Int32]) -> Int {
    guard let first = turn.first else { return 0 }
    var start = ids.count - turn.count - 1
    while start + turn.count >= leastOpening, start >= 0 {
      if ids[start] == first, ids[start..<start + turn.count].elementsEqual(turn) {
        return start + turn.count
      }
      start -= 1
    }
    return 0
  }
}

extension LanguageModel {
  /// What a text begins with that others may begin with too.
  package func opening(of ids: [Int32]) -> ArraySlice<Int32> {
    ids[..<Segment.opening(of: ids, turn: turnOpening)]
  }
}

/// What the head is asked for beside the log-probabilities.
public struct HeadRequest: Sendable, Equatable {
  /// The sampling temperature that logits are divided by; above 0.
  public var temperature: Double
  /// Whether the entropy of each scored position is wanted, in nats.
  public var entropy: Bool
  /// Whether log-probabilities at temperature 1 are wanted too; scoring alone gives them.
  public var untempered: Bool
  /// Ids whose log-probabilities are wanted at every scored position (a judge's letters).
  public var candidates: [Int32]

  /// Makes a request.
  ///
  /// - Parameters:
  ///   - temperature: The sampling temperature.
  ///   - entropy: Whether entropies are wanted.
  ///   - untempered: Whether log-probabilities at temperature 1 are wanted too.
  ///   - candidates: Ids scored at every position.
  public init(
    temperature: Double = 1, entropy: Bool = false, untempered: Bool = false,
    candidates: [Int32] = []
  ) {
    self.temperature = temperature
    self.entropy = entropy
    self.untempered = untempered
    self.candidates = candidates
  }
}

/// The teacher's side of a pass that is held against its next-token distributions.
public struct TeacherRequest {
  /// The teacher: of the same engine, its tokens those of the model that is taught; it may have more of
  /// them, which are left out.
  public var model: any LanguageModel
  /// The same answers behind prompts of its own, scored at the same positions.
  public var segments: [Segment]
  /// Hidden states of its segments below a layer that it shares.
  public var trunk: (any Trunk)?
  /// β of the generalised Jensen–Shannon divergence β·KL(T ‖ m) + (1 − β)·KL(π ‖ m) with
  /// m = β·T + (1 − β)·π; 0 is KL(T ‖ π), 1 is KL(π ‖ T) (Agarwal et al. 2024, arXiv:2306.13649).
  public var mix: Double
  /// Of both distributions; above 0.
  public var temperature: Double

  /// Makes a request.
  ///
  /// - Parameters:
  ///   - model: The teacher.
  ///   - segments: Its side of the batch.
  ///   - mix: β of the divergence, from 0 to 1.
  ///   - temperature: Of both distributions.
  public init(
    _ model: any LanguageModel, _ segments: [Segment], mix: Double, temperature: Double = 1
  ) {
    self.model = model
    self.segments = segments
    self.mix = mix
    self.temperature = temperature
  }
}

/// What objectives see of a model.
public struct HeadScores: Sendable, Equatable {
  /// For each segment the log-probabilities of its scored tokens, ranges joined, in nats.
  public var logProbabilities: [[Double]]
  /// For each segment the entropies at its scored tokens, in nats; empty arrays unless asked for.
  public var entropies: [[Double]]
  /// The same as `logProbabilities` at temperature 1; empty arrays unless asked for.
  public var untempered: [[Double]]
  /// For each segment the scalar head's values after `scalarsAfter`.
  public var scalars: [[Double]]
  /// For each segment and scored token the log-probabilities of the candidate ids.
  public var candidates: [[[Double]]]

  /// Makes scores.
  ///
  /// - Parameters:
  ///   - logProbabilities: A list a segment.
  ///   - entropies: A list a segment.
  ///   - untempered: A list a segment.
  ///   - scalars: A list a segment.
  ///   - candidates: A list a segment of a list a position.
  public init(
    logProbabilities: [[Double]], entropies: [[Double]] = [], untempered: [[Double]] = [],
    scalars: [[Double]] = [], candidates: [[[Double]]] = []
  ) {
    self.logProbabilities = logProbabilities
    self.entropies = entropies
    self.untempered = untempered
    self.scalars = scalars
    self.candidates = candidates
  }
}

/// What objectives give back: the gradient of the loss on each head score.
public struct HeadGradients: Sendable, Equatable {
  /// Shaped as the scores' log-probabilities; empty: all zero.
  public var logProbabilities: [[Double]]
  /// Shaped as the scores' entropies; empty: all zero.
  public var entropies: [[Double]]
  /// Shaped as the scores' scalars; empty: all zero.
  public var scalars: [[Double]]

  /// Makes gradients.
  ///
  /// - Parameters:
  ///   - logProbabilities: A list a segment.
  ///   - entropies: A list a segment.
  ///   - scalars: A list a segment.
  public init(
    logProbabilities: [[Double]] = [], entropies: [[Double]] = [], scalars: [[Double]] = []
  ) {
    self.logProbabilities = logProbabilities
    self.entropies = entropies
    self.scalars = scalars
  }
}
