// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine

/// A reward model's score as a reward: `model:DIR`, read after each answer's last token.
public struct ModelReward: RewardSource {
  /// `model:runs/reward`.
  public let name: String
  private let loaded: LoadedModel
  private let encoder: TextEncoder
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
  var fingerprint: String { loaded.fingerprint }

  /// Its lower layers where it was trained from that model and opened beside it.
  public func sharedLayers(with origin: String) -> Int? {
    loaded.origin == origin ? loaded.model.sharedLayers : nil
  }

  /// Mean and deviation of its rewards on what it was trained on.
  public var scale: RewardScale? { loaded.reward }

  /// The reward of every answer; where the pass is of this model's own origin, token ids are taken
  /// as they are and its trunk is reused.
  public func scores(
    prompts: [Content], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    if let shared, shared.origin == loaded.origin { return try scores(shared) }
    var groups: [EncodedGroup] = []
    var start = 0
    while start < completions.count {
      var end = start + 1
      while end < completions.count, prompts[end] == prompts[start] { end += 1 }
      let answers = completions[start..<end].map {
        (content: Content.text($0.text), ended: $0.endedByItself)
      }
      groups.append(try encoder.group(prompt: prompts[start], answers: answers, line: start + 1))
      start = end
    }
    return try SequenceScores.rewards(loaded.model, groups, pieceTokens: pieceTokens)
      .flatMap(\.self)
  }

  private func scores(_ shared: SharedPass) throws -> [Double] {
    let answers = Set(shared.answers)
    let trunk = shared.trunk.flatMap { loaded.model.accepts($0) ? $0 : nil }
    // Each prompt with its answers is a family; pieces are cut between families.
    var families: [[Int]] = []
    var family: [Int: Int] = [:]
    for (index, segment) in shared.segments.enumerated() {
      if let parent = segment.parent, let of = family[parent] {
        families[of].append(index)
        family[index] = of
      } else {
        family[index] = families.count
        families.append([index])
      }
    }
    var rewards: [Int: Double] = [:]
    let tokens = families.map { $0.reduce(0) { $0 + shared.segments[$1].ids.count } }
    for piece in cutIntoPieces(tokens, budget: pieceTokens) {
      let chosen = families[piece].flatMap(\.self)
      var places: [Int: Int] = [:]
      for (place, index) in chosen.enumerated() { places[index] = place }
      let segments = chosen.map { index in
        let segment = shared.segments[index]
        return Segment(
          segment.ids, parent: segment.parent.flatMap { places[$0] },
          scalarsAfter: answers.contains(index) ? [segment.ids.count - 1] : [])
      }
      let scores = try loaded.model.score(segments, trunk: trunk?.selecting(chosen))
      for (place, index) in chosen.enumerated() where answers.contains(index) {
        rewards[index] = scores.scalars[place][0]
      }
    }
    return shared.answers.map { rewards[$0] ?? .nan }
  }
}
