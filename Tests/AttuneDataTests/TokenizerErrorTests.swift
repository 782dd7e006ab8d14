// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import Foundation
import Testing

/// Bad tokenizers give one line that names the file and what is wrong; none crashes.
struct TokenizerErrorTests {
  static let byteLevel =
    #"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#

  /// A small `tokenizer.json`.
  static func file(
    model: String = #""type":"BPE""#, vocabulary: String = #"{"a":0,"b":1,"ab":2}"#,
    merges: String = #"["a b"]"#, preTokenizer: String = byteLevel, added: String = "",
    rest: String = ""
  ) -> String {
    #"{"added_tokens":[\#(added)],"normalizer":null,"pre_tokenizer":\#(preTokenizer)\#(rest),"#
      + #""model":{\#(model),"vocab":\#(vocabulary),"merges":\#(merges)}}"#
  }

  static func message(_ body: () throws -> Tokenizer) -> String {
    do {
      _ = try body()
      return "no error"
    } catch let error as DataError {
      return error.message
    } catch {
      return "another error: \(error)"
    }
  }

  static func load(_ files: [String: String]) -> String {
    message {
      let folder = try TokenizerFolder()
      for (name, text) in files { try folder.write(text, as: name) }
      return try Tokenizer.load(directory: folder.url)
    }
  }

  @Test func `the small file is good`() {
    #expect(Self.load(["tokenizer.json": Self.file()]) == "no error")
  }

  @Test(arguments: [
    (file(model: #""type":"Unigram""#), "not an array of pieces with their scores"),
    (
      file(model: #""type":"Unigram""#, vocabulary: #"[["a",-1],["b"]]"#),
      "entry 1 is not a piece with its score"
    ),
    (
      file(model: #""type":"Unigram","unk_id":3"#, vocabulary: #"[["a",-1]]"#),
      "unk_id is 3, but there are 1 pieces"
    ),
    (
      file(model: #""type":"Unigram""#, vocabulary: #"[["a",-1]]"#),
      "the model is Unigram, and words are split into bytes"
    ),
    (file(model: #""type":"WordPiece""#), "model type “WordPiece” is not read"),
    (file(model: #""type":"BPE","byte_fallback":true"#), "some bytes have no token"),
    (file(preTokenizer: #"{"type":"Metaspace"}"#), "there is no decoder"),
    (
      file(preTokenizer: #"{"type":"Metaspace","prepend_scheme":"odd"}"#),
      "prepend_scheme “odd” is not known"
    ),
    (
      file(preTokenizer: "null", rest: #","decoder":{"type":"WordPiece"}"#),
      "decoder step “WordPiece” is not read"
    ),
    (
      file(preTokenizer: "null", rest: #","decoder":{"type":"Strip","content":" ","start":1}"#),
      "decoder step “Strip” is read after Fuse"
    ),
    (file(preTokenizer: #"{"type":"Whitespace"}"#), "step “Whitespace” is not read"),
    (file(preTokenizer: "null"), "no ByteLevel step, and there is no decoder"),
    (
      file(preTokenizer: #"{"type":"Sequence","pretokenizers":[\#(byteLevel),{"type":"Digits"}]}"#),
      "ByteLevel; it must be last"
    ),
    (file(preTokenizer: #"{"type":"Sequence"}"#), "a Sequence without"),
    (file(preTokenizer: #"{"type":"Split","behavior":"Isolated"}"#), "without a Regex"),
    (
      file(preTokenizer: #"{"type":"Split","pattern":{"String":"a"},"behavior":"No"}"#),
      "behavior “No” is not known"
    ),
    (
      file(preTokenizer: #"{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"}"#),
      "“(a” is not a regular expression"
    ),
    (
      file(preTokenizer: #"{"type":"Split","pattern":{"Regex":"\\w+"},"behavior":"Isolated"}"#),
      #"uses “\w”, which is not read"#
    ),
    (
      file(preTokenizer: #"{"type":"Split","pattern":{"Regex":"[a&&b]"},"behavior":"Isolated"}"#),
      "uses “&&”, which is not read"
    ),
    (file(rest: #","decoder":{"type":"Metaspace"}"#), "the decoder is “Metaspace”"),
    (file(rest: #","post_processor":{"type":"Odd"}"#), "post_processor “Odd” is not read"),
    (
      file(
        rest:
          #","post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]}"#
      ), "unknown token “x”"
    ),
    (file(merges: "[]"), "there are no merges, and tokens such as “ab” need them"),
    (file(merges: "null"), "model.merges is missing"),
    (file(merges: #"["a c"]"#), "needs the token “c”, which is not in the vocabulary"),
    (file(merges: #"["b a"]"#), "needs the token “ba”"),
    (file(merges: #"["ab"]"#), "merge 1 is “ab”"),
    (file(merges: #"[["a"]]"#), "merge 1 is not a pair of tokens"),
    (file(merges: "[7]"), "merge 1 is not a pair of tokens"),
    (file(vocabulary: #"{"a":0,"b":0,"ab":2}"#), "id 0 is given to “a” and to “b”"),
    (file(vocabulary: #"{"a":0,"a":1,"b":3,"ab":2}"#), "token “a” is there twice"),
    (file(vocabulary: #"{"a":0,"b":-1,"ab":2}"#), "has id -1, outside"),
    (file(vocabulary: #"{"a":0,"b":99999999999,"ab":2}"#), "has id 99999999999, outside"),
    (file(vocabulary: #"{"a":0,"b":1e99,"ab":2}"#), "token “b” has no integer id"),
    (file(vocabulary: #"{"a":0,"b":"x","ab":2}"#), "token “b” has no integer id"),
    (file(vocabulary: "[]"), "model.vocab is missing"),
    (file(vocabulary: "{}", merges: "[]"), "the vocabulary is empty"),
    (file(vocabulary: #"{"中":0}"#, merges: "[]"), "there are no merges"),
    (file(added: #"{"id":0,"content":"x"}"#), "id 0 is given to “a” and to “x”"),
    (file(added: #"{"id":7,"content":"a"}"#), "token “a” has id 7 here and 0 elsewhere"),
    (file(added: #"{"id":3,"content":""}"#), "an added token is empty"),
    (file(added: #"{"content":"x"}"#), "an added token has no id"),
    (file(model: #""type":"BPE","unk_token":"?""#), "unknown token “?” is not in the vocabulary"),
    (file(model: #""type":"BPE","dropout":0.1"#), "dropout 0.1 would tokenise at random"),
    (file(model: #""type":"BPE","end_of_word_suffix":"</w>""#), "end_of_word_suffix “</w>”"),
    (#"{"added_tokens":[]}"#, "there is no “model” section"),
    ("", "line 1"), ("[1,", "line 1"), ("\u{FEFF}{", "line 1"), ("{\"a\":\"\n", "line 1"),
  ])
  func `a bad tokenizer.json is refused`(text: String, says: String) {
    let message = Self.load(["tokenizer.json": text])
    #expect(message.contains(says), Comment(rawValue: message))
    #expect(message.contains("tokenizer.json"), Comment(rawValue: message))
    #expect(!message.contains("\n"))
  }

  @Test func `what is missing is named`() {
    #expect(Self.load([:]).hasSuffix("there is no tokenizer.json and no tokenizer.model"))
    for damaged in ["", "x", "\u{A}\u{3}\u{A}\u{9}a"] {
      let message = Self.load(["tokenizer.model": damaged])
      #expect(message.contains("tokenizer.model: is no SentencePiece model"), "\(message)")
    }
    #expect(Self.load(["vocab.json": "{}", "merges.txt": ""]).contains("no tokenizer.json; load"))
    #expect(
      Self.load(["tokenizer.json": Self.file(), "tokenizer_config.json": "{"])
        .contains("tokenizer_config.json: line 1"))
  }

  @Test func `a cut or damaged file is refused or read, never more`() throws {
    let file = TokenizerFixture.root.appending(path: "flags/tokenizer.json")
    let bytes = Array(try Data(contentsOf: file))
    let folder = try TokenizerFolder()
    let target = folder.url.appending(path: "tokenizer.json")
    for length in stride(from: 0, to: bytes.count - 2, by: 97) {
      try Data(bytes[..<length]).write(to: target)
      let message = Self.message { try Tokenizer.load(directory: folder.url) }
      #expect(message.contains("is the file complete?"), "\(length): \(message)")
    }
    var generator = SplitMix(seed: 9)
    for _ in 0..<300 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        damaged[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
          in: 0...255, using: &generator)
      }
      try Data(damaged).write(to: target)
      _ = Self.message {
        let tokenizer = try Tokenizer.load(directory: folder.url)
        _ = tokenizer.decode(tokenizer.encode("the  <mask> é 12!", parsingSpecialTokens: true))
        return tokenizer
      }
    }
  }

  @Test func `a cut or damaged tokenizer.model is refused or read, never more`() throws {
    let source = TokenizerFixture.root.appending(path: "spmodel/tokenizer.model")
    let bytes = Array(try Data(contentsOf: source))
    let folder = try TokenizerFolder()
    let target = folder.url.appending(path: "tokenizer.model")
    var (tried, refused) = (0, 0)
    for length in stride(from: 0, to: bytes.count, by: 131) {
      tried += 1
      try Data(bytes[..<length]).write(to: target)
      let message = Self.message { try Tokenizer.load(directory: folder.url) }
      refused += message == "no error" ? 0 : 1
    }
    #expect(refused == tried)
    var generator = SplitMix(seed: 10)
    for _ in 0..<300 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        damaged[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
          in: 0...255, using: &generator)
      }
      try Data(damaged).write(to: target)
      _ = Self.message {
        let tokenizer = try Tokenizer.load(directory: folder.url)
        _ = tokenizer.decode(tokenizer.encode("the  <mask> é 12!", parsingSpecialTokens: true))
        return tokenizer
      }
    }
  }

  @Test func `a pattern that explodes ends`() throws {
    let folder = try TokenizerFolder()
    let split = #"{"type":"Split","pattern":{"Regex":"(?:a+)+c"},"behavior":"Isolated"}"#
    try folder.write(
      Self.file(
        preTokenizer: #"{"type":"Sequence","pretokenizers":[\#(split),\#(Self.byteLevel)]}"#),
      as: "tokenizer.json")
    let tokenizer = try Tokenizer.load(directory: folder.url)
    let text = String(repeating: "a", count: 60) + "b"
    #expect(tokenizer.decode(tokenizer.encode(text)) == text)
  }

  // MARK: - GGUF

  static let tokens = ["a", "b", "ab", "<|end|>"]

  static func gguf(_ change: (inout GGUFTokenizer) -> Void) -> String {
    message {
      var gguf = GGUFTokenizer(
        source: "m.gguf", model: "gpt2", pre: "smollm", tokens: tokens, merges: ["a b"],
        tokenTypes: [1, 1, 1, 3])
      change(&gguf)
      return try Tokenizer(gguf: gguf)
    }
  }

  @Test func `bad GGUF metadata are refused`() {
    #expect(Self.gguf { _ in } == "no error")
    #expect(Self.gguf { $0.tokenTypes = [] } == "no error")
    let cases: [(String, (inout GGUFTokenizer) -> Void)] = [
      ("scores has 0 numbers for 4 tokens", { $0.model = "llama" }),
      (
        "that are not finite",
        {
          $0.model = "llama"
          $0.scores = [0, 0, 0, .nan]
        }
      ),
      ("“bert”; “gpt2”", { $0.model = "bert" }),
      ("tokenizer.ggml.pre is “odd”", { $0.pre = "odd" }),
      ("tokenizer.ggml.pre is missing", { $0.pre = nil }),
      ("tokens is missing or empty", { $0.tokens = [] }),
      ("there are no merges", { $0.merges = [] }),
      ("token_type has 1 values for 4 tokens", { $0.tokenTypes = [1] }),
      ("needs the token “x”", { $0.merges = ["a x"] }),
      ("merge 1 is “a  b”", { $0.merges = ["a  b"] }),
      ("eos_token is id 4, but there are 4 tokens", { $0.endOfSequence = 4 }),
      ("bos_token is id -1", { $0.beginOfSequence = -1 }),
      ("token “a” is there twice", { $0.tokens[1] = "a" }),
    ]
    for (says, change) in cases {
      let message = Self.gguf(change)
      #expect(message.hasPrefix("m.gguf: "), Comment(rawValue: message))
      #expect(message.contains(says), Comment(rawValue: message))
    }
  }

  // MARK: - Files beside tokenizer.json

  @Test func `roles and templates come from the files beside it`() throws {
    let folder = try TokenizerFolder()
    try folder.write(Self.file(added: #"{"id":3,"content":"<e>"}"#), as: "tokenizer.json")
    try folder.write(
      #"{"eos_token":{"content":"<e>"},"bos_token":"b","model_max_length":1e30,"#
        + #""chat_template":[{"name":"tool","template":"t"},{"name":"default","template":"d"}],"#
        + #""added_tokens_decoder":{"4":{"content":"<m>","special":true}}}"#,
      as: "tokenizer_config.json")
    var tokenizer = try Tokenizer.load(directory: folder.url)
    #expect(tokenizer.endOfSequence == 3)
    #expect(tokenizer.beginOfSequence == 1)
    // A word that is named as begin of sequence is a control token from then on.
    #expect(tokenizer.isSpecial(1))
    #expect(tokenizer.id(of: "<m>") == 4)
    #expect(tokenizer.chatTemplate == "d")
    try folder.write("from jinja", as: "chat_template.jinja")
    tokenizer = try Tokenizer.load(directory: folder.url)
    #expect(tokenizer.chatTemplate == "from jinja")
    let other = try TokenizerFolder()
    try tokenizer.write(to: other.url, chatTemplate: nil)
    let text = try String(
      contentsOf: other.url.appending(path: "tokenizer_config.json"), encoding: .utf8)
    #expect(text.contains("\"model_max_length\": 1e30"))
    #expect(!text.contains("chat_template"))
  }
}
