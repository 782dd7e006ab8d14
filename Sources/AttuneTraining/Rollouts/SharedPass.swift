// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
public import AttuneEngine

/// The prompts and answers of a batch as the policy reads them, with hidden states that every
/// model made from the same weights can start from.
public struct SharedPass {
  /// The prompts, then their answers, each with its prompt as parent.
  public var segments: [Segment]
  /// For each answer, in the order of `completions`, its segment.
  public var answers: [Int]
  /// Hidden states of those segments below some layer, where the lower layers are frozen.
  public var trunk: (any Trunk)?
  /// The fingerprint of the model that trunk and policy were made from.
  public var origin: String

  /// Makes a pass.
  ///
  /// - Parameters:
  ///   - segments: The prompts, then their answers.
  ///   - answers: For each answer its segment.
  ///   - trunk: Hidden states of the segments.
  ///   - origin: The fingerprint of the model they were made from.
  public init(segments: [Segment], answers: [Int], trunk: (any Trunk)?, origin: String) {
    self.segments = segments
    self.answers = answers
    self.trunk = trunk
    self.origin = origin
  }
}

extension SharedPass {
  /// Megabytes that hidden states may take.
  private static let mostMegabytes = 1000.0

  /// The pass of all answers to some prompts, with the hidden states below the layers in which models of
  /// one origin differ.
  ///
  /// - Parameters:
  ///   - prompts: The prompts' tokens.
  ///   - answers: The tokens of each prompt's answers.
  ///   - loaded: The model that answered.
  ///   - layers: How many of its lower layers all who read the pass have in common with it; 0 for no
  ///     hidden states.
  ///   - pieceTokens: Tokens that are worked on at once.
  package init(
    prompts: [[Int32]], answers: [[[Int32]]], of loaded: LoadedModel, layers: Int, pieceTokens: Int
  ) throws {
    let made = AnswerSegments(prompts: prompts, answers: answers)
    self.init(
      segments: made.segments, answers: made.answers.flatMap(\.self), trunk: nil,
      origin: loaded.origin)
    let tokens = segments.reduce(0) { $0 + $1.ids.count }
    let megabytes = Double(tokens * loaded.model.spec.width) * 4 / 1_000_000
    // Of many ranks each would have those of its own pieces.
    guard layers > 0, !segments.isEmpty, megabytes <= Self.mostMegabytes, Collective.current.isAlone
    else { return }
    let trunks = try pieces(for: loaded.model, pieceTokens: pieceTokens).map { piece in
      try Interrupt.check()
      return try loaded.model.trunk(renumbered(piece), layers: layers)
    }
    trunk = try trunks.compactMap(\.self).joined()
  }

  /// Runs a model of the same origin over the pass, in pieces cut between prompts, and takes a value
  /// of each answer.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - request: What is wanted of scored tokens beside their log-probabilities.
  ///   - pieceTokens: Tokens that are worked on at once.
  ///   - asking: Puts into an answer's segment what is wanted of it.
  ///   - reading: Takes the value of the segment of that index from the scores.
  /// - Returns: One value an answer.
  package func values<Value: Codable>(
    _ model: any LanguageModel, _ request: HeadRequest = HeadRequest(), pieceTokens: Int,
    asking: (inout Segment) -> Void, reading: (HeadScores, Int) -> Value
  ) throws -> [Value] {
    try values(
      of: [model], pieceTokens: pieceTokens, asking: asking,
      running: { try model.score($0, request, trunk: $1) }, reading: reading)
  }

  /// The exact KL between two models over every answer: that of the next token's distributions, over
  /// the whole vocabulary, summed over the answer's positions.
  ///
  /// - Parameters:
  ///   - model: The model that answered.
  ///   - reference: The model that it is taken from.
  ///   - temperature: Of both.
  ///   - pieceTokens: Tokens that are worked on at once.
  /// - Returns: One value an answer.
  package func exactKL(
    of model: any LanguageModel, from reference: any LanguageModel, temperature: Double,
    pieceTokens: Int
  ) throws -> [Double] {
    try values(
      of: [model, reference], pieceTokens: pieceTokens, asking: { $0.scored = [0..<$0.ids.count] },
      running: {
        try Interrupt.check()
        return try model.klDivergence($0, to: reference, temperature: temperature, trunk: $1)
      }, reading: { $0[$1].reduce(0, +) })
  }

  private func values<Scores, Value: Codable>(
    of models: [any LanguageModel], pieceTokens: Int, asking: (inout Segment) -> Void,
    running: ([Segment], (any Trunk)?) throws -> Scores, reading: (Scores, Int) -> Value
  ) throws -> [Value] {
    let wanted = Set(answers)
    let trunk = trunk.flatMap { trunk in
      models.allSatisfy { $0.accepts(trunk) } ? trunk : nil
    }
    let pieces = pieces(for: models[0], pieceTokens: pieceTokens)
    let results = try Collective.current.map(pieces) { piece in
      var values: [Int: Value] = [:]
      var chosen = renumbered(piece)
      for (place, index) in piece.enumerated() where wanted.contains(index) {
        asking(&chosen[place])
      }
      let scores = try running(chosen, trunk?.selecting(piece))
      for (place, index) in piece.enumerated() where wanted.contains(index) {
        values[index] = reading(scores, place)
      }
      return values
    }
    let values = results.reduce(into: [:]) { $0.merge($1) { $1 } }
    return answers.compactMap { values[$0] }
  }

  /// Indices of segments that are worked on at once: each prompt stays with its answers.
  private func pieces(for model: any LanguageModel, pieceTokens: Int) -> [[Int]] {
    var families: [[Int]] = []
    var family: [Int: Int] = [:]
    for (index, segment) in segments.enumerated() {
      if let parent = segment.parent, let of = family[parent] {
        families[of].append(index)
        family[index] = of
      } else {
        family[index] = families.count
        families.append([index])
      }
    }
    let tokens = families.map { $0.reduce(0) { $0 + segments[$1].ids.count } }
    let openings = families.map { model.opening(of: segments[$0[0]].ids) }
    return cutIntoPieces(tokens, openings: openings, budget: pieceTokens)
      .map { families[$0].flatMap(\.self) }
  }

  /// Some segments on their own, without requests.
  private func renumbered(_ chosen: [Int]) -> [Segment] {
    var places: [Int: Int] = [:]
    for (place, index) in chosen.enumerated() { places[index] = place }
    return chosen.map { index in
      Segment(segments[index].ids, parent: segments[index].parent.flatMap { places[$0] })
    }
  }
}
