// SPDX-License-Identifier: Apache-2.0

/// The knobs that say how the engine does its work: nothing that changes what is learned.
public struct EngineSettings: Codable, Sendable, Equatable {
  /// Tokens that are worked on at once; a larger batch is cut, with the same result.
  public var pieceTokens = 512
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false

  /// The defaults.
  public init() {}

  /// Every knob.
  ///
  /// - Parameter parts: What a batch is cut between.
  static func knobs(cutBetween parts: String) -> [Knob] {
    [
      Knob(
        "piece_tokens",
        "Tokens that are worked on at once; a larger batch is cut between \(parts), with the same "
          + "result.", .whole(atLeast: 1)),
      Knob(
        "recompute",
        "Computes activations again instead of keeping them: less memory, a third more time.",
        .flag),
    ]
  }
}
