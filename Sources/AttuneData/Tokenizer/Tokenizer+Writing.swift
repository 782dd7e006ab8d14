// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension Tokenizer {
  /// `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`, from which
  /// transformers' `AutoTokenizer` and ``load(directory:)`` make the same ids.
  ///
  /// - Parameter chatTemplate: The template to put into `tokenizer_config.json`, if any.
  /// - Returns: Each file's name and content, to be written into one folder.
  public func files(chatTemplate: String?) -> [(name: String, data: Data)] {
    [
      ("tokenizer.json", tokenizerFile),
      ("tokenizer_config.json", configurationFile(chatTemplate)),
      ("special_tokens_map.json", JSONValue.object(roleMembers)),
    ].map { ($0, Data(($1.indented + "\n").utf8)) }
  }

  private var tokenizerFile: JSONValue {
    .object(
      ("version", .string("1.0")), ("truncation", .null), ("padding", .null),
      ("added_tokens", .array(sortedAddedTokens.map(Self.tree))),
      ("normalizer", definition.normalizer), ("pre_tokenizer", definition.preTokenizer),
      ("post_processor", definition.postProcessor),
      (
        "decoder",
        definition.decoder == .null ? TokenizerDefinition.byteLevel : definition.decoder
      ), ("model", modelSection))
  }

  private var sortedAddedTokens: [AddedToken] { definition.addedTokens.sorted { $0.id < $1.id } }

  private static func tree(_ token: AddedToken) -> JSONValue {
    .object(
      ("id", .int(token.id)), ("content", .string(token.content)),
      ("single_word", .bool(token.isSingleWord)), ("lstrip", .bool(token.stripsLeft)),
      ("rstrip", .bool(token.stripsRight)), ("normalized", .bool(token.isNormalized)),
      ("special", .bool(token.isSpecial)))
  }

  private var modelSection: JSONValue {
    if case .unigram(let scores) = definition.model { return unigramSection(scores) }
    var entries: [JSONValue.Field] = []
    entries.reserveCapacity(vocabulary.count)
    for id in vocabulary.tokens.indices where vocabulary.isInModel[id] {
      entries.append(JSONValue.Field(vocabulary.tokens[id], .int(id)))
    }
    let pairs = merges.map { (vocabulary.tokens[Int($0.left)], vocabulary.tokens[Int($0.right)]) }
    // The older notation, which every version reads, unless a token has a space in it.
    let joins = pairs.allSatisfy { !$0.utf8.contains(0x20) && !$1.utf8.contains(0x20) }
    let list = pairs.map { left, right in
      joins ? JSONValue.string(left + " " + right) : .array([.string(left), .string(right)])
    }
    return .object(
      ("type", .string("BPE")), ("dropout", .null),
      ("unk_token", definition.unknownToken.map { .string($0) } ?? .null),
      ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
      ("fuse_unk", .bool(definition.joinsUnknown)),
      ("byte_fallback", .bool(definition.fallsBackToBytes)),
      ("ignore_merges", .bool(definition.ignoresMerges)), ("vocab", .object(entries)),
      ("merges", .array(list)))
  }

  private func unigramSection(_ scores: [Int: Double]) -> JSONValue {
    let ids = vocabulary.tokens.indices.filter { vocabulary.isInModel[$0] }
    let unknown = definition.unknownToken.flatMap { vocabulary.id(of: $0) }
    return .object(
      ("type", .string("Unigram")), ("unk_id", unknown.map { .int(Int($0)) } ?? .null),
      (
        "vocab",
        .array(
          ids.map {
            .array([.string(vocabulary.tokens[$0]), .number("\(scores[$0] ?? 0)")])
          })
      ), ("byte_fallback", .bool(definition.fallsBackToBytes)))
  }

  private var roleMembers: [JSONValue.Field] {
    TokenizerDefinition.Role.allCases.compactMap { role in
      definition.roles[role].map { JSONValue.Field(role.rawValue, .string($0)) }
    }
  }

  private func configurationFile(_ chatTemplate: String?) -> JSONValue {
    var tree = definition.configuration
    // The class that takes tokenizer.json as it is; those of the model families build their own.
    tree = tree.setting("tokenizer_class", .string("PreTrainedTokenizerFast"))
    if tree["clean_up_tokenization_spaces"] == nil {
      tree = tree.setting("clean_up_tokenization_spaces", .bool(false))
    }
    for member in roleMembers { tree = tree.setting(member.key, member.value) }
    let entries = sortedAddedTokens.map { token in
      var entry = Self.tree(token)
      entry = entry.removing("id")
      return JSONValue.Field(String(token.id), entry)
    }
    tree = tree.setting("added_tokens_decoder", .object(entries))
    tree = tree.removing("chat_template")
    if let chatTemplate { tree = tree.setting("chat_template", .string(chatTemplate)) }
    return tree
  }
}
