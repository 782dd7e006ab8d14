// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension Tokenizer {
  /// Reads a Hugging Face directory: `tokenizer.json`, or else SentencePiece's `tokenizer.model`, and, if
  /// they are there, `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`.
  ///
  /// - Throws: `DataError` of code `badTokenizer` if a file is damaged or the tokenizer is of a kind that
  ///   is not read, of code `file` if it cannot be read.
  public static func load(directory: URL) throws -> Tokenizer {
    try Tokenizer(TokenizerDefinition(directory: directory))
  }
}

extension TokenizerDefinition {
  fileprivate init(directory: URL) throws {
    let file = directory.appendingPathComponent("tokenizer.json")
    self.init(source: file.path)
    guard let tree = try JSONValue.tokenizerFile(file) else {
      try readSentencePiece(in: directory)
      return
    }
    try readModel(tree)
    for token in tree["added_tokens"]?.asArray ?? [] {
      addedTokens.append(try addedToken(token, id: token["id"]?.asInt))
    }
    normalizer = tree["normalizer"] ?? .null
    preTokenizer = tree["pre_tokenizer"] ?? .null
    postProcessor = tree["post_processor"] ?? .null
    decoder = tree["decoder"] ?? .null
    try readConfiguration(in: directory)
  }

  private mutating func readSentencePiece(in directory: URL) throws {
    let names = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"]
    for file in names.map(directory.appendingPathComponent) {
      guard let bytes = try JSONValue.contents(of: file) else { continue }
      source = file.path
      try take(SentencePieceModel(bytes, place: file.path))
      try readConfiguration(in: directory)
      // Llama's own default, which its configuration may not say.
      func adds(_ key: String, _ role: Role, otherwise: Bool) -> Int? {
        guard configuration[key]?.asBool ?? otherwise, let token = roles[role] else { return nil }
        return tokens.first { ExactText($0.text) == ExactText(token) }?.id
      }
      frame(
        first: adds("add_bos_token", .begin, otherwise: true),
        last: adds("add_eos_token", .end, otherwise: false))
      return
    }
    throw Self.missing(in: directory)
  }

  private static func missing(in directory: URL) -> DataError {
    func has(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: directory.appendingPathComponent(name).path)
    }
    if has("vocab.json"), has("merges.txt") {
      return DataError(
        .badTokenizer,
        "\(directory.path): vocab.json and merges.txt are here, but no tokenizer.json; load and "
          + "save the tokenizer once with transformers to make it")
    }
    return DataError(
      .badTokenizer, "\(directory.path): there is no tokenizer.json and no tokenizer.model")
  }

  // MARK: - The model section

  private mutating func readModel(_ tree: JSONValue) throws {
    guard let model = tree["model"], model.asFields != nil else {
      throw failure("there is no “model” section")
    }
    // Early files name no type; those of byte-pair encoding are known by their merges.
    let type = model["type"]?.asString ?? (model["merges"] != nil ? "BPE" : "")
    switch type {
    case "BPE": break
    case "Unigram": return try readUnigram(model)
    default: throw failure("model type “\(type)” is not read; BPE and Unigram are")
    }
    for option in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = model[option]?.asString, !text.isEmpty {
        throw failure("model option \(option) “\(text)” is not read")
      }
    }
    if case .number(let rate)? = model["dropout"], Double(rate) != 0 {
      throw failure("model option dropout \(rate) would tokenise at random; set it to null")
    }
    guard let vocabulary = model["vocab"]?.asFields else {
      throw failure("model.vocab is missing or not an object")
    }
    tokens.reserveCapacity(vocabulary.count)
    for member in vocabulary {
      guard let id = member.value.asInt else {
        throw failure("model.vocab: token “\(member.key)” has no integer id")
      }
      tokens.append((member.key, id))
    }
    guard let pairs = model["merges"]?.asArray else {
      throw failure("model.merges is missing or not an array; get the tokenizer files again")
    }
    merges.reserveCapacity(pairs.count)
    for (rank, pair) in pairs.enumerated() {
      switch pair {
      case .string(let text):
        merges.append(try Self.pair(text, rank: rank, source: source))
      case .array(let both):
        guard both.count == 2, let left = both[0].asString, let right = both[1].asString else {
          throw failure("merge \(rank + 1) is not a pair of tokens")
        }
        merges.append((left, right))
      default: throw failure("merge \(rank + 1) is not a pair of tokens")
      }
    }
    unknownToken = model["unk_token"]?.asString
    joinsUnknown = model["fuse_unk"]?.asBool ?? false
    ignoresMerges = model["ignore_merges"]?.asBool ?? false
    fallsBackToBytes = model["byte_fallback"]?.asBool ?? false
  }

  private mutating func readUnigram(_ model: JSONValue) throws {
    guard let vocabulary = model["vocab"]?.asArray else {
      throw failure("model.vocab is missing or not an array of pieces with their scores")
    }
    var scores: [Int: Double] = [:]
    for (id, entry) in vocabulary.enumerated() {
      guard let pair = entry.asArray, pair.count == 2, let piece = pair[0].asString,
        case .number(let text) = pair[1], let score = Double(text), score.isFinite
      else { throw failure("model.vocab: entry \(id) is not a piece with its score") }
      tokens.append((piece, id))
      scores[id] = score
    }
    if let unknown = model["unk_id"]?.asInt {
      guard tokens.indices.contains(unknown) else {
        throw failure("model.unk_id is \(unknown), but there are \(tokens.count) pieces")
      }
      unknownToken = tokens[unknown].text
    }
    fallsBackToBytes = model["byte_fallback"]?.asBool ?? false
    self.model = .unigram(scores: scores)
  }

  private func addedToken(_ tree: JSONValue, id: Int?) throws -> AddedToken {
    guard let id, let content = tree["content"]?.asString else {
      throw failure("an added token has no id or no content")
    }
    let isSpecial = tree["special"]?.asBool ?? false
    return AddedToken(
      id: id, content: content, isSpecial: isSpecial,
      stripsLeft: tree["lstrip"]?.asBool ?? false, stripsRight: tree["rstrip"]?.asBool ?? false,
      isNormalized: tree["normalized"]?.asBool ?? !isSpecial,
      isSingleWord: tree["single_word"]?.asBool ?? false)
  }

  // MARK: - The files beside it

  private mutating func readConfiguration(in directory: URL) throws {
    func tree(_ name: String) throws -> JSONValue? {
      try JSONValue.tokenizerFile(directory.appendingPathComponent(name))
    }
    let map = try tree("special_tokens_map.json")
    if let configuration = try tree("tokenizer_config.json"), configuration.asFields != nil {
      self.configuration = configuration
    }
    for role in Role.allCases {
      let value = configuration[role.rawValue] ?? map?[role.rawValue]
      roles[role] = value?.asString ?? value?["content"]?.asString
    }
    try addMissingTokens()
    chatTemplate = try template(in: directory)
  }

  /// Tokens that only `tokenizer_config.json` knows of: transformers adds them as it loads.
  private mutating func addMissingTokens() throws {
    var known = Set(addedTokens.map { ExactText($0.content) })
    for member in configuration["added_tokens_decoder"]?.asFields ?? [] {
      let token = try addedToken(member.value, id: Int(member.key))
      if known.insert(ExactText(token.content)).inserted { addedTokens.append(token) }
    }
    // A word of the vocabulary that is named as end of sequence is a control token from then on.
    let named = Role.allCases.compactMap { roles[$0] }.filter { !known.contains(ExactText($0)) }
    if named.isEmpty { return }
    var ids: [ExactText: Int] = [:]
    for (text, id) in tokens { ids[ExactText(text)] = id }
    for content in named where known.insert(ExactText(content)).inserted {
      if let id = ids[ExactText(content)] {
        addedTokens.append(AddedToken(id: id, content: content))
      }
    }
  }

  private func template(in directory: URL) throws -> String? {
    let file = directory.appendingPathComponent("chat_template.jinja")
    if let bytes = try JSONValue.contents(of: file) {
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw DataError(.badTemplate, "\(file.path): the chat template is not UTF-8")
      }
      return text
    }
    let value = configuration["chat_template"]
    if let text = value?.asString { return text }
    let named = value?.asArray ?? []
    return (named.first { $0["name"]?.asString == "default" } ?? named.first)?["template"]?.asString
  }
}
