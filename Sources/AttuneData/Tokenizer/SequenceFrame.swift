// SPDX-License-Identifier: Apache-2.0

/// The tokens that the `post_processor` section of `tokenizer.json` puts before a text. Those behind
/// it are read and left out: an answer ends where the model or the chat template ends it.
struct SequenceFrame: Sendable {
  private(set) var prefix: [Int32] = []

  /// Reads the section.
  ///
  /// - Throws: `DataError` that names a step that is not read.
  init(_ section: JSONValue, _ vocabulary: Vocabulary) throws {
    switch section["type"]?.asString {
    case nil where section == .null: return
    case "ByteLevel": return
    case "Sequence":
      for processor in section["processors"]?.asArray ?? [] {
        prefix = try SequenceFrame(processor, vocabulary).prefix + prefix
      }
    case "TemplateProcessing":
      var isAfter = false
      for item in section["single"]?.asArray ?? [] {
        if let name = item["SpecialToken"]?["id"]?.asString {
          let ids = try Self.ids(name, section, vocabulary)
          if !isAfter { prefix += ids }
        } else {
          isAfter = true
        }
      }
    case let type:
      throw DataError(
        .badTokenizer,
        "post_processor “\(type ?? "without a type")” is not read; ByteLevel and "
          + "TemplateProcessing are")
    }
  }

  private static func ids(
    _ name: String, _ section: JSONValue, _ vocabulary: Vocabulary
  ) throws -> [Int32] {
    let listed = section["special_tokens"]?[name]?["ids"]?.asArray?.compactMap(\.asInt)
    let ids =
      listed?.compactMap { Int32(exactly: $0) } ?? vocabulary.id(of: name).map { [$0] } ?? []
    guard !ids.isEmpty, ids.allSatisfy(vocabulary.contains) else {
      throw DataError(.badTokenizer, "post_processor names the unknown token “\(name)”")
    }
    return ids
  }
}
