// SPDX-License-Identifier: Apache-2.0

/// Finds the tokens of a word, by either model of `tokenizer.json`.
enum WordEncoder: Sendable {
  case bytePairs(BytePairEncoder)
  case unigram(UnigramEncoder)

  /// Appends the tokens of one word.
  func encode(_ word: UnsafeBufferPointer<UInt8>, into ids: inout [Int32]) {
    switch self {
    case .bytePairs(let encoder): encoder.encode(word, into: &ids)
    case .unigram(let encoder): encoder.encode(word, into: &ids)
    }
  }

  /// Makes the encoder of a definition.
  ///
  /// - Throws: `DataError` that says what the vocabulary lacks.
  init(
    _ definition: TokenizerDefinition, _ vocabulary: Vocabulary, _ merges: [BytePairEncoder.Merge],
    _ text: TokenText
  ) throws {
    var unknown: Int32?
    if let token = definition.unknownToken {
      unknown = vocabulary.id(of: token)
      if unknown == nil {
        throw definition.failure("the unknown token “\(token)” is not in the vocabulary")
      }
    }
    let bytes = Self.byteTokens(definition, vocabulary, text)
    if case .unigram(let scores) = definition.model {
      guard case .pieces = text else {
        throw definition.failure("the model is Unigram, and words are split into bytes (ByteLevel)")
      }
      self = .unigram(UnigramEncoder(vocabulary, scores, bytes: bytes, unknown: unknown))
      return
    }
    if merges.isEmpty {
      let long = vocabulary.tokens.indices.first {
        vocabulary.kinds[$0] == .model && !Self.isOne(vocabulary.tokens[$0], text)
      }
      if let long {
        throw definition.failure(
          "there are no merges, and tokens such as “\(vocabulary.tokens[long])” need them; "
            + "get the tokenizer files again")
      }
    }
    let alphabet: BytePairEncoder.Alphabet
    switch text {
    case .byteLevel:
      guard bytes.contains(where: { $0 >= 0 }) else {
        throw definition.failure(
          "no token stands for a byte: this is not a byte-level vocabulary, though pre_tokenizer "
            + "is ByteLevel")
      }
      guard !definition.fallsBackToBytes || bytes.allSatisfy({ $0 >= 0 }) else {
        throw definition.failure(
          "byte_fallback is on, pre_tokenizer is ByteLevel and some bytes have no token, which is not "
            + "read")
      }
      alphabet = .bytes(bytes)
    case .pieces:
      alphabet = .characters(Self.characters(vocabulary), bytes: bytes)
    }
    var wholeWords: [[UInt8]: Int32] = [:]
    if definition.ignoresMerges {
      for id in vocabulary.tokens.indices where vocabulary.isInModel[id] {
        if let bytes = Self.spelled(vocabulary.tokens[id], text) { wholeWords[bytes] = Int32(id) }
      }
    }
    self = .bytePairs(
      BytePairEncoder(
        alphabet, merges: merges, wholeWords: wholeWords, unknown: unknown,
        joinsUnknown: definition.joinsUnknown))
  }

  /// The token of each byte, −1 where there is none.
  private static func byteTokens(
    _ definition: TokenizerDefinition, _ vocabulary: Vocabulary, _ text: TokenText
  ) -> [Int32] {
    (0..<256).map { byte in
      let token: String
      switch text {
      case .byteLevel: token = ByteAlphabet.token(of: [UInt8(byte)])
      case .pieces where definition.fallsBackToBytes:
        let digits = String(byte, radix: 16, uppercase: true)
        token = "<0x" + (digits.count < 2 ? "0" : "") + digits + ">"
      case .pieces: return -1
      }
      guard let id = vocabulary.id(of: token), vocabulary.isInModel[Int(id)] else { return -1 }
      return id
    }
  }

  /// Tokens of one character, by its scalar.
  private static func characters(_ vocabulary: Vocabulary) -> [UInt32: Int32] {
    var result: [UInt32: Int32] = [:]
    for (id, token) in vocabulary.tokens.enumerated() where vocabulary.isInModel[id] {
      let scalars = token.unicodeScalars
      if let first = scalars.first, scalars.count == 1 { result[first.value] = Int32(id) }
    }
    return result
  }

  private static func spelled(_ token: String, _ text: TokenText) -> [UInt8]? {
    switch text {
    case .byteLevel: ByteAlphabet.bytes(of: token)
    case .pieces: Array(token.utf8)
    }
  }

  /// Whether a token is a byte or a character by itself.
  private static func isOne(_ token: String, _ text: TokenText) -> Bool {
    switch text {
    case .byteLevel: ByteAlphabet.bytes(of: token)?.count == 1
    case .pieces(let pieces): token.unicodeScalars.count == 1 || pieces.byte(token) != nil
    }
  }
}
