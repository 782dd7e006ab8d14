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
      #expect(fixture.tokenizer.encode(text) == fixture.answers.plain[index], note)
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
