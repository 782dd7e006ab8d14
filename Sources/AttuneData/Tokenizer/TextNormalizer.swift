// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The `normalizer` section of `tokenizer.json`: nothing, or Unicode's form C (Qwen).
struct TextNormalizer: Sendable {
  private let composes: Bool

  /// Reads the section.
  ///
  /// - Throws: `DataError` that names a normalizer that is not read.
  init(_ section: JSONTree) throws {
    switch section["type"]?.string {
    case nil where section.isNull: composes = false
    case "NFC": composes = true
    case "Sequence":
      let steps = try (section["normalizers"]?.array ?? []).map { try TextNormalizer($0) }
      composes = steps.contains { $0.composes }
    case "Prepend", "Replace":
      throw DataError(
        .badTokenizer,
        "normalizer “\(section["type"]?.string ?? "")”: SentencePiece models are not read yet")
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
    composes ? text.precomposedStringWithCanonicalMapping : text
  }

  func normalize(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    Array(normalize(String(decoding: text, as: UTF8.self)).utf8)
  }
}
