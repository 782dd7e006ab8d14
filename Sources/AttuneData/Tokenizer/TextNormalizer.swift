// SPDX-License-Identifier: Apache-2.0

/// The `normalizer` section of `tokenizer.json`: nothing, or Unicode's form C (Qwen).
struct TextNormalizer: Sendable {
  private let composes: Bool

  /// Reads the section.
  ///
  /// - Throws: `DataError` that names a normalizer that is not read.
  init(_ section: JSONValue) throws {
    switch section["type"]?.asString {
    case nil where section == .null: composes = false
    case "NFC": composes = true
    case "Sequence":
      let steps = try (section["normalizers"]?.asArray ?? []).map { try TextNormalizer($0) }
      composes = steps.contains { $0.composes }
    case "Prepend", "Replace":
      throw DataError(
        .badTokenizer,
        "normalizer “\(section["type"]?.asString ?? "")”: SentencePiece models are not read yet")
    case let type:
      throw DataError(
        .badTokenizer, "normalizer “\(type ?? "without a type")” is not read; NFC is")
    }
  }

  /// Whether the text stays as it is for certain: composition changes nothing below U+0300.
  func leavesAlone(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    !composes || text.allSatisfy { $0 < 0xCC }
  }

  func normalize(_ text: String) -> String {
    composes ? CanonicalComposition.shared.normalize(text) : text
  }

  func normalize(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    Array(normalize(String(decoding: text, as: UTF8.self)).utf8)
  }
}
