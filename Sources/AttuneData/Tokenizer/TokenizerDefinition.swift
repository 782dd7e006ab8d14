// SPDX-License-Identifier: Apache-2.0

/// What a tokenizer is made of, wherever it was read; the sections are those of `tokenizer.json`.
struct TokenizerDefinition: Sendable {
  /// The file, for errors.
  var source: String
  /// Tokens of the model with their ids.
  var tokens: [(text: String, id: Int)] = []
  /// How a word's tokens are found.
  var model = Model.bytePairs
  /// Whether a character without a token is the tokens of its bytes, `<0xE2>`.
  var fallsBackToBytes = false
  /// Pairs in order of rank.
  var merges: [(left: String, right: String)] = []
  /// Tokens that are found before words are split.
  var addedTokens: [AddedToken] = []
  var unknownToken: String?
  var joinsUnknown = false
  var ignoresMerges = false
  var normalizer = JSONValue.null
  var preTokenizer = JSONValue.null
  var postProcessor = JSONValue.null
  var decoder = JSONValue.null
  /// Special tokens by role: `bos_token`, `eos_token`, `unk_token`, `pad_token`.
  var roles: [Role: String] = [:]
  /// `tokenizer_config.json`.
  var configuration = JSONValue.object([])
  var chatTemplate: String?

  /// How a word's tokens are found.
  enum Model: Sendable {
    /// By merges in order of rank.
    case bytePairs
    /// By the greatest sum of the tokens' scores (SentencePiece's unigram model).
    case unigram(scores: [Int: Double])
  }

  /// What a special token is for.
  enum Role: String, CaseIterable, Sendable {
    case begin = "bos_token"
    case end = "eos_token"
    case unknown = "unk_token"
    case padding = "pad_token"
  }

  /// The decoder of every byte-level tokenizer.
  static let byteLevel = JSONValue.object(
    ("type", .string("ByteLevel")), ("add_prefix_space", .bool(false)),
    ("trim_offsets", .bool(true)), ("use_regex", .bool(true)))

  /// An error about this tokenizer.
  func failure(_ what: String) -> DataError { DataError(.badTokenizer, "\(source): \(what)") }
}
