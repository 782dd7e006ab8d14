// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

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

extension SharedPass {
  /// Runs a model of the same origin over the pass, in pieces cut between prompts, and takes a value
  /// of each answer.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - pieceTokens: Tokens that are worked on at once.
  ///   - asking: Puts into an answer's segment what is wanted of it.
  ///   - reading: Takes the value of the segment of that index from the scores.
  /// - Returns: One value an answer.
  func values<Value>(
    _ model: LanguageModel, pieceTokens: Int, asking: (inout Segment) -> Void,
    reading: (HeadScores, Int) -> Value
  ) throws -> [Value] {
    let wanted = Set(answers)
    let trunk = trunk.flatMap { model.accepts($0) ? $0 : nil }
    // Each prompt with its answers is a family; pieces are cut between families.
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
    var values: [Int: Value] = [:]
    let tokens = families.map { $0.reduce(0) { $0 + segments[$1].ids.count } }
    for piece in cutIntoPieces(tokens, budget: pieceTokens) {
      let chosen = families[piece].flatMap(\.self)
      var places: [Int: Int] = [:]
      for (place, index) in chosen.enumerated() { places[index] = place }
      let chosenSegments = chosen.map { index in
        var segment = Segment(
          segments[index].ids, parent: segments[index].parent.flatMap { places[$0] })
        if wanted.contains(index) { asking(&segment) }
        return segment
      }
      let scores = try model.score(chosenSegments, trunk: trunk?.selecting(chosen))
      for (place, index) in chosen.enumerated() where wanted.contains(index) {
        values[index] = reading(scores, place)
      }
    }
    return answers.compactMap { values[$0] }
  }
}
