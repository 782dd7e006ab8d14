// SPDX-License-Identifier: Apache-2.0

/// A part of a text that a chat template made, with where it came from.
///
/// Pieces keep the words of users and models apart from the template's own text, so that an answer
/// that contains `<|im_end|>` is encoded as ordinary text: only template pieces may hold control
/// tokens (``Tokenizer``'s `encode(_:)` of pieces).
public struct TemplatePiece: Sendable, Equatable {
  /// The text, as rendered.
  public var text: String
  /// Whether the text came from a message and not from the template.
  public var isData: Bool

  /// Makes a piece.
  ///
  /// - Parameters:
  ///   - text: The text, as rendered.
  ///   - isData: Whether it came from a message and not from the template.
  public init(text: String, isData: Bool) {
    self.text = text
    self.isData = isData
  }
}
