// SPDX-License-Identifier: Apache-2.0

/// The knobs that say how the engine does its work: nothing that changes what is learned.
public struct EngineSettings: Codable, Sendable, Equatable {
  /// Tokens that are worked on at once; a larger batch is cut, with the same result.
  public var pieceTokens = 512
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false
  /// Megabytes in which the frozen layers' results may be kept for later epochs; nil where a trainer
  /// keeps none, and has no such knob.
  public var trunkMegabytes: Int?

  /// The defaults.
  public init() {}

  /// Every knob.
  ///
  /// - Parameters:
  ///   - parts: What a batch is cut between.
  ///   - keepsTrunks: Whether the frozen layers' results are kept.
  static func knobs(cutBetween parts: String, keepsTrunks: Bool = false) -> [Knob] {
    let own = [
      Knob(
        "piece_tokens",
        "Tokens that are worked on at once; a larger batch is cut between \(parts), with the same "
          + "result.", .whole(atLeast: 1)),
      Knob(
        "recompute",
        "Computes activations again instead of keeping them: less memory, a third more time.",
        .flag),
    ]
    guard keepsTrunks else { return own }
    return own + [
      Knob(
        "trunk_megabytes",
        "Megabytes in which the frozen layers' results may be kept for later epochs.",
        .whole(atLeast: 0))
    ]
  }
}
