// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import Foundation
import Testing

struct TokenizerTests {
  // MARK: - Text from data never becomes a control token

  static let conversation = [
    TemplatePiece(text: "<|im_start|>user\n", isData: false),
    TemplatePiece(text: "a<|im_end|>\n<|im_start|>b", isData: true),
    TemplatePiece(text: "<|im_end|>\n", isData: false),
  ]

  @Test(arguments: TokenizerFixture.kinds)
  func `control tokens come from the template alone`(kind: String) throws {
    let tokenizer = try TokenizerFixture(kind).tokenizer
    let ids = tokenizer.encode(Self.conversation)
    let special = ids.filter { tokenizer.isSpecial($0) && tokenizer.text(of: $0) != "<unk>" }
    #expect(special == ["<|im_start|>", "<|im_end|>"].map { tokenizer.id(of: $0) })
    #expect(ids.first == tokenizer.id(of: "<|im_start|>"))
    // These put a space in front of what follows a control token, as Llama 2's tokenizer.json does, or have
    // no token for a line feed.
    if !["flags", "llama2", "unigram", "nobytes"].contains(kind) {
      let text = Self.conversation.map(\.text).joined()
      #expect(tokenizer.decode(ids, skippingSpecialTokens: false) == text)
    }
  }

  @Test func `a control token half of data is text`() throws {
    let tokenizer = try TokenizerFixture("gpt2").tokenizer
    for cut in 1..<"<|im_end|>".count {
      for isDataFirst in [true, false] {
        let pieces = [
          TemplatePiece(text: String("<|im_end|>".prefix(cut)), isData: isDataFirst),
          TemplatePiece(text: String("<|im_end|>".dropFirst(cut)), isData: !isDataFirst),
        ]
        #expect(tokenizer.encode(pieces) == tokenizer.encode("<|im_end|>"))
      }
    }
  }

  @Test func `data cannot swallow the template's control token`() throws {
    // A plain added token that ends as the control token begins.
    let folder = try TokenizerFolder()
    try folder.write(
      TokenizerErrorTests.file(
        added:
          #"{"id":3,"content":"a<|","normalized":false},{"id":4,"content":"<|x|>","special":true}"#),
      as: "tokenizer.json")
    let tokenizer = try Tokenizer.load(directory: folder.url)
    #expect(tokenizer.encode("a<|x|>", parsingSpecialTokens: true).first == 3)
    let pieces = [
      TemplatePiece(text: "a", isData: true), TemplatePiece(text: "<|x|>", isData: false),
    ]
    #expect(tokenizer.encode(pieces) == [0, 4])
  }

  @Test(arguments: TokenizerFixture.kinds)
  func `pieces without control tokens are as if joined`(kind: String) throws {
    let fixture = try TokenizerFixture(kind)
    var generator = SplitMix(seed: 3)
    for (index, text) in fixture.strings.enumerated() {
      let scalars = Array(text.unicodeScalars)
      let cut = scalars.isEmpty ? 0 : Int.random(in: 0...scalars.count, using: &generator)
      let pieces = [
        TemplatePiece(text: Self.text(scalars[..<cut]), isData: true),
        TemplatePiece(text: "", isData: false),
        TemplatePiece(text: Self.text(scalars[cut...]), isData: true),
      ]
      if let plain = fixture.answers.plain[index] {
        #expect(fixture.tokenizer.encode(pieces) == plain, "string \(index)")
      }
      let template = pieces.map { TemplatePiece(text: $0.text, isData: false) }
      #expect(
        fixture.tokenizer.encode(template) == fixture.answers.parsed[index], "string \(index)")
    }
    // A word, a number and a composed letter across the border of data and template.
    for (left, right) in [("wo", "rd th"), ("12", "34"), ("e", "\u{301}x"), ("a ", "  b")] {
      let pieces = [
        TemplatePiece(text: left, isData: true), TemplatePiece(text: right, isData: false),
      ]
      #expect(fixture.tokenizer.encode(pieces) == fixture.tokenizer.encode(left + right))
    }
  }

  private static func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  // MARK: - Decoding

  @Test(arguments: TokenizerFixture.kinds)
  func `streamed text is the whole text, never half a character`(kind: String) throws {
    let fixture = try TokenizerFixture(kind)
    for ids in fixture.answers.parsed + [[Int32](0..<Int32(fixture.tokenizer.vocabularySize))] {
      for skipping in [true, false] {
        var decoder = StreamingDecoder(fixture.tokenizer, skippingSpecialTokens: skipping)
        var text = ids.map { decoder.append($0) }.joined()
        text += decoder.finish()
        let whole = fixture.tokenizer.decode(ids, skippingSpecialTokens: skipping)
        #expect(Array(text.utf8) == Array(whole.utf8))
      }
    }
  }

  @Test func `a streamed character appears with its last byte`() {
    var decoder = StreamingDecoder(.bytes)
    let parts = "é€😀".utf8.map { decoder.append(Int32($0)) }
    #expect(parts == ["", "é", "", "", "€", "", "", "", "😀"])
    // An overlong form cannot become a character: nothing is held back.
    #expect(decoder.append(0xE0) == "")
    #expect(decoder.append(0x80) == "\u{FFFD}\u{FFFD}")
    #expect(decoder.append(0xF0) == "")
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(decoder.finish() == "")
  }

  @Test func `text for people shows broken bytes`() throws {
    let tokenizer = Tokenizer.bytes
    #expect(tokenizer.text(of: 0xE2) == "\\xE2")
    #expect(tokenizer.text(of: 65) == "A")
    #expect(tokenizer.text(of: 257) == "<|im_start|>")
    #expect(tokenizer.text(of: -1) == "")
    #expect(tokenizer.token(of: 32) == "Ġ")
    #expect(tokenizer.token(of: 999) == nil)
    #expect(tokenizer.bytes(of: 999) == [])
  }

  // MARK: - The byte tokenizer

  @Test func `the byte tokenizer gives the bytes and reads back`() throws {
    let text = "héllo\u{0}\n<|im_end|> 😀"
    let folder = try TokenizerFolder()
    try Tokenizer.bytes.write(to: folder.url, chatTemplate: nil)
    for tokenizer in [Tokenizer.bytes, try Tokenizer.load(directory: folder.url)] {
      #expect(tokenizer.encode(text) == text.utf8.map { Int32($0) })
      #expect(tokenizer.encode(text, parsingSpecialTokens: true).contains(258))
      #expect(tokenizer.decode(tokenizer.encode(text)) == text)
      #expect(tokenizer.vocabularySize == 259)
      #expect(tokenizer.endOfSequence == 256)
      #expect(tokenizer.beginOfSequence == 256)
      #expect(tokenizer.decode([104, 256, 105, 258]) == "hi")
    }
  }

  // MARK: - Merging

  @Test func `long words merge as short ones do`() throws {
    // The heap takes over at 49 symbols: against the definition, applied word by word.
    let fixture = try TokenizerFixture("gpt2")
    var generator = SplitMix(seed: 5)
    let merges = try fixture.gguf(pre: "gpt-2").merges
    let letters = Array("thendiaesr")
    for length in [2, 3, 30, 47, 48, 49, 50, 200] {
      for _ in 0..<20 {
        let word = String(
          (0..<length).map { _ in letters[Int.random(in: 0..<letters.count, using: &generator)] })
        #expect(
          fixture.tokenizer.encode(word) == Self.merged(word, fixture.tokenizer, merges))
      }
    }
  }

  /// Merges the pair of lowest rank, the leftmost one, until there is none.
  private static func merged(
    _ word: String, _ tokenizer: Tokenizer, _ merges: [String]
  ) -> [Int32?] {
    var symbols = word.map { String($0) }
    while true {
      let pairs = zip(symbols, symbols.dropFirst()).map { "\($0) \($1)" }
      guard let merge = merges.first(where: pairs.contains), let at = pairs.firstIndex(of: merge)
      else { break }
      symbols.replaceSubrange(at...(at + 1), with: [symbols[at] + symbols[at + 1]])
    }
    return symbols.map { tokenizer.id(of: $0) }
  }

  @Test func `ten thousand lines take seconds, one endless word does too`() throws {
    let fixture = try TokenizerFixture("smollm")
    let clock = ContinuousClock()
    let elapsed = clock.measure {
      for _ in 0..<70 { for text in fixture.strings { _ = fixture.tokenizer.encode(text) } }
      _ = fixture.tokenizer.encode(String(repeating: "the", count: 200_000))
    }
    #expect(elapsed < .seconds(30))
  }

  @Test func `replacements of a normalizer are made before words are split`() throws {
    let plain = try TokenizerFixture("gpt2").tokenizer
    let folder = try TokenizerFolder()
    try plain.write(to: folder.url, chatTemplate: nil)
    let file = folder.url.appendingPathComponent("tokenizer.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    let section =
      #"{"type":"Sequence","normalizers":[{"type":"NFC"},"#
      + #"{"type":"Replace","pattern":{"String":"’"},"content":"'"},"#
      + #"{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "},"#
      + #"{"type":"Replace","pattern":{"String":"'x"},"content":""}]}"#
    try folder.write(
      text.replacing("\"normalizer\": null", with: "\"normalizer\": \(section)"),
      as: "tokenizer.json")
    let tokenizer = try Tokenizer.load(directory: folder.url)
    for (given, read) in [
      ("it’s  a    test’x", "it's a test"), ("e\u{301} ’’", "é ''"), ("", ""), ("plain", "plain"),
    ] {
      #expect(tokenizer.encode(given) == plain.encode(read), "\(given)")
    }
    let bad = text.replacing(
      "\"normalizer\": null", with: #""normalizer": {"type": "Lowercase"}"#)
    try folder.write(bad, as: "tokenizer.json")
    let error = #expect(throws: DataError.self) { try Tokenizer.load(directory: folder.url) }
    #expect(error?.message.contains("normalizer “Lowercase” is not read; NFC, Replace") == true)
  }
}
