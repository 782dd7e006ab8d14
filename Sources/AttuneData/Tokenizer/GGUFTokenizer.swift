// SPDX-License-Identifier: Apache-2.0

/// The tokenizer metadata of a GGUF file, as read: keys `tokenizer.ggml.…` and the chat template.
public struct GGUFTokenizer: Sendable {
  /// The file, for errors.
  public var source: String
  /// `tokenizer.ggml.model`: `gpt2`, byte-level BPE, and `llama`, SentencePiece's BPE, are read.
  public var model: String
  /// `tokenizer.ggml.pre`: which pattern splits the words.
  public var pre: String?
  /// `tokenizer.ggml.tokens`, by id.
  public var tokens: [String]
  /// `tokenizer.ggml.merges`, each two tokens with a space between.
  public var merges: [String]
  /// `tokenizer.ggml.scores`, by id, of SentencePiece's.
  public var scores: [Float]
  /// `tokenizer.ggml.token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused.
  /// Empty if the file has none.
  public var tokenTypes: [Int32]
  /// `tokenizer.ggml.bos_token_id`.
  public var beginOfSequence: Int32?
  /// `tokenizer.ggml.eos_token_id`.
  public var endOfSequence: Int32?
  /// `tokenizer.ggml.unknown_token_id`.
  public var unknown: Int32?
  /// `tokenizer.ggml.padding_token_id`.
  public var padding: Int32?
  /// `tokenizer.ggml.add_bos_token`.
  public var addBeginOfSequence: Bool?
  /// `tokenizer.ggml.add_eos_token`.
  public var addEndOfSequence: Bool?
  /// `tokenizer.ggml.add_space_prefix`: whether a text is read as if it began with a space.
  public var addSpacePrefix: Bool?
  /// `tokenizer.ggml.remove_extra_whitespaces`.
  public var removeExtraWhitespaces: Bool?
  /// `tokenizer.chat_template`.
  public var chatTemplate: String?

  /// Makes a value; what a file does not have stays nil or empty.
  ///
  /// - Parameters:
  ///   - source: The file, for errors.
  ///   - model: `tokenizer.ggml.model`.
  ///   - pre: `tokenizer.ggml.pre`.
  ///   - tokens: `tokenizer.ggml.tokens`.
  ///   - merges: `tokenizer.ggml.merges`.
  ///   - scores: `tokenizer.ggml.scores`.
  ///   - tokenTypes: `tokenizer.ggml.token_type`.
  public init(
    source: String = "GGUF metadata", model: String, pre: String? = nil, tokens: [String],
    merges: [String], scores: [Float] = [], tokenTypes: [Int32] = []
  ) {
    self.source = source
    self.model = model
    self.pre = pre
    self.tokens = tokens
    self.merges = merges
    self.scores = scores
    self.tokenTypes = tokenTypes
  }
}

extension Tokenizer {
  /// Builds a tokenizer from the metadata of a GGUF file.
  ///
  /// - Throws: `DataError` of code `badTokenizer` if the model is of another kind, `pre` is not
  ///   known, there are no merges, or the arrays do not fit together.
  public init(gguf: GGUFTokenizer) throws {
    try self.init(TokenizerDefinition(gguf: gguf))
  }
}

extension TokenizerDefinition {
  fileprivate init(gguf: GGUFTokenizer) throws {
    self.init(source: gguf.source)
    try check(gguf)
    // llama.cpp's defaults: SentencePiece's models and Llama 3 begin texts.
    var begins = true
    if gguf.model == "llama" {
      try take(Self.sentencePiece(gguf))
    } else {
      for (id, token) in gguf.tokens.enumerated() {
        let kind = gguf.tokenTypes.isEmpty ? 1 : gguf.tokenTypes[id]
        // Of rows that the model has and the tokenizer not.
        if kind == 5 { continue }
        tokens.append((token, id))
        switch kind {
        case 3: addedTokens.append(AddedToken(id: id, content: token))
        case 4: addedTokens.append(AddedToken(id: id, content: token, isSpecial: false))
        default: break
        }
      }
      for (rank, merge) in gguf.merges.enumerated() {
        merges.append(try Self.pair(merge, rank: rank, source: source))
      }
      begins = try splitWords(as: gguf.pre, prefixesSpace: gguf.addSpacePrefix ?? false)
    }
    for (role, id) in [
      (Role.begin, gguf.beginOfSequence), (.end, gguf.endOfSequence), (.unknown, gguf.unknown),
      (.padding, gguf.padding),
    ] {
      guard let id else { continue }
      guard id >= 0, Int(id) < gguf.tokens.count else {
        throw failure("\(role.rawValue) is id \(id), but there are \(gguf.tokens.count) tokens")
      }
      let token = gguf.tokens[Int(id)]
      roles[role] = token
      if !addedTokens.contains(where: { $0.id == id }) {
        addedTokens.append(AddedToken(id: Int(id), content: token))
      }
    }
    addedTokens.sort { $0.id < $1.id }
    chatTemplate = gguf.chatTemplate
    frame(
      first: gguf.addBeginOfSequence ?? begins ? gguf.beginOfSequence.map { Int($0) } : nil,
      last: gguf.addEndOfSequence ?? false ? gguf.endOfSequence.map { Int($0) } : nil)
  }

  /// The model that a file's arrays describe.
  private static func sentencePiece(_ gguf: GGUFTokenizer) -> SentencePieceModel {
    var model = SentencePieceModel()
    for (id, token) in gguf.tokens.enumerated() {
      let kind = gguf.tokenTypes.isEmpty ? 1 : Int(gguf.tokenTypes[id])
      model.pieces.append(
        .init(text: token, score: gguf.scores[id], kind: .init(rawValue: kind) ?? .normal))
    }
    model.fallsBackToBytes = model.pieces.contains { $0.kind == .byte }
    model.addsPrefix = gguf.addSpacePrefix ?? true
    model.removesExtraSpaces = gguf.removeExtraWhitespaces ?? false
    return model
  }

  private func check(_ gguf: GGUFTokenizer) throws {
    switch gguf.model {
    case "gpt2": break
    case "llama":
      guard gguf.scores.count == gguf.tokens.count, gguf.scores.allSatisfy(\.isFinite) else {
        throw failure(
          "tokenizer.ggml.scores has \(gguf.scores.count) numbers for \(gguf.tokens.count) tokens, "
            + "or some that are not finite")
      }
    default:
      throw failure(
        "tokenizer.ggml.model is “\(gguf.model)”; “gpt2”, byte-level BPE, and “llama”, "
          + "SentencePiece's BPE, are read")
    }
    if gguf.tokens.isEmpty { throw failure("tokenizer.ggml.tokens is missing or empty") }
    if gguf.tokens.count > Vocabulary.largestId {
      throw failure("tokenizer.ggml.tokens has \(gguf.tokens.count) tokens; that is no tokenizer")
    }
    if !gguf.tokenTypes.isEmpty, gguf.tokenTypes.count != gguf.tokens.count {
      throw failure(
        "tokenizer.ggml.token_type has \(gguf.tokenTypes.count) values for "
          + "\(gguf.tokens.count) tokens")
    }
  }

  /// The two tokens of a merge that is written with a space between.
  static func pair(_ merge: String, rank: Int, source: String) throws -> (String, String) {
    let parts = merge.utf8.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty,
      let left = String(parts[0]), let right = String(parts[1])
    else {
      throw DataError(
        .badTokenizer,
        "\(source): merge \(rank + 1) is “\(merge)”; two tokens with one space between are needed")
    }
    return (left, right)
  }

  /// Sets the sections that stand behind a name of `tokenizer.ggml.pre`.
  ///
  /// - Returns: Whether texts begin with a token where the file does not say.
  @discardableResult
  mutating func splitWords(as pre: String?, prefixesSpace: Bool) throws -> Bool {
    guard let pre else {
      throw failure(
        "tokenizer.ggml.pre is missing, so it is not known how words are split; convert the model "
          + "again, or use its Hugging Face directory")
    }
    guard let splits = GGUFWordSplits(pre) else {
      throw failure(
        "tokenizer.ggml.pre is “\(pre)”; \(GGUFWordSplits.names.joined(separator: ", ")) are read. "
          + "Use the model's Hugging Face directory")
    }
    var steps = splits.patterns.map { pattern in
      JSONValue.object(
        ("type", .string("Split")), ("pattern", .object(("Regex", .string(pattern)))),
        ("behavior", .string("Isolated")), ("invert", .bool(false)))
    }
    if splits.splitsDigits {
      steps.append(.object(("type", .string("Digits")), ("individual_digits", .bool(true))))
    }
    steps.append(
      .object(
        ("type", .string("ByteLevel")), ("add_prefix_space", .bool(prefixesSpace)),
        ("trim_offsets", .bool(true)), ("use_regex", .bool(splits.patterns.isEmpty))))
    preTokenizer =
      steps.count == 1
      ? steps[0] : .object(("type", .string("Sequence")), ("pretokenizers", .array(steps)))
    if splits.composes { normalizer = .object(("type", .string("NFC"))) }
    ignoresMerges = splits.ignoresMerges
    return splits.begins
  }

  /// Sets the post-processor that puts tokens before and after a text.
  mutating func frame(first: Int?, last: Int?) {
    func special(_ id: Int) -> (item: JSONValue, entry: JSONValue.Field) {
      let token = tokens[id].text
      return (
        .object(("SpecialToken", .object(("id", .string(token)), ("type_id", .int(0))))),
        JSONValue.Field(
          token,
          .object(
            ("id", .string(token)), ("ids", .array([.int(id)])),
            ("tokens", .array([.string(token)])))
        )
      )
    }
    func text(_ name: String) -> JSONValue {
      .object(("Sequence", .object(("id", .string(name)), ("type_id", .int(0)))))
    }
    let plain = decoder == .null ? Self.byteLevel : .null
    let (first, last) = (first.map(special), last.map(special))
    if first == nil, last == nil {
      postProcessor = plain
      return
    }
    func around(_ names: [String]) -> JSONValue {
      .array(
        names.flatMap { [first?.item, text($0), last?.item].compactMap { $0 } })
    }
    var entries = [first?.entry].compactMap { $0 }
    if let last, last.entry.key != first?.entry.key { entries.append(last.entry) }
    let template = JSONValue.object(
      ("type", .string("TemplateProcessing")), ("single", around(["A"])),
      ("pair", around(["A", "B"])), ("special_tokens", .object(entries)))
    postProcessor =
      plain == .null
      ? template
      : .object(("type", .string("Sequence")), ("processors", .array([plain, template])))
  }
}
