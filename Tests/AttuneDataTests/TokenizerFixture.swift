// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

/// The tiny tokenizers of `Tests/Fixtures/tokenizers` (tiny_tokenizers.py and sentencepiece_tokenizers.py
/// of Scripts/fixtures).
struct TokenizerFixture {
  /// Byte by byte, then SentencePiece's.
  static let kinds = [
    "gpt2", "smollm", "llama3", "qwen2", "flags", "llama2", "metaspace", "gemma", "nobytes",
    "unigram", "spmodel",
  ]

  /// What Hugging Face's library made of the strings.
  struct Answers: Decodable {
    var parsed: [[Int32]]
    /// Absent where the library reads a control token from plain text, which Attune never does.
    var plain: [[Int32]?]
    var decoded: [String?]
  }

  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures/tokenizers")

  let folder: URL
  let strings: [String]
  let answers: Answers
  let tokenizer: Tokenizer

  init(_ kind: String) throws {
    folder = Self.root.appending(path: kind)
    strings = try JSONDecoder().decode(
      [String].self, from: Data(contentsOf: Self.root.appending(path: "strings.json")))
    answers = try JSONDecoder().decode(
      Answers.self, from: Data(contentsOf: folder.appending(path: "ids.json")))
    tokenizer = try Tokenizer.load(directory: folder)
  }

  /// The arrays that a GGUF file of this tokenizer would have.
  func gguf(pre: String) throws -> GGUFTokenizer {
    let tree = try JSONValue(
      parsing: String(contentsOf: folder.appending(path: "tokenizer.json"), encoding: .utf8))
    var tokens = [String](repeating: "", count: tokenizer.vocabularySize)
    var types = [Int32](repeating: 1, count: tokens.count)
    for field in tree["model"]?["vocab"]?.fields ?? [] {
      tokens[try #require(Int(field.value.text))] = field.key
    }
    for token in try elements(tree["added_tokens"]) {
      let id = try #require(Int(token["id"]?.text ?? ""))
      guard case .string(let content)? = token["content"] else { continue }
      tokens[id] = content
      types[id] = token["special"] == .bool(true) ? 3 : 4
    }
    let merges = try elements(tree["model"]?["merges"]).map { merge in
      try elements(merge).map { side in
        guard case .string(let text) = side else { throw DataError(.badTokenizer, "fixture") }
        return text
      }.joined(separator: " ")
    }
    return GGUFTokenizer(
      model: "gpt2", pre: pre, tokens: tokens, merges: merges, tokenTypes: types)
  }

  private func elements(_ value: JSONValue?) throws -> [JSONValue] {
    guard case .array(let values)? = value else { throw DataError(.badTokenizer, "fixture") }
    return values
  }
}

/// A new folder that is removed at the end of a test.
final class TokenizerFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "attune-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func write(_ text: String, as name: String) throws {
    try Data(text.utf8).write(to: url.appending(path: name))
  }
}

extension Tokenizer {
  /// Writes its files into a folder.
  func write(to folder: URL, chatTemplate: String?) throws {
    for (name, data) in files(chatTemplate: chatTemplate) {
      try data.write(to: folder.appending(path: name))
    }
  }
}
