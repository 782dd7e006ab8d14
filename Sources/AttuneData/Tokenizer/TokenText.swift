// SPDX-License-Identifier: Apache-2.0

/// How the texts of tokens become a text, as the `decoder` section of `tokenizer.json` says.
enum TokenText: Sendable {
  /// Tokens are written in the byte alphabet.
  case byteLevel
  /// Tokens are text, with a mark for a space: SentencePiece's.
  case pieces(PieceText)

  /// Reads the section.
  ///
  /// - Parameters:
  ///   - section: The decoder's section; null where the file has none.
  ///   - isByteLevel: Whether words are split into bytes, which such a decoder undoes.
  /// - Throws: `DataError` that names a step that is not read.
  init(_ section: JSONValue, isByteLevel: Bool) throws {
    if isByteLevel {
      guard section == .null || section["type"]?.asString == "ByteLevel" else {
        throw DataError(
          .badTokenizer,
          "the decoder is “\(section["type"]?.asString ?? "without a type")”, and pre_tokenizer is "
            + "ByteLevel; the two belong together")
      }
      self = .byteLevel
      return
    }
    guard section != .null else {
      throw DataError(
        .badTokenizer,
        "pre_tokenizer has no ByteLevel step, and there is no decoder; byte-level and SentencePiece "
          + "tokenizers are read")
    }
    self = .pieces(try PieceText(section))
  }
}

/// How SentencePiece's tokens become a text: marks become spaces, tokens of bytes the characters that they
/// are together, and a space in front of the whole goes.
struct PieceText: Sendable {
  /// What is replaced in a token's text.
  private(set) var replacements: [(text: [UInt8], by: [UInt8])] = []
  /// Whether `<0x0A>` stands for a byte.
  private(set) var fallsBackToBytes = false
  /// Characters that the whole text loses in front, if it begins with them.
  private(set) var stripped: [UInt8] = []
  /// A mark that the first token loses, and that is a space in others.
  private(set) var firstMark: [UInt8] = []

  /// Reads a `decoder` section.
  init(_ section: JSONValue) throws {
    var isFused = false
    for step in try Self.steps(section) {
      let type = step["type"]?.asString ?? "without a type"
      func refused(_ why: String) -> DataError {
        DataError(.badTokenizer, "decoder step “\(type)” \(why)")
      }
      switch type {
      case "Replace":
        guard let text = step["pattern"]?["String"]?.asString, !text.isEmpty,
          let content = step["content"]?.asString, !isFused, !fallsBackToBytes
        else { throw refused("is read with a String pattern, before all others") }
        replacements.append((Array(text.utf8), Array(content.utf8)))
      case "ByteFallback" where !isFused: fallsBackToBytes = true
      case "Fuse": isFused = true
      case "Metaspace" where !isFused && replacements.isEmpty:
        let mark = Array((step["replacement"]?.asString ?? "▁").utf8)
        replacements.append((mark, [0x20]))
        if try MetaspaceScheme(step) != .never { firstMark = mark }
      case "Strip":
        let (start, stop) = (step["start"]?.asInt ?? 0, step["stop"]?.asInt ?? 0)
        guard isFused, let content = step["content"]?.asString?.utf8, content.count == 1, stop == 0,
          (0...16).contains(start)
        else {
          throw refused("is read after Fuse, at the start of the text, of an ASCII character")
        }
        stripped = (0..<start).flatMap { _ in Array(content) }
      default:
        throw refused(
          "is not read; ByteLevel, and Replace, ByteFallback, Fuse, Strip and Metaspace in the "
            + "order of SentencePiece models are")
      }
    }
  }

  private static func steps(_ section: JSONValue) throws -> [JSONValue] {
    guard section["type"]?.asString == "Sequence" else { return [section] }
    return try (section["decoders"]?.asArray ?? []).flatMap { try steps($0) }
  }

  /// The byte that a token stands for, if it is one of those.
  func byte(_ token: String) -> UInt8? {
    guard fallsBackToBytes, token.utf8.count == 6, token.hasPrefix("<0x"), token.hasSuffix(">")
    else { return nil }
    return UInt8(token.dropFirst(3).dropLast(), radix: 16)
  }

  /// The text of a token.
  func text(_ token: String, isFirst: Bool = false) -> [UInt8] {
    var text = Array(token.utf8)
    if isFirst, !firstMark.isEmpty { text = Self.replace(firstMark, by: [], in: text) }
    for (old, new) in replacements { text = Self.replace(old, by: new, in: text) }
    return text
  }

  private static func replace(_ old: [UInt8], by new: [UInt8], in text: [UInt8]) -> [UInt8] {
    guard let first = old.first, text.contains(first) else { return text }
    var result: [UInt8] = []
    var position = 0
    while position < text.count {
      if text[position...].starts(with: old) {
        result += new
        position += old.count
      } else {
        result.append(text[position])
        position += 1
      }
    }
    return result
  }
}

/// When a mark is put before a text.
enum MetaspaceScheme: String {
  case always, never, first

  /// Reads `prepend_scheme`, or `add_prefix_space` of older files.
  init(_ section: JSONValue) throws {
    guard let name = section["prepend_scheme"]?.asString else {
      self = section["add_prefix_space"]?.asBool ?? true ? .always : .never
      return
    }
    guard let scheme = Self(rawValue: name) else {
      throw DataError(.badTokenizer, "Metaspace: prepend_scheme “\(name)” is not known")
    }
    self = scheme
  }
}
