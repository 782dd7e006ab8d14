// SPDX-License-Identifier: Apache-2.0

/// The tokenizer metadata of a GGUF file, as read: keys `tokenizer.ggml.…` and the chat template.
public struct GGUFTokenizer: Sendable {
  /// The file, for errors.
  public var source: String
  /// `tokenizer.ggml.model`: only `gpt2`, byte-level BPE, is read.
  public var model: String
  /// `tokenizer.ggml.pre`: which pattern splits the words.
  public var pre: String?
  /// `tokenizer.ggml.tokens`, by id.
  public var tokens: [String]
  /// `tokenizer.ggml.merges`, each two tokens with a space between.
  public var merges: [String]
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
  ///   - tokenTypes: `tokenizer.ggml.token_type`.
  public init(
    source: String = "GGUF metadata", model: String, pre: String? = nil, tokens: [String],
    merges: [String], tokenTypes: [Int32] = []
  ) {
    self.source = source
    self.model = model
    self.pre = pre
    self.tokens = tokens
    self.merges = merges
    self.tokenTypes = tokenTypes
  }
}

extension Tokenizer {
  /// Builds a tokenizer from the metadata of a GGUF file.
  ///
  /// - Throws: `DataError` of code `badTokenizer` if the model is not byte-level BPE, `pre` is not
  ///   known, there are no merges, or the arrays do not fit together.
  public init(gguf: GGUFTokenizer) throws {
    try self.init(TokenizerDefinition(gguf: gguf))
  }
}

extension TokenizerDefinition {
  fileprivate init(gguf: GGUFTokenizer) throws {
    self.init(source: gguf.source)
    try check(gguf)
    for (id, token) in gguf.tokens.enumerated() {
      tokens.append((token, id))
      switch gguf.tokenTypes.isEmpty ? 1 : gguf.tokenTypes[id] {
      case 3: addedTokens.append(AddedToken(id: id, content: token))
      case 4: addedTokens.append(AddedToken(id: id, content: token, isSpecial: false))
      default: break
      }
    }
    for (rank, merge) in gguf.merges.enumerated() {
      merges.append(try Self.pair(merge, rank: rank, source: source))
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
    try splitWords(as: gguf.pre, prefixesSpace: gguf.addSpacePrefix ?? false)
    frame(gguf)
  }

  private func check(_ gguf: GGUFTokenizer) throws {
    switch gguf.model {
    case "gpt2": break
    case "llama", "t5", "gemma4":
      throw failure(
        "tokenizer.ggml.model is “\(gguf.model)”: SentencePiece models are not read yet")
    default:
      throw failure(
        "tokenizer.ggml.model is “\(gguf.model)”; only “gpt2”, byte-level BPE, is read")
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

  /// Llama-3's pattern; a run of digits is cut into threes from the left.
  private static let llama3Pattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// Qwen2's pattern; digits stand alone.
  private static let qwen2Pattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// Sets the sections that stand behind a name of `tokenizer.ggml.pre`.
  private mutating func splitWords(as pre: String?, prefixesSpace: Bool) throws {
    func byteLevel(splits: Bool) -> JSONValue {
      .object(
        ("type", .string("ByteLevel")), ("add_prefix_space", .bool(prefixesSpace)),
        ("trim_offsets", .bool(true)), ("use_regex", .bool(splits)))
    }
    func sequence(_ first: JSONValue, _ last: JSONValue) -> JSONValue {
      .object(("type", .string("Sequence")), ("pretokenizers", .array([first, last])))
    }
    func split(_ pattern: String) -> JSONValue {
      .object(
        ("type", .string("Split")), ("pattern", .object(("Regex", .string(pattern)))),
        ("behavior", .string("Isolated")), ("invert", .bool(false)))
    }
    switch pre {
    case "gpt-2", "gpt2", "phi-2", "olmo":
      preTokenizer = byteLevel(splits: true)
    case "smollm", "starcoder", "refact", "command-r", "codeshell":
      preTokenizer = sequence(
        .object(("type", .string("Digits")), ("individual_digits", .bool(true))),
        byteLevel(splits: true))
    case "llama-bpe", "llama3", "llama-v3":
      preTokenizer = sequence(split(Self.llama3Pattern), byteLevel(splits: false))
      ignoresMerges = true
    case "qwen2":
      preTokenizer = sequence(split(Self.qwen2Pattern), byteLevel(splits: false))
      normalizer = .object(("type", .string("NFC")))
    case nil:
      throw failure(
        "tokenizer.ggml.pre is missing, so it is not known how words are split; convert the model "
          + "again, or use its Hugging Face directory")
    case let other?:
      throw failure(
        "tokenizer.ggml.pre is “\(other)”; gpt-2, smollm, llama-bpe and qwen2 are read. Use the "
          + "model's Hugging Face directory")
    }
  }

  /// Sets the post-processor from the file's flags.
  private mutating func frame(_ gguf: GGUFTokenizer) {
    let plain = Self.byteLevel
    func special(_ id: Int32) -> (item: JSONValue, entry: JSONValue.Field) {
      let token = gguf.tokens[Int(id)]
      return (
        .object(("SpecialToken", .object(("id", .string(token)), ("type_id", .int(0))))),
        JSONValue.Field(
          token,
          .object(
            ("id", .string(token)), ("ids", .array([.int(Int(id))])),
            ("tokens", .array([.string(token)]))))
      )
    }
    func text(_ name: String) -> JSONValue {
      .object(("Sequence", .object(("id", .string(name)), ("type_id", .int(0)))))
    }
    let isLlama3 = ignoresMerges
    let first = gguf.addBeginOfSequence ?? isLlama3 ? gguf.beginOfSequence.map(special) : nil
    let last = gguf.addEndOfSequence ?? false ? gguf.endOfSequence.map(special) : nil
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
    postProcessor = .object(
      ("type", .string("Sequence")), ("processors", .array([plain, template])))
  }
}
