// SPDX-License-Identifier: Apache-2.0

/// Decodes tokens as they come, without printing half a character.
///
/// What ``append(_:)`` and ``finish()`` return, joined, is what ``Tokenizer``'s
/// `decode(_:skippingSpecialTokens:)` returns for all ids.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The first bytes of a character whose others have not come yet, at most three; of SentencePiece's
  /// tokens of bytes all that follow one another, since they are text only if all of them are.
  private var pending: [UInt8] = []
  /// What of the text's start is yet to be left out, and whether a token has come.
  private var stripped: ArraySlice<UInt8> = []
  private var isFirst = true

  /// Starts a text.
  ///
  /// - Parameters:
  ///   - tokenizer: Whose ids will come.
  ///   - skippingSpecialTokens: Whether control tokens are left out.
  public init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    self.skipsSpecialTokens = skippingSpecialTokens
    if case .pieces(let pieces) = tokenizer.tokenText { stripped = pieces.stripped[...] }
  }

  /// Takes the next id and returns the text that is complete by now; it may be empty.
  public mutating func append(_ id: Int32) -> String {
    if skipsSpecialTokens, tokenizer.isSpecial(id) { return "" }
    if case .pieces(let pieces) = tokenizer.tokenText { return append(id, pieces) }
    pending += tokenizer.bytes(of: id)
    let rest = Self.unfinished(pending)
    let text = String(decoding: pending.dropLast(rest), as: UTF8.self)
    pending = pending.suffix(rest)
    return text
  }

  /// Ends the text; bytes that never became a character are returned as U+FFFD.
  public mutating func finish() -> String {
    defer { pending = [] }
    if case .pieces = tokenizer.tokenText { return strip(ended()) }
    return String(decoding: pending, as: UTF8.self)
  }

  private mutating func append(_ id: Int32, _ pieces: PieceText) -> String {
    guard let token = tokenizer.decodedToken(of: id) else { return "" }
    defer { isFirst = false }
    if let byte = pieces.byte(token) {
      pending.append(byte)
      return ""
    }
    let before = ended()
    pending = []
    return strip(before + String(decoding: pieces.text(token, isFirst: isFirst), as: UTF8.self))
  }

  /// The text of tokens of bytes: a replacement character for each where they are not text together.
  private func ended() -> String {
    String(validating: pending, as: UTF8.self)
      ?? String(repeating: "\u{FFFD}", count: pending.count)
  }

  private mutating func strip(_ text: String) -> String {
    if stripped.isEmpty || text.isEmpty { return text }
    var bytes = Array(text.utf8)[...]
    while let first = stripped.first, bytes.first == first {
      bytes = bytes.dropFirst()
      stripped = stripped.dropFirst()
    }
    if !bytes.isEmpty { stripped = [] }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// How many bytes at the end may still become a character.
  private static func unfinished(_ bytes: [UInt8]) -> Int {
    for count in 1...3 where count <= bytes.count {
      let lead = bytes[bytes.count - count]
      if lead & 0xC0 == 0x80 { continue }
      let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1
      guard count < length, lead <= 0xF4 else { return 0 }
      if count > 1 {
        // Overlong forms, surrogates and what is beyond U+10FFFF never become a character.
        let second = bytes[bytes.count - count + 1]
        switch lead {
        case 0xE0 where second < 0xA0, 0xED where second > 0x9F, 0xF0 where second < 0x90,
          0xF4 where second > 0x8F:
          return 0
        default: break
        }
      }
      return count
    }
    return 0
  }
}
