// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import Foundation
import Testing

/// A folder that goes away with the test.
final class ScratchFolder {
  let url = FileManager.default.temporaryDirectory.appending(path: "attune-\(UUID().uuidString)")

  init() throws {
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func file(_ text: String, name: String = "rows.jsonl") throws -> URL {
    try file(Data(text.utf8), name: name)
  }

  func file(_ data: Data, name: String) throws -> URL {
    let file = url.appending(path: name)
    try data.write(to: file)
    return file
  }
}

private func user(_ text: String) -> Message { Message(role: "user", content: text) }
private func assistant(_ text: String) -> Message { Message(role: "assistant", content: text) }

private func first(_ line: String) throws -> DataFile {
  let folder = try ScratchFolder()
  return try DataFile.read(try folder.file(line + "\n"))
}

struct DataFileTests {
  @Test func `TRL's standard formats`() throws {
    #expect(try first(#"{"text":"a\u00e9\ud83d\ude42"}"#).rows[0].example == .text(.text("aé🙂")))
    #expect(try first(#"{"prompt":"p","extra":1}"#).rows[0].example == .prompt(.text("p")))
    #expect(
      try first(#"{"prompt":"p","completion":" c"}"#).rows[0].example
        == .completion(prompt: .text("p"), completion: .text(" c")))
    #expect(
      try first(#"{"prompt":"p","completion":" c","label":false}"#).rows[0].example
        == .unpaired(prompt: .text("p"), completion: .text(" c"), label: false))
    let pair = Preference(
      prompt: .text("The sky is"), chosen: .text(" blue."), rejected: .text(" green."))
    #expect(
      try first(#"{"prompt":"The sky is","chosen":" blue.","rejected":" green."}"#).rows[0].example
        == .preference(pair))
    #expect(
      try first(#"{"chosen":"The sky is blue.","rejected":"The sky is green."}"#).rows[0].example
        == .preference(pair))
  }

  @Test func `TRL's conversational formats`() throws {
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    let other = #"[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]"#
    let file = try first(#"{"messages":\#(turns)}"#)
    #expect(file.rows[0].example == .text(.messages([user("q"), assistant("a")])))
    #expect(file.rows[0].example.prompt == .messages([user("q")]))
    #expect(file.isConversational && file.kind == .languageModelling)
    let pair = Preference(
      prompt: .messages([user("q")]), chosen: .messages([assistant("a")]),
      rejected: .messages([assistant("b")]))
    #expect(
      try first(#"{"chosen":\#(turns),"rejected":\#(other)}"#).rows[0].example == .preference(pair))
    // UltraFeedback, binarized: the prompt's text, whole conversations, scores.
    var scored = pair
    scored.chosenScore = 8.5
    scored.rejectedScore = 4
    #expect(
      try first(
        #"{"prompt":"q","messages":\#(turns),"chosen":\#(turns),"rejected":\#(other),"#
          + #""score_chosen":8.5,"score_rejected":4.0}"#
      ).rows[0].example == .preference(scored))
    // Parts of type text, and fields that a template may read.
    let parts = try first(
      #"{"prompt":[{"role":"user","content":[{"type":"text","text":"a"},"#
        + #"{"type":"text","text":"b"}],"name":"n"}]}"#)
    #expect(
      parts.rows[0].example
        == .prompt(
          .messages([Message(role: "user", content: "ab", fields: [.init("name", .string("n"))])])))
  }

  @Test func `other peers' formats`() throws {
    let pair = Preference(
      prompt: .messages([user("q")]), chosen: .messages([assistant("a")]),
      rejected: .messages([assistant("b")]))
    for row in [
      #"{"messages":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b"}"#,
      #"{"instruction":"q","input":"","chosen":"a","rejected":"b"}"#,
      #"{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"a"},"#
        + #""rejected":{"from":"gpt","value":"b"}}"#,
      #"{"chosen":"\n\nHuman: q\n\nAssistant: a","rejected":"\n\nHuman: q\n\nAssistant: b"}"#,
    ] { #expect(try first(row).rows[0].example == .preference(pair), "\(row)") }
    for row in [
      #"{"instruction":"do","input":"x","output":"y","source":"s"}"#,
      #"{"question":"do\nx","answer":"y"}"#,
    ] {
      #expect(
        try first(row).rows[0].example
          == .completion(
            prompt: .messages([user("do\nx")]), completion: .messages([assistant("y")])))
    }
    #expect(
      try first(
        #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"#
          + #""label":true}"#
      ).rows[0].example
        == .unpaired(
          prompt: .messages([user("q")]), completion: .messages([assistant("a")]), label: true))
    #expect(
      try first(
        #"{"info":{"post":"p","title":"t","subreddit":"r"},"summaries":[{"text":" x"},"#
          + #"{"text":"y"}],"choice":1,"worker":"w"}"#
      ).rows[0].example
        == .preference(
          Preference(
            prompt: .text("SUBREDDIT: r/r\n\nTITLE: t\n\nPOST: p\n\nTL;DR:"), chosen: .text(" y"),
            rejected: .text(" x"), labeller: "w")))
    #expect(
      try first(
        #"{"instruction":"q","completions":[{"response":"a","overall_score":7.5},"#
          + #"{"response":"b","overall_score":2}]}"#
      ).rows[0].example
        == .ranking(
          RankingRow(
            prompt: .messages([user("q")]),
            completions: [.messages([assistant("a")]), .messages([assistant("b")])],
            scores: [7.5, 2])))
  }

  @Test(arguments: [
    ("The sky is blue", "The sky is black", "The sky is", " blue"),
    ("a b", "a b c", "a b", ""), ("x\nyes", "x\nyet", "x\n", "yes"),
    ("日本語", "日本人", "日本", "語"), ("Q", "R", "", "Q"),
    ("e\u{301}a", "e\u{301}b", "e\u{301}", "a"),
  ])
  func `an implicit prompt ends at a word`(case parts: (String, String, String, String)) throws {
    let row = JSONValue.object([
      .init("chosen", .string(parts.0)), .init("rejected", .string(parts.1)),
    ])
    guard case .preference(let pair) = try first(row.text).rows[0].example else {
      Issue.record("not a preference")
      return
    }
    #expect(pair.prompt == .text(parts.2) && pair.chosen == .text(parts.3))
  }

  @Test func `a dialogue is split into its turns`() throws {
    let prompt = "\n\nHuman: a\n\nHuman: b \n\nAssistant: Human: c\n\n d\n\nHuman:e"
    func row(_ chosen: String, _ rejected: String) -> String {
      JSONValue.object([.init("chosen", .string(chosen)), .init("rejected", .string(rejected))])
        .text
    }
    let folder = try ScratchFolder()
    let file = try DataFile.read(
      try folder.file(
        [
          row(prompt + "\n\nAssistant: x", prompt + "\n\nAssistant:"),
          row(prompt + "\n\nAssistant: x", "\n\nHuman: z\n\nAssistant: y"), row(prompt, prompt),
        ].joined(separator: "\n")))
    #expect(file.format == .hhRLHF && file.rows.count == 1)
    #expect(
      file.rows[0].example
        == .preference(
          Preference(
            prompt: .messages([user("a"), user("b "), assistant("Human: c\n\n d"), user("e")]),
            chosen: .messages([assistant("x")]), rejected: .messages([assistant("")]))))
    #expect(file.skipped.map(\.line) == [2, 3])
    #expect(file.skipped[0].reason.contains("before the last"))
    #expect(file.summary.contains("2 passed over, the first in line 2"))
  }

  private static let bad: [(String, String)] = [
    ("", "rows.jsonl: the file is empty"), ("\n \n", "rows.jsonl: the file is empty"),
    (#"{"text":"a"}"# + "\n\n" + #"{"text":"b"#, "rows.jsonl:3: not valid JSON at column 11"),
    (#"{"text":"a"}"# + "\n" + #"{"text":5}"#, "rows.jsonl:2: key \"text\" must be a string"),
    (#"{"text":"a","x":NaN}"#, "rows.jsonl:1: not valid JSON at column 17: NaN"),
    (#"{"text":"a","x":-Infinity}"#, "Infinity is not JSON"),
    (#"{"text":"a"} x"#, "goes on after"), ("[1]", "rows.jsonl:1: expected a JSON object"),
    ("5", "rows.jsonl:1: expected a JSON object, not a number"), ("[]", "the file is empty"),
    ("[{\"text\":\"a\"},\n{\"text\":", "rows.jsonl:2: not valid JSON"),
    (#"{"q":"a"}"#, "the keys \"q\" fit no known format"),
    (#"{"text":"a"}"# + "\n" + #"{"prompt":"a"}"#, "rows.jsonl:2: the file began with rows of"),
    (#"{"prompt":"p","completion":5}"#, "completion must be a string or a list of messages"),
    (#"{"prompt":"p","completion":"c","label":"x"}"#, "key \"label\" must be true or false"),
    (#"{"messages":[{"role":"user"}]}"#, "messages[0].content is missing"),
    (#"{"messages":[]}"#, "empty list"), (#"{"messages":[5]}"#, "messages[0] must be an object"),
    (#"{"conversations":[{"from":"me","value":"x"}]}"#, "from is \"me\""),
    (#"{"prompt":"p","chosen":"a","rejected":"b","probability":1.5}"#, "between 0 and 1"),
    (#"{"prompt":"p","chosen":"a","rejected":"b","margin":1e999}"#, "too large"),
    (#"{"prompt":"p","chosen":"a","rejected":"b","outcome":"won"}"#, "preferred, tie, both_bad"),
    (#"{"prompt":"p","completions":["a","b"],"scores":[1]}"#, "2 completions but 1 scores"),
    (#"{"prompt":"p","completions":[{"text":"a","ids":[-1]}]}"#, "token ids"),
    (#"{"chosen":"a","rejected":"a"}"#, "no row of the file can be used"),
    (#"{"text":"\ud800"}"#, "surrogate"), ("{\"text\":\"a\tb\"}", "control character"),
    (String(repeating: "{\"a\":", count: 100_000), "nested deeper"),
  ]

  @Test(arguments: bad)
  func `bad input is told by line and key, in one line`(text: String, words: String) throws {
    let folder = try ScratchFolder()
    let file = try folder.file(text)
    let error = #expect(throws: DataError.self) { try DataFile.read(file) }
    let message = error?.message ?? ""
    #expect(message.contains(words) && !message.contains("\n"), "\(message)")
    #expect(message.hasPrefix(file.relativePath))
  }

  @Test func `bytes that are not UTF-8, folders and missing files are told`() throws {
    let folder = try ScratchFolder()
    let file = try folder.file(Data("{\"text\":\"".utf8 + [0xFF] + "\"}".utf8), name: "x.jsonl")
    #expect(throws: DataError.self) { try DataFile.read(file) }
    #expect(throws: DataError.self) { try DataFile.read(folder.url) }
    #expect(throws: DataError.self) { try DataFile.read(folder.url.appending(path: "none")) }
    let wrong = try folder.file(#"{"text":"a"}"#, name: "text.jsonl")
    let error = #expect(throws: DataError.self) {
      try DataFile.read(wrong, expecting: [.preference])
    }
    #expect(error?.message.contains("preference is needed") == true)
  }

  @Test func `any bytes at all end in an error, not in a crash`() throws {
    var random = SplitMix(seed: 7)
    let folder = try ScratchFolder()
    let row = #"{"prompt":"p\u00e9","chosen":[{"role":"user","content":"x"}],"n":-1.5e3}"#
    let seed = Array(row.utf8)
    for _ in 0..<300 {
      var bytes = seed
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        if Bool.random(using: &random) {
          bytes[at] = UInt8.random(in: 0...255, using: &random)
        } else {
          bytes.remove(at: at)
        }
      }
      let file = try folder.file(Data(bytes), name: "x.jsonl")
      _ = try? DataFile.read(file)
    }
  }

  @Test func `a list, a mark of UTF-8, carriage returns and blank lines are read`() throws {
    let folder = try ScratchFolder()
    let rows = ["{\"text\":\"a\"}", "{\"text\":\"b\\nc\"}"]
    let list = try folder.file(
      "\u{FEFF} [\(rows[0]),\n\n \(rows[1])\n]\n", name: "rows.json")
    let lines = try folder.file("\u{FEFF}\(rows[0])\r\n\n  \n\(rows[1])")
    for (file, line) in [(list, 3), (lines, 4)] {
      let data = try DataFile.read(file)
      #expect(data.rows.map(\.example) == [.text(.text("a")), .text(.text("b\nc"))])
      #expect(data.rows[1].line == line)
    }
  }

  @Test func `a compressed file is read, a cut one told`() throws {
    // `printf '{"text":"a"}\n{"text":"b"}\n' | gzip -n` twice, one after the other.
    let gzip: [UInt8] = try #require(
      Data(
        base64Encoded: "H4sIAAAAAAAAA6tWKkmtKFGyUkpUquWqhnGSgBwASTR4WhoAAAA="
      ).map { Array($0) })
    let folder = try ScratchFolder()
    let whole = try folder.file(Data(gzip + gzip), name: "rows.jsonl.gz")
    let data = try DataFile.read(whole)
    #expect(data.rows.map(\.line) == [1, 2, 3, 4])
    #expect(data.rows[3].example == .text(.text("b")))
    for count in 1..<gzip.count {
      let cut = try folder.file(Data(gzip[..<count]), name: "cut.jsonl.gz")
      #expect(throws: DataError.self) { try DataFile.read(cut) }
    }
    var damaged = gzip
    damaged[20] ^= 0x55
    let bad = try folder.file(Data(damaged), name: "bad.jsonl.gz")
    #expect(throws: DataError.self) { try DataFile.read(bad) }
  }
}
