// SPDX-License-Identifier: Apache-2.0

extension Tokenizer {
  /// The metadata of a GGUF file from which llama.cpp and ``init(gguf:)`` make the same ids. Names of
  /// patterns, scores and marks of spaces are chosen by what comes of them on texts of many kinds.
  ///
  /// - Parameter rows: How many ids the model has; those without a token get one that is never used.
  /// - Returns: The metadata, without a chat template.
  /// - Throws: `DataError` that says what a GGUF file has no place for.
  public func gguf(rows: Int) throws -> GGUFTokenizer {
    guard case .bytePairs = definition.model else {
      throw definition.failure(
        "llama.cpp runs no model of this kind with a Unigram tokenizer; --to hf writes it")
    }
    let begin = beginOfSequence ?? (sequencePrefix.count == 1 ? sequencePrefix[0] : nil)
    let begins = sequencePrefix == [begin]
    guard begins || sequencePrefix.isEmpty else {
      throw definition.failure(
        "texts begin with other tokens than bos_token, which a GGUF file can't say")
    }
    var made = GGUFTokenizer(source: definition.source, model: "", tokens: [], merges: [])
    made.addBeginOfSequence = begins
    made.addEndOfSequence = false
    made.beginOfSequence = begin
    made.endOfSequence = endOfSequence
    made.padding = padding
    made.unknown = definition.roles[.unknown].flatMap { vocabulary.id(of: $0) }
    setTokens(of: &made, rows: rows)
    let choices: [GGUFTokenizer]
    switch tokenText {
    case .byteLevel: choices = try byteLevelChoices(made)
    case .pieces: choices = pieceChoices(made)
    }
    for choice in choices {
      // A name that does not fit is no error before all are tried.
      if let again = try? Tokenizer(gguf: choice), firstDifference(from: again) == nil {
        return choice
      }
    }
    throw definition.failure(
      "texts are split or changed in a way that has no name in GGUF files; --to hf writes it")
  }

  /// A text of which another tokenizer makes other ids; nil if none is found.
  package func firstDifference(from other: Tokenizer) -> String? {
    let special = definition.addedTokens.filter(\.isSpecial).prefix(4).map(\.content)
    let turns = special.map { "\($0)one\($0)\ntwo" }
    // Every so many of the vocabulary's own tokens, as texts.
    let step = max(1, vocabulary.count / 2000)
    let words = stride(from: 0, to: vocabulary.count, by: step).map {
      decode([Int32($0)], skippingSpecialTokens: true)
    }
    return (Self.probes + turns + words).first {
      encode($0) != other.encode($0)
        || encode($0, parsingSpecialTokens: true) != other.encode($0, parsingSpecialTokens: true)
    }
  }

  private func setTokens(of made: inout GGUFTokenizer, rows: Int) {
    let isPieces = if case .pieces = tokenText { true } else { false }
    var kinds: [Int: Int32] = [:]
    for token in definition.addedTokens { kinds[token.id] = token.isSpecial ? 3 : 4 }
    if isPieces, let unknown = definition.unknownToken.flatMap({ vocabulary.id(of: $0) }) {
      kinds[Int(unknown)] = 2
    }
    for id in 0..<max(rows, vocabulary.count) {
      guard let token = token(of: Int32(id)) else {
        made.tokens.append("[PAD\(id)]")
        made.tokenTypes.append(5)
        continue
      }
      made.tokens.append(token)
      let isByte = isPieces && definition.fallsBackToBytes && Self.isByte(token)
      made.tokenTypes.append(kinds[id] ?? (isByte ? 6 : 1))
    }
  }

  /// Whether a token stands for a byte: `<0xE2>`.
  private static func isByte(_ token: String) -> Bool {
    token.utf8.count == 6 && token.hasPrefix("<0x") && token.hasSuffix(">")
  }

  private func byteLevelChoices(_ made: GGUFTokenizer) throws -> [GGUFTokenizer] {
    var made = made
    made.model = "gpt2"
    made.merges = merges.map {
      vocabulary.tokens[Int($0.left)] + " " + vocabulary.tokens[Int($0.right)]
    }
    let names = GGUFWordSplits.candidates(ignoringMerges: definition.ignoresMerges)
    func choices(_ fits: (String, Bool) -> Bool) -> [GGUFTokenizer] {
      [false, true].flatMap { prefix in
        names.filter { fits($0, prefix) }.map { name in
          var choice = made
          choice.pre = name
          choice.addSpacePrefix = prefix
          return choice
        }
      }
    }
    let alike = choices { splitsAlike($0, prefixingSpace: $1) }
    // Where tokens are bytes all ways of splitting come to the same.
    return alike.isEmpty ? choices { _, _ in true } : alike
  }

  /// Whether words are split as behind a name: asked before a whole tokenizer is made for it.
  private func splitsAlike(_ name: String, prefixingSpace: Bool) -> Bool {
    var definition = TokenizerDefinition(source: name)
    guard (try? definition.splitWords(as: name, prefixesSpace: prefixingSpace)) != nil,
      let own = try? PreTokenizer(self.definition.preTokenizer),
      let other = try? PreTokenizer(definition.preTokenizer)
    else { return false }
    func words(_ splitter: PreTokenizer, _ text: String) -> [[UInt8]] {
      var words: [[UInt8]] = []
      Array(text.utf8).withUnsafeBufferPointer {
        splitter.words(of: $0, isStart: true) { words.append(Array($0)) }
      }
      return words
    }
    return Self.probes.allSatisfy { words(own, $0) == words(other, $0) }
  }

  /// SentencePiece's, with and without the space before a text. A piece's score is its merge's place:
  /// the earlier one of two is the greater.
  private func pieceChoices(_ made: GGUFTokenizer) -> [GGUFTokenizer] {
    var made = made
    made.model = "llama"
    made.scores = Array(repeating: -Float(merges.count), count: made.tokens.count)
    for (id, kind) in made.tokenTypes.enumerated() where kind != 1 { made.scores[id] = 0 }
    for (rank, merge) in merges.enumerated().reversed() {
      made.scores[Int(merge.result)] = -Float(rank)
    }
    made.removeExtraWhitespaces = false
    return [true, false].map { prefix in
      var choice = made
      choice.addSpacePrefix = prefix
      return choice
    }
  }

  /// Texts on which tokenizers differ: letters, digits, marks and white space of many kinds.
  private static let probes = [
    "Hello, World! It's we'll they'RE I'm 'tis", " leading", "two  spaces,   three\tand\ta tab ",
    "1 22 333 4444 55555 3.14159 1,000,000 2026-11-29",
    "x = a[i]+=b;\n\tif (x != 0) { return -1; }",
    "\n\n\nlines\r\n\r\n  indented\n ", "ÄÖÜß éàç naïve e\u{301}cole",
    "Ελληνικά Привет мир שלום مرحبا",
    "你好，世界。こんにちは カタカナ 한국어 텍스트 ไทย हिन्दी", "🙂👩‍👩‍👧‍👦🇩🇪 ∑√∞ ≠ ½ ² Ⅻ ٣٤٥",
    "CamelCaseWords HTTPServer iPhone_15 snake_case", "http://example.org/a?b=c&d=%20#e",
    "...---===***//",
    "\u{200B}zero\u{A0}width\u{3000}wide", "a'b \"quoted\" 'll 'LL ´x’s",
    "#$%&'()*+,-./:;<=>?@[]^_`{|}~",
  ]
}
