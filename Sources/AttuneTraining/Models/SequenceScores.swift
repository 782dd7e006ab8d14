// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneEngine

/// Passes over prompts and answers that need no gradient, cut into pieces that fit into memory.
package enum SequenceScores {
  /// An answer's numbers, one a scored token.
  package struct Tokens: Codable {
    package var logProbabilities: [Double]
    package var entropies: [Double]
    /// Log-probabilities at temperature 1, where they were asked for.
    package var untempered: [Double]

    package init(
      logProbabilities: [Double], entropies: [Double], untempered: [Double] = []
    ) {
      self.logProbabilities = logProbabilities
      self.entropies = entropies
      self.untempered = untempered
    }
  }

  /// The reward of every answer of every group.
  package static func rewards(
    _ model: any LanguageModel, _ groups: [EncodedGroup], pieceTokens: Int
  ) throws -> [[Double]] {
    try stepRewards(model, groups, pieceTokens: pieceTokens).map { $0.map { $0[0] } }
  }

  /// The rewards of every answer of every group, one a step; of answers without steps one.
  package static func stepRewards(
    _ model: any LanguageModel, _ groups: [EncodedGroup], pieceTokens: Int
  ) throws -> [[[Double]]] {
    try passes(
      model, groups, pieceTokens: pieceTokens,
      segments: { AnswerSegments($0, scored: false, rewards: true) },
      score: { try model.score($0).scalars })
  }

  /// The log-probabilities and entropies of every answer's scored tokens.
  package static func tokens(
    _ model: any LanguageModel, _ groups: [EncodedGroup], temperature: Double, pieceTokens: Int
  ) throws -> [[Tokens]] {
    let request = HeadRequest(temperature: temperature, entropy: true)
    return try passes(
      model, groups, pieceTokens: pieceTokens, segments: { AnswerSegments($0) },
      score: { segments in
        let scores = try model.score(segments, request)
        return zip(scores.logProbabilities, scores.entropies)
          .map { Tokens(logProbabilities: $0, entropies: $1) }
      })
  }

  private static func passes<Value: Codable>(
    _ model: any LanguageModel, _ groups: [EncodedGroup], pieceTokens: Int,
    segments make: (ArraySlice<EncodedGroup>) -> AnswerSegments,
    score: ([Segment]) throws -> [Value]
  ) throws -> [[Value]] {
    let pieces = cutIntoPieces(groups, for: model, budget: pieceTokens)
    return try Collective.current.map(pieces) { piece in
      try Interrupt.check()
      let made = make(groups[piece])
      let values = try score(made.segments)
      return made.answers.map { $0.map { values[$0] } }
    }.flatMap(\.self)
  }
}

extension Interrupt {
  /// Ends work that has nothing to save.
  ///
  /// - Throws: `TrainingError.interrupted` after Ctrl-C.
  package static func check() throws {
    guard isRequested else { return }
    throw TrainingError(
      .interrupted,
      "stopped; nothing was half written, and the same command goes on or begins again")
  }
}
