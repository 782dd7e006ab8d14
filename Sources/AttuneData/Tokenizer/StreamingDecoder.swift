// SPDX-License-Identifier: Apache-2.0

/// Decodes tokens as they come, without printing half a character.
///
/// What ``append(_:)`` and ``finish()`` return, joined, is what ``Tokenizer``'s
/// `decode(_:skippingSpecialTokens:)` returns for all ids.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The first bytes of a character whose others have not come yet; at most three.
  private var pending: [UInt8] = []

  /// Starts a text.
  ///
  /// - Parameters:
  ///   - tokenizer: Whose ids will come.
  ///   - skippingSpecialTokens: Whether control tokens are left out.
  public init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    self.skipsSpecialTokens = skippingSpecialTokens
  }

  /// Takes the next id and returns the text that is complete by now; it may be empty.
  public mutating func append(_ id: Int32) -> String {
    if skipsSpecialTokens, tokenizer.isSpecial(id) { return "" }
    pending += tokenizer.bytes(of: id)
    let rest = Self.unfinished(pending)
    let text = String(decoding: pending.dropLast(rest), as: UTF8.self)
    pending = pending.suffix(rest)
    return text
  }

  /// Ends the text; bytes that never became a character are returned as U+FFFD.
  public mutating func finish() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
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
