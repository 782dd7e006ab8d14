// SPDX-License-Identifier: Apache-2.0

extension Tokenizer {
  /// A tokenizer for models made from scratch: ids 0…255 are the bytes of UTF-8, 256 is
  /// `<|endoftext|>` (end and begin of sequence), 257 `<|im_start|>` and 258 `<|im_end|>`.
  public static let bytes: Tokenizer = {
    var definition = TokenizerDefinition(source: "the byte tokenizer")
    definition.tokens = (0..<256).map { (ByteAlphabet.token(of: [UInt8($0)]), $0) }
    definition.addedTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].enumerated().map {
      AddedToken(id: 256 + $0.offset, content: $0.element)
    }
    definition.roles = [.begin: "<|endoftext|>", .end: "<|endoftext|>"]
    definition.preTokenizer = .object(
      ("type", .string("ByteLevel")), ("add_prefix_space", .bool(false)),
      ("trim_offsets", .bool(true)), ("use_regex", .bool(false)))
    do {
      return try Tokenizer(definition)
    } catch {
      preconditionFailure("the byte tokenizer is well formed: \(error)")
    }
  }()
}
