// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

/// The same ids as Hugging Face's library, for every kind of tokenizer.
struct TokenizerParityTests {
  @Test(arguments: TokenizerFixture.kinds)
  func `ids are those of Hugging Face`(kind: String) throws {
    let fixture = try TokenizerFixture(kind)
    #expect(fixture.strings.count >= 100)
    for (index, text) in fixture.strings.enumerated() {
      let note = Comment(rawValue: "string \(index): \(text.debugDescription)")
      #expect(
        fixture.tokenizer.encode(text, parsingSpecialTokens: true) == fixture.answers.parsed[index],
        note)
      guard let plain = fixture.answers.plain[index] else { continue }
      #expect(fixture.tokenizer.encode(text) == plain, note)
    }
  }

  @Test(arguments: TokenizerFixture.kinds)
  func `decoded text is that of Hugging Face`(kind: String) throws {
    let fixture = try TokenizerFixture(kind)
    for (index, text) in fixture.strings.enumerated() {
      let ids = fixture.answers.parsed[index]
      let decoded = fixture.tokenizer.decode(ids, skippingSpecialTokens: false)
      let expected = fixture.answers.decoded[index] ?? text
      #expect(Array(decoded.utf8) == Array(expected.utf8), "string \(index)")
    }
  }

  @Test(arguments: [
    ("gpt2", "gpt-2"), ("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"),
  ])
  func `GGUF metadata give the same ids`(kind: String, pre: String) throws {
    let fixture = try TokenizerFixture(kind)
    let tokenizer = try Tokenizer(gguf: fixture.gguf(pre: pre))
    #expect(tokenizer.vocabularySize == fixture.tokenizer.vocabularySize)
    // Metadata do not say that Qwen's “ệ!” is found after normalisation only.
    for (index, text) in fixture.strings.enumerated() where !text.contains("!") {
      let ids = tokenizer.encode(text, parsingSpecialTokens: true)
      #expect(ids == fixture.answers.parsed[index], "string \(index)")
    }
  }

  @Test func `SentencePiece's metadata in a GGUF file give the same ids`() throws {
    struct Pieces: Decodable {
      let tokens: [String]
      let scores: [Float]
      let types: [Int32]
    }
    let fixture = try TokenizerFixture("spmodel")
    let pieces = try JSONDecoder().decode(
      Pieces.self, from: Data(contentsOf: fixture.folder.appending(path: "gguf.json")))
    var gguf = GGUFTokenizer(
      model: "llama", tokens: pieces.tokens, merges: [], scores: pieces.scores,
      tokenTypes: pieces.types)
    gguf.beginOfSequence = fixture.tokenizer.beginOfSequence
    gguf.endOfSequence = fixture.tokenizer.endOfSequence
    let tokenizer = try Tokenizer(gguf: gguf)
    for (index, text) in fixture.strings.enumerated() {
      let ids = tokenizer.encode(text, parsingSpecialTokens: true)
      #expect(ids == fixture.answers.parsed[index], "string \(index)")
      #expect(
        tokenizer.decode(ids, skippingSpecialTokens: false)
          == fixture.answers.decoded[index] ?? text, "string \(index)")
    }
    // Llama's texts begin with a token, unless the file says otherwise; no prefix is another choice.
    #expect(tokenizer.sequencePrefix == [1] && fixture.tokenizer.sequencePrefix == [1])
    gguf.addBeginOfSequence = false
    gguf.addSpacePrefix = false
    let bare = try Tokenizer(gguf: gguf)
    #expect(bare.sequencePrefix.isEmpty)
    #expect(bare.encode(" the") == tokenizer.encode("the"))
    #expect(bare.decode(bare.encode(" the")) == " the")
  }

  @Test(arguments: [
    ("gpt2", "gpt-2"), ("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"),
    ("spmodel", nil),
  ])
  func `metadata that are written for a GGUF file give the same ids`(
    kind: String, pre: String?
  ) throws {
    let fixture = try TokenizerFixture(kind)
    let made = try fixture.tokenizer.gguf(rows: fixture.tokenizer.vocabularySize + 3)
    #expect(made.pre == pre)
    #expect(made.model == (pre == nil ? "llama" : "gpt2"))
    #expect(made.tokens.count == fixture.tokenizer.vocabularySize + 3)
    #expect(made.tokens.last == "[PAD\(made.tokens.count - 1)]" && made.tokenTypes.last == 5)
    let again = try Tokenizer(gguf: made)
    #expect(again.sequencePrefix == fixture.tokenizer.sequencePrefix)
    // Metadata do not say that Qwen's “ệ!” is found after normalisation only.
    for (index, text) in fixture.strings.enumerated() where kind != "qwen2" || !text.contains("!") {
      #expect(
        again.encode(text) == fixture.tokenizer.encode(text), "string \(index)")
    }
  }

  @Test(arguments: [
    ("unigram", "Unigram"), ("metaspace", "no name in GGUF"), ("gemma", "no name in GGUF"),
  ])
  func `a tokenizer that llama.cpp has no place for is refused`(kind: String, why: String) throws {
    let fixture = try TokenizerFixture(kind)
    let error = try #require(throws: DataError.self) { _ = try fixture.tokenizer.gguf(rows: 10) }
    #expect(error.message.contains(why), "\(error.message)")
  }

  @Test func `a text after a control token begins with no mark`() throws {
    let tokenizer = try TokenizerFixture("metaspace").tokenizer
    let begin = try #require(tokenizer.id(of: "<s>"))
    let ids = tokenizer.encode("<s>the", parsingSpecialTokens: true)
    #expect(ids.first == begin)
    #expect(ids.dropFirst() != tokenizer.encode("the")[...])
    #expect(tokenizer.decode(ids) == "the")
  }

  @Test(arguments: [
    "gpt-2", "exaone4", "starcoder", "falcon3", "dbrx", "deepseek-r1-qwen", "stablelm2", "minicpm5",
    "qwen35", "tekken", "gpt-4o", "deepseek-v3", "hunyuan-dense",
  ])
  func `words are split by each name's patterns`(pre: String) throws {
    let fixture = try TokenizerFixture("gpt2")
    let tokenizer = try Tokenizer(gguf: fixture.gguf(pre: pre))
    for text in fixture.strings {
      let ids = tokenizer.encode(text)
      // Composed first: what decodes is the same text in form C.
      let composes = ["qwen35", "deepseek-r1-qwen"].contains(pre)
      let decoded = tokenizer.decode(ids)
      #expect(composes ? decoded == text : Array(decoded.utf8) == Array(text.utf8), "\(text)")
    }
    let folder = try TokenizerFolder()
    try tokenizer.write(to: folder.url, chatTemplate: nil)
    let again = try Tokenizer.load(directory: folder.url)
    for text in fixture.strings { #expect(again.encode(text) == tokenizer.encode(text)) }
  }

  @Test func `GGUF metadata may ask for a space in front`() throws {
    var gguf = try TokenizerFixture("gpt2").gguf(pre: "gpt-2")
    gguf.addSpacePrefix = true
    let tokenizer = try Tokenizer(gguf: gguf)
    #expect(tokenizer.encode("the") == tokenizer.encode(" the"))
    #expect(tokenizer.decode(tokenizer.encode("the")) == " the")
  }

  @Test(arguments: TokenizerFixture.kinds)
  func `a written tokenizer reads back the same`(kind: String) throws {
    let fixture = try TokenizerFixture(kind)
    let folder = try TokenizerFolder()
    try fixture.tokenizer.write(to: folder.url, chatTemplate: "{{ \"x\" }}\n")
    let again = try Tokenizer.load(directory: folder.url)
    #expect(again.chatTemplate == "{{ \"x\" }}\n")
    #expect(again.vocabularySize == fixture.tokenizer.vocabularySize)
    for (index, text) in fixture.strings.enumerated() {
      #expect(
        again.encode(text, parsingSpecialTokens: true) == fixture.answers.parsed[index],
        "string \(index)")
    }
  }

  @Test func `Llama-3's begin of text is added only when asked`() throws {
    let fixture = try TokenizerFixture("llama3")
    let begin = try #require(fixture.tokenizer.id(of: "<|endoftext|>"))
    let ids = fixture.tokenizer.encode("a")
    #expect(!ids.contains(begin))
    #expect(fixture.tokenizer.sequencePrefix == [begin])

    var gguf = try fixture.gguf(pre: "llama-bpe")
    gguf.beginOfSequence = begin
    gguf.addEndOfSequence = true
    gguf.endOfSequence = fixture.tokenizer.id(of: "<|im_end|>")
    let other = try Tokenizer(gguf: gguf)
    let folder = try TokenizerFolder()
    try other.write(to: folder.url, chatTemplate: nil)
    for tokenizer in [other, try Tokenizer.load(directory: folder.url)] {
      #expect(tokenizer.beginOfSequence == begin)
      #expect(tokenizer.endOfSequence == gguf.endOfSequence)
      #expect(tokenizer.sequencePrefix == [begin])
    }
  }
}
