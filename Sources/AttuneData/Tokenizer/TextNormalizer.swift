// SPDX-License-Identifier: Apache-2.0

/// The `normalizer` section of `tokenizer.json`: nothing, Unicode's form C (Qwen), replacements of
/// texts or patterns, a text put in front (SentencePiece), or several of these one after another.
struct TextNormalizer: Sendable {
  private enum Step: Sendable {
    case compose
    case prepend(String)
    case replace(Pattern, by: [UInt8])
  }

  private let steps: [Step]

  /// Reads the section.
  ///
  /// - Throws: `DataError` that names a normalizer that is not read.
  init(_ section: JSONValue) throws { steps = try Self.steps(section) }

  private static func steps(_ section: JSONValue) throws -> [Step] {
    switch section["type"]?.asString {
    case nil where section == .null: return []
    case "NFC": return [.compose]
    case "Prepend":
      guard let text = section["prepend"]?.asString else {
        throw DataError(.badTokenizer, "normalizer “Prepend” has no text")
      }
      return [.prepend(text)]
    case "Sequence": return try (section["normalizers"]?.asArray ?? []).flatMap(steps)
    case "Replace":
      guard let content = section["content"]?.asString else {
        throw DataError(.badTokenizer, "normalizer “Replace” has no content")
      }
      let pattern = section["pattern"]
      if let literal = pattern?["String"]?.asString {
        guard !literal.isEmpty else { return [] }
        return [.replace(try Pattern(literal: literal), by: Array(content.utf8))]
      }
      guard let source = pattern?["Regex"]?.asString else {
        throw DataError(.badTokenizer, "normalizer “Replace” has neither a String nor a Regex")
      }
      return [.replace(try Pattern(source), by: Array(content.utf8))]
    case let type:
      throw DataError(
        .badTokenizer,
        "normalizer “\(type ?? "without a type")” is not read; NFC, Replace, Prepend and Sequence are"
      )
    }
  }

  /// Whether the text stays as it is for certain: composition changes nothing below U+0300.
  func leavesAlone(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    steps.allSatisfy { step in
      switch step {
      case .compose: text.allSatisfy { $0 < 0xCC }
      case .prepend: text.isEmpty
      case .replace: false
      }
    }
  }

  /// Normalises a text.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - continues: Whether it goes on from another, so that nothing is put in front.
  func normalize(_ text: String, continues: Bool = false) -> String {
    steps.reduce(text) { text, step in
      switch step {
      case .compose: CanonicalComposition.shared.normalize(text)
      case .prepend(let start): continues || text.isEmpty ? text : start + text
      case .replace(let pattern, let content): Self.replace(pattern, by: content, in: text)
      }
    }
  }

  func normalize(_ text: UnsafeBufferPointer<UInt8>, continues: Bool = false) -> [UInt8] {
    Array(normalize(String(decoding: text, as: UTF8.self), continues: continues).utf8)
  }

  private static func replace(_ pattern: Pattern, by content: [UInt8], in text: String) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var end = 0
    bytes.withUnsafeBufferPointer { buffer in
      pattern.matches(in: buffer, ranges: [0..<bytes.count]) { _, match in
        result += bytes[end..<match.lowerBound] + content
        end = match.upperBound
      }
    }
    return String(decoding: result + bytes[end...], as: UTF8.self)
  }
}
