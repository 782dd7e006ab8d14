// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine

extension GGUFTokenizer {
  /// The tokenizer of a GGUF file.
  init(_ metadata: [String: GGUFValue], source: String) throws {
    func value(_ key: String) -> GGUFValue? { metadata["tokenizer.ggml." + key] }
    guard let model = value("model")?.string else {
      throw TrainingError(
        .badModel, "\(source): has no tokenizer (tokenizer.ggml.model is missing)")
    }
    func id(_ key: String) -> Int32? { value(key)?.int.flatMap { Int32(exactly: $0) } }
    self.init(
      source: source, model: model, pre: value("pre")?.string,
      tokens: value("tokens")?.strings ?? [], merges: value("merges")?.strings ?? [],
      scores: value("scores")?.doubles?.map { Float($0) } ?? [],
      tokenTypes: value("token_type")?.ints?.compactMap { Int32(exactly: $0) } ?? [])
    beginOfSequence = id("bos_token_id")
    endOfSequence = id("eos_token_id")
    unknown = id("unknown_token_id")
    padding = id("padding_token_id")
    addBeginOfSequence = value("add_bos_token")?.bool
    addEndOfSequence = value("add_eos_token")?.bool
    addSpacePrefix = value("add_space_prefix")?.bool
    removeExtraWhitespaces = value("remove_extra_whitespaces")?.bool
    chatTemplate = metadata["tokenizer.chat_template"]?.string
  }

  /// The keys and values of a GGUF file that say it, in the order of llama.cpp's files.
  var metadata: [(key: String, value: GGUFValue)] {
    func texts(_ list: [String]) -> GGUFValue { .array(list.map { .string($0) }) }
    func id(_ id: Int32?) -> GGUFValue? { id.map { .unsigned(UInt64($0)) } }
    let values: [(String, GGUFValue?)] = [
      ("model", .string(model)), ("pre", pre.map { .string($0) } ?? .string("default")),
      ("tokens", texts(tokens)),
      ("scores", scores.isEmpty ? nil : .array(scores.map { .float(Double($0)) })),
      ("token_type", .array(tokenTypes.map { .signed(Int64($0)) })),
      ("merges", model == "gpt2" ? texts(merges) : nil),
      ("bos_token_id", id(beginOfSequence)), ("eos_token_id", id(endOfSequence)),
      ("unknown_token_id", id(unknown)), ("padding_token_id", id(padding)),
      ("add_bos_token", addBeginOfSequence.map { .bool($0) }),
      ("add_eos_token", addEndOfSequence.map { .bool($0) }),
      ("add_space_prefix", addSpacePrefix.map { .bool($0) }),
      ("remove_extra_whitespaces", removeExtraWhitespaces.map { .bool($0) }),
    ]
    return values.compactMap { key, value in value.map { ("tokenizer.ggml." + key, $0) } }
      + (chatTemplate.map { [("tokenizer.chat_template", .string($0))] } ?? [])
  }
}
