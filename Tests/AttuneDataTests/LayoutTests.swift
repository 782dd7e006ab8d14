// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

private func user(_ text: String) -> Message { Message(role: "user", content: text) }
private func assistant(_ text: String) -> Message { Message(role: "assistant", content: text) }
private func system(_ text: String) -> Message { Message(role: "system", content: text) }

private func file(_ lines: String..., use: ColumnUse = ColumnUse()) throws -> DataFile {
  let folder = try ScratchFolder()
  return try DataFile.read(try folder.file(lines.joined(separator: "\n") + "\n"), use: use)
}

private func first(_ line: String) throws -> Example { try file(line).rows[0].example }

private func refusal(_ lines: String..., use: ColumnUse = ColumnUse()) throws -> String {
  let folder = try ScratchFolder()
  let rows = try folder.file(lines.joined(separator: "\n") + "\n")
  let error = #expect(throws: DataError.self) { try DataFile.read(rows, use: use) }
  return error?.message ?? ""
}

/// Layouts that public sets have, beside those of TRL.
struct LayoutTests {
  private let pair = Preference(
    prompt: .messages([user("q")]), chosen: .messages([assistant("a")]),
    rejected: .messages([assistant("b")]))
  private var briefed: Preference {
    var pair = pair
    pair.prompt = .messages([system("s"), user("q")])
    return pair
  }

  @Test(arguments: ["question", "input"])
  func `a question beside chosen and rejected is the prompt, system its first turn`(
    key: String
  ) throws {
    let rows = try file(
      #"{"system":"s","\#(key)":"q","chosen":"a","rejected":"b"}"#,
      #"{"system":"","\#(key)":"q","chosen":"a","rejected":"b"}"#)
    #expect(rows.rows.map(\.example) == [.preference(briefed), .preference(pair)])
    #expect(rows.isConversational && rows.warning == nil)
  }

  @Test func `a system column is the first turn in every layout`() throws {
    let prompt = Content.messages([system("s"), user("q")])
    let answer = Content.messages([assistant("a")])
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    for row in [
      #"{"system":"s","prompt":"q","chosen":"a","rejected":"b"}"#,
      #"{"system_prompt":"s","prompt":"q","chosen":"a","rejected":"b"}"#,
      #"{"system":"s","prompt":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b"}"#,
      #"{"system":"s","messages":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b"}"#,
      #"{"system":"s","instruction":"q","chosen":"a","rejected":"b"}"#,
      #"{"system":"s","instruction":"q","output_1":"a","output_2":"b","preference":1}"#,
      #"{"system":"s","chosen":"\n\nHuman: q\n\nAssistant: a","#
        + #""rejected":"\n\nHuman: q\n\nAssistant: b"}"#,
      #"{"system":"s","messages":\#(turns),"rejected_response":"b"}"#,
      // Given twice in the same words.
      #"{"system":"s","prompt":[{"role":"system","content":"s"},{"role":"user","content":"q"}],"#
        + #""chosen":"a","rejected":"b"}"#,
    ] { #expect(try first(row) == .preference(briefed), "\(row)") }
    for row in [
      #"{"system":"s","prompt":"q","completion":"a"}"#,
      #"{"system":"s","question":"q","answer":"a"}"#,
      #"{"system_prompt":"s","question":"q","response":"a"}"#,
      #"{"system":"s","instruction":"q","response":"a"}"#,
    ] { #expect(try first(row) == .completion(prompt: prompt, completion: answer), "\(row)") }
    #expect(try first(#"{"system":"s","prompt":"q"}"#) == .prompt(prompt))
    #expect(
      try first(#"{"system":"s","prompt":"q","completion":"a","label":false}"#)
        == .unpaired(prompt: prompt, completion: answer, label: false))
    #expect(
      try first(#"{"system":"s","prompt":"q","completions":["a"],"scores":[1]}"#)
        == .ranking(RankingRow(prompt: prompt, completions: [answer], scores: [1])))
    #expect(
      try first(
        #"{"system":"s","prompt":"q","completions":[{"text":"a","finish_reason":"stop"}]}"#
      ).prompt == prompt)
    #expect(try first(#"{"system":"s","messages":\#(turns)}"#).prompt == prompt)
    let differing = try refusal(
      #"{"system":"s","prompt":[{"role":"system","content":"t"},{"role":"user","content":"q"}]}"#)
    #expect(differing.contains(#"rows.jsonl:1: key "system" and the conversation's own"#))
    #expect(try refusal(#"{"text":"a","system":"s"}"#).contains("\"system\" is not used"))
  }

  @Test func `messages win over the prompt that they begin with`() throws {
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    let row = try file(#"{"prompt":"q","prompt_id":"x","messages":\#(turns)}"#)
    #expect(row.rows[0].example == .text(.messages([user("q"), assistant("a")])))
    #expect(row.unusedColumns.map(\.name) == ["prompt_id"])
    #expect(
      try first(#"{"prompt":"q","messages":[{"role":"user","content":"q"}]}"#)
        == .prompt(.messages([user("q")])))
    #expect(try refusal(#"{"prompt":"z","messages":\#(turns)}"#).contains("leave one of the two"))
  }

  @Test func `messages are the prompt of single messages and of a rejected response`() throws {
    let prompt = #"[{"role":"user","content":"q"}]"#
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    let other = #"[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]"#
    let (good, bad) = (
      #"{"role":"assistant","content":"a"}"#, #"{"role":"assistant","content":"b"}"#
    )
    for row in [
      #"{"messages":\#(prompt),"chosen":\#(good),"rejected":\#(bad)}"#,
      #"{"messages":\#(prompt),"chosen":[\#(good)],"rejected":[\#(bad)]}"#,
      #"{"messages":\#(prompt),"chosen":"a","rejected":"b"}"#,
      #"{"messages":\#(turns),"chosen":\#(good),"rejected":\#(bad)}"#,
      #"{"messages":\#(turns),"chosen":\#(turns),"rejected":\#(other)}"#,
      #"{"messages":\#(turns),"rejected_response":"b"}"#,
      #"{"messages":\#(turns),"rejected_messages":\#(other)}"#,
      #"{"prompt":\#(prompt),"chosen":\#(turns),"rejected":\#(other)}"#,
    ] { #expect(try first(row) == .preference(pair), "\(row)") }
    #expect(
      try refusal(#"{"messages":\#(turns),"chosen":"z","rejected":"b"}"#).contains("not \"chosen\"")
    )
    #expect(
      try refusal(#"{"messages":\#(prompt),"rejected_response":"b"}"#)
        .contains("must end in an assistant's message"))
  }

  @Test func `a prompt that both answers begin with is given once`() throws {
    let ask = #"{"role":"user","content":"q"}"#
    let brief = #"{"role":"system","content":"s"}"#
    let good = #"{"role":"assistant","content":"a"}"#
    let bad = #"{"role":"assistant","content":"b"}"#
    let answers = #""chosen":[\#(ask),\#(good)],"rejected":[\#(ask),\#(bad)]"#
    let whole = #""chosen":[\#(brief),\#(ask),\#(good)],"rejected":[\#(brief),\#(ask),\#(bad)]"#
    for row in [
      #"{"system":"s","prompt":[\#(ask)],\#(answers)}"#,
      #"{"system":"s","question":"q",\#(answers)}"#,
      #"{"system":"s","prompt":[\#(ask)],\#(whole)}"#,
      #"{"system":"s","question":"q",\#(whole)}"#,
      #"{"question":"q",\#(whole)}"#,
      #"{"prompt":" q\n",\#(whole)}"#,
      #"{"prompt":[\#(ask)],\#(whole)}"#,
      #"{"prompt":[\#(brief),\#(ask)],\#(whole)}"#,
      #"{"messages":[\#(ask)],\#(whole)}"#,
      #"{"instruction":"q",\#(whole)}"#,
    ] { #expect(try first(row) == .preference(briefed), "\(row)") }
    for row in [
      #"{"prompt":[\#(ask)],"response_a":[\#(ask),\#(good)],"response_b":[\#(ask),\#(bad)],"winner":"a"}"#,
      #"{"prompt":[\#(ask)],"response_a":[\#(ask),\#(bad)],"response_b":[\#(ask),\#(good)],"winner":"b"}"#,
      #"{"question":"q","conversation_a":[\#(ask),\#(good)],"conversation_b":[\#(ask),\#(bad)],"#
        + #""winner":"model_a"}"#,
    ] { #expect(try first(row) == .preference(pair), "\(row)") }
    for (row, words) in [
      (
        #"{"prompt":[\#(ask)],"chosen":[\#(ask),\#(good)],"rejected":[\#(bad)]}"#,
        #""chosen" begins with a turn of the user"#
      ),
      (#"{"prompt":[\#(brief),\#(ask)],\#(answers)}"#, "begins with a turn of the user"),
      (#"{"messages":[\#(ask),\#(good),\#(ask)],\#(whole)}"#, "begins with a turn of the system"),
      (#"{"prompt":"Answer as a pirate.",\#(answers)}"#, #"none of the turns that "chosen" holds"#),
      (
        #"{"question":"z","conversation_a":[\#(ask),\#(good)],"conversation_b":[\#(ask),\#(bad)],"#
          + #""winner":"model_a"}"#, #"none of the turns that "conversation_a" holds"#
      ),
    ] {
      let message = try refusal(row)
      #expect(message.contains("rows.jsonl:1: ") && message.contains(words), "\(row): \(message)")
    }
  }

  private static let choices: [(String, Bool, Double?)] = [
    (#""output_1":"a","output_2":"b","preference":1.0"#, true, nil),
    (#""output_1":"a","output_2":"b","preference":2"#, false, nil),
    (#""output_1":"a","output_2":"b","preference":1.25"#, true, 0.75),
    (#""output_1":"a","output_2":"b","preference":1.75"#, false, 0.75),
    (#""answer1":"a","answer2":"b","pw":"left""#, true, nil),
    (#""answer1":"a","answer2":"b","pw":"right","id":3"#, false, nil),
    (#""response_a":"a","response_b":"b","winner":"model_b""#, false, nil),
    (#""response_a":"a","response_b":"b","winner":"A""#, true, nil),
    (
      #""response_a":"a","response_b":"b","winner_model_a":0,"winner_model_b":1,"winner_tie":0"#,
      false, nil
    ),
    (#""response_0":"a","response_1":"b","better_response_id":1"#, false, nil),
    (#""answer_0":"a","answer_1":"b","choice":0"#, true, nil),
    (#""answer_1":"a","answer_2":"b","choice":"answer_2""#, false, nil),
  ]

  @Test(arguments: choices)
  func `two numbered answers and which is better are a pair`(
    row: (text: String, isFirst: Bool, probability: Double?)
  ) throws {
    guard case .preference(let pair) = try first(#"{"prompt":"p",\#(row.text)}"#) else {
      Issue.record("not a preference: \(row.text)")
      return
    }
    let (chosen, rejected) = row.isFirst ? ("a", "b") : ("b", "a")
    #expect(
      pair
        == Preference(
          prompt: .text("p"), chosen: .text(chosen), rejected: .text(rejected),
          probability: row.probability), "\(row.text)")
  }

  @Test func `ties are ties, and a choice that is none is refused`() throws {
    func outcome(_ choice: String) throws -> Preference.Outcome? {
      let row = #"{"prompt":"p","output_1":"a","output_2":"b",\#(choice)}"#
      guard case .preference(let pair) = try first(row) else { return nil }
      return pair.outcome
    }
    for tie in ["1.5", "0", "\"tie\""] { #expect(try outcome("\"preference\":\(tie)") == .tie) }
    #expect(try outcome(#""winner":"tie (bothbad)""#) == .bothBad)
    for (choice, words) in [
      (#""preference":3"#, "key \"preference\" is 3; expected 1 or 2"), (#""choice":0"#, "is 0"),
      (#""verdict":"perhaps""#, "\"left\""), (#""note":"x""#, "no column that is known says which"),
      (#""x":"left","y":"right""#, "2 columns say left or right"),
    ] {
      let message = try refusal(#"{"prompt":"p","output_1":"a","output_2":"b",\#(choice)}"#)
      #expect(message.contains("rows.jsonl:1: ") && message.contains(words), "\(message)")
    }
    let null = try file(
      #"{"prompt":"p","output_1":"a","output_2":"b","preference":null}"#,
      #"{"prompt":"p","output_1":"a","output_2":"b","preference":2}"#)
    #expect(null.rows.count == 1 && null.skipped.map(\.line) == [1])
  }

  @Test func `a preference that may count from 0 is refused`() throws {
    func row(_ preference: String) -> String {
      #"{"prompt":"p","response_1":"a","response_2":"b","preference":\#(preference)}"#
    }
    #expect(
      try refusal(row("1"), row("0"), row("1"))
        .contains("rows.jsonl: \"preference\" is 0 in line 2, 1 in line 3 and nowhere 2"))
    #expect(try file(row("1"), row("0"), row("2")).rows.count == 3)
    #expect(try file(row("1"), row("0"), row("1.3")).rows.count == 3)
  }

  @Test func `scores that say two things are refused, ranks beside scores named`() throws {
    #expect(
      try refusal(#"{"prompt":"p","completions":[{"text":"a","score":1}],"scores":[2]}"#)
        .contains("key \"scores\" and the scores in \"completions\" differ"))
    let same = #"{"prompt":"p","completions":[{"text":"a","score":1.0}],"scores":[1]}"#
    let ranked = #"{"prompt":"p","completions":[{"text":"a","rank":1}],"scores":[1]}"#
    #expect(try file(same).unusedColumns.isEmpty)
    #expect(try file(ranked).unusedColumns.map(\.name) == ["completions[].rank"])
  }

  @Test func `answers with ranks are a ranking, 1 the best`() throws {
    let answers = #"[{"answer":"a","model":"m","rank":2.0},{"answer":"b","model":"n","rank":1.0}]"#
    #expect(
      try first(#"{"prompt":"p","answers":\#(answers)}"#)
        == .ranking(
          RankingRow(prompt: .text("p"), completions: [.text("a"), .text("b")], scores: [-2, -1])))
    #expect(
      try first(#"{"prompt":"\n\nHuman: q\n\nAssistant: ","answers":\#(answers)}"#)
        == .ranking(
          RankingRow(
            prompt: .messages([user("q")]),
            completions: [.messages([assistant("a")]), .messages([assistant("b")])],
            scores: [-2, -1])))
  }

  private static let thumbs: [(String, Bool)] = [
    (#""label":1"#, true), (#""label":-1"#, false), (#""label":0"#, false),
    (#""label":"up""#, true), (#""thumbs":"down""#, false), (#""thumb":"👍🏽""#, true),
    (#""thumb":"👎""#, false), (#""feedback":"good""#, true), (#""feedback":"bad""#, false),
    (#""rating":"thumbs_down""#, false), (#""rating":-1"#, false),
    (#""feedback":{"rating":"up","comment":"well said"}"#, true),
    (#""feedback":{"rating":-1}"#, false), (#""kto_tag":true"#, true), (#""liked":false"#, false),
    (#""vote":"upvote""#, true),
  ]

  @Test(arguments: thumbs)
  func `a thumb is read in the words that files have`(thumb: (text: String, isUp: Bool)) throws {
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    for row in [
      #"{"messages":\#(turns),\#(thumb.text)}"#,
      #"{"conversations":\#(turns),\#(thumb.text)}"#,
      #"{"instruction":"q","output":"a",\#(thumb.text)}"#,
      #"{"question":"q","answer":"a",\#(thumb.text)}"#,
    ] {
      #expect(
        try first(row)
          == .unpaired(
            prompt: .messages([user("q")]), completion: .messages([assistant("a")]),
            label: thumb.isUp), "\(row)")
    }
    #expect(
      try first(#"{"prompt":"q","completion":"a",\#(thumb.text)}"#)
        == .unpaired(prompt: .text("q"), completion: .text("a"), label: thumb.isUp))
  }

  @Test func `a number that may be no thumb is refused`() throws {
    func row(_ text: String) -> String { #"{"prompt":"q","completion":"a",\#(text)}"# }
    #expect(
      try refusal(row(#""label":0"#), row(#""label":-1"#), row(#""label":1"#))
        .contains("\"label\" is 0 in line 1 and -1 in line 2"))
    #expect(
      try refusal(row(#""label":"0""#), row(#""label":"-1""#))
        .contains("\"label\" is 0 in line 1 and -1 in line 2"))
    #expect(try refusal(row(#""rating":1"#)).contains("every \"rating\" is 1"))
    #expect(try refusal(row(#""rating":"1""#)).contains("every \"rating\" is 1"))
    #expect(try file(row(#""rating":1"#), row(#""rating":0"#)).rows.count == 2)
    #expect(try refusal(row(#""label":5"#)).contains("rows.jsonl:1: key \"label\" must be true"))
    #expect(
      try refusal(row(#""rating":-1"#), row(#""rating":4"#)).contains(
        "rows.jsonl:2: key \"rating\""))
    #expect(
      try refusal(row(#""feedback":"too long""#)).contains("rows.jsonl:1: \"feedback\" is not used")
    )
  }

  @Test func `the reason is found beside a thumb and inside of it`() throws {
    let rows = try file(
      #"{"prompt":"q","completion":"a","label":true,"rationale":"clear"}"#,
      #"{"prompt":"q","completion":"a","feedback":{"rating":"up","comment":"short"}}"#)
    #expect(rows.rows.map(\.rationale) == ["clear", "short"])
    #expect(rows.unusedColumns.map(\.name) == ["rationale", "feedback.comment"])
  }
}

/// What is given and not used is named, or refused where it would change what is learned.
struct UnusedColumnTests {
  @Test func `plain columns are named once, with their rows and what to do`() throws {
    let rows = try file(
      #"{"prompt":"p","id":1,"answer":"5","empty":"","none":null}"#,
      #"{"prompt":"q","id":2}"#)
    #expect(
      rows.unusedColumns == [
        UnusedColumn(name: "id", rows: 2),
        UnusedColumn(
          name: "answer", rows: 1, hint: "name it \"completion\" if it is the answer to learn"),
      ])
    let warning = try #require(rows.warning)
    #expect(warning.contains("rows.jsonl: not used: \"id\" (2 rows), \"answer\" (1 row; name it"))
    #expect(try file(#"{"prompt":"p","completion":"c"}"#).warning == nil)
    let fields = try file(
      #"{"messages":[{"role":"user","content":"a","mood":"x","name":"n"},"#
        + #"{"role":"assistant","content":"b"}]}"#)
    #expect(fields.unusedColumns.map(\.name) == ["messages[].mood"])
    let nested = try file(
      #"{"instruction":"q","completions":[{"response":"a","overall_score":1,"critique":"c"}]}"#)
    #expect(nested.unusedColumns.map(\.name) == ["completions[].critique"])
  }

  private static let refused = [
    #"{"prompt":"p","images":["a.png"]}"#, #"{"prompt":"p","completion":"c","weight":0.5}"#,
    #"{"prompt":"p","chosen":"a","rejected":"b","loss_weight":2}"#,
    #"{"prompt":"p","rating":4}"#, #"{"prompt":"p","completion":"c","score":0.7}"#,
    #"{"prompt":"p","completion":"c","overallRating":3}"#, #"{"prompt":"p","preference":"a"}"#,
    #"{"prompt":"p","chosen":"a"}"#, #"{"text":"t","label":1}"#, #"{"text":"t","thumbs":"up"}"#,
    #"{"prompt":"p","winner_model_a":1}"#, #"{"prompt":"p","answers":["a","b"],"ranks":[1,2]}"#,
    #"{"messages":[{"role":"user","content":"a","images":["x"]}]}"#,
    #"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","rating":2}]}"#,
  ]

  @Test(arguments: refused)
  func `what would change what is learned is refused by name`(row: String) throws {
    let message = try refusal(row, use: ColumnUse(ignored: []))
    #expect(
      message.contains("rows.jsonl:1: \"") && message.contains("is not used")
        && message.contains("--ignore"), "\(message)")
    // Nobody is told of an option that the command has not.
    #expect(try refusal(row).hasSuffix("or take it out"))
  }

  @Test func `a judgement may stay where rows are handed on whole, or where a person says so`()
    throws
  {
    let row = #"{"prompt":"p","completion":"c","score":0.7}"#
    #expect(try file(row, use: ColumnUse(carriesRows: true)).unusedColumns.map(\.name) == ["score"])
    let prompts = try file(row, use: ColumnUse(takesPrompts: true))
    #expect(prompts.warning?.contains("rows.jsonl: the model does not see: \"score\"") == true)
    // Beside answers that were compared it does not go along.
    let pairs = try file(
      #"{"prompt":"p","chosen":"a","rejected":"b","source":1}"#, use: ColumnUse(takesPrompts: true))
    #expect(pairs.warning?.contains("rows.jsonl: not used: \"source\" (1 row)") == true)
    #expect(
      try file(row, use: ColumnUse(ignored: ["score"])).unusedColumns.map(\.name) == ["score"])
    // A picture is a part of what a reward's answer would answer.
    #expect(
      try refusal(#"{"prompt":"p","images":["a"]}"#, use: ColumnUse(carriesRows: true))
        .contains("\"images\""))
    // Where the row says which answer was liked, a rating beside it changes nothing.
    #expect(
      try file(#"{"prompt":"p","chosen":"a","rejected":"b","rating":[5,2]}"#).unusedColumns
        == [UnusedColumn(name: "rating", rows: 1)])
    #expect(try file(#"{"text":"t","language_score":0.9}"#).rows.count == 1)
  }

  @Test func `a prompt's row takes its other columns along, answers that were compared stay`()
    throws
  {
    for (row, prompt) in [
      (
        #"{"id":1.50,"prompt":"p","answer":{"a":1}}"#, #"{"prompt":"p","id":1.50,"answer":{"a":1}}"#
      ),
      (
        #"{"question":"q","answer":"so #### 5","level":2}"#,
        #"{"prompt":[{"role":"user","content":"q"}],"answer":"so #### 5","level":2}"#
      ),
      (#"{"prompt":"p","completion":"c","tests":["t"]}"#, #"{"prompt":"p","tests":["t"]}"#),
      (
        #"{"instruction":"q","input":"","output":"a","id":3}"#,
        #"{"prompt":[{"role":"user","content":"q"}],"output":"a","id":3}"#
      ),
      (
        #"{"messages":[{"role":"user","content":"q"}],"answer":"5"}"#,
        #"{"prompt":[{"role":"user","content":"q"}],"answer":"5"}"#
      ),
      (
        #"{"prompt":"p","completions":[{"text":"a","finish_reason":"stop"}],"answer":"5"}"#,
        #"{"prompt":"p","answer":"5"}"#
      ),
      (#"{"prompt":"p","chosen":"a","rejected":"b","id":1}"#, #"{"prompt":"p"}"#),
      (#"{"prompt":"p","completion":"c","label":true,"id":1}"#, #"{"prompt":"p"}"#),
    ] {
      let data = try file(row, use: ColumnUse(carriesRows: true))
      let made = try #require(data.promptRow(data.rows[0])).json.text
      #expect(made == prompt)
      // It is a row of prompts itself, with the same prompt.
      let again = try file(made, use: ColumnUse(carriesRows: true))
      #expect(
        again.kind == .promptOnly && again.rows[0].example.prompt == data.rows[0].example.prompt)
    }
    #expect(try file(#"{"text":"t"}"#).promptRow(file(#"{"text":"t"}"#).rows[0]) == nil)
  }

  @Test func `a file of another kind is told with the column that was meant`() throws {
    let folder = try ScratchFolder()
    let rows = try folder.file(#"{"prompt":"p","response":"r"}"#)
    let error = #expect(throws: DataError.self) {
      try DataFile.read(rows, expecting: [.promptCompletion])
    }
    #expect(error?.message.contains("\"response\" is not used: name it \"completion\"") == true)
  }

  @Test func `strings among conversations are told`() throws {
    let mixed = try file(#"{"prompt":"p"}"#, #"{"prompt":[{"role":"user","content":"q"}]}"#)
    #expect(mixed.warning?.contains("that of line 2 messages") == true)
  }
}

/// What is no JSON at all is told by what it is.
struct FileKindTests {
  private static let kinds: [(String, [UInt8], String)] = [
    ("a.jsonl", [0xFF, 0xFE, 0x7B, 0, 0x22, 0], "UTF-16"),
    ("a.jsonl", [0xFE, 0xFF, 0, 0x7B], "UTF-16"),
    ("a.jsonl", [0x7B, 0, 0x22, 0, 0x61, 0], "UTF-16LE"),
    ("a.csv", Array("prompt,chosen\n\"a\"b,b\n".utf8), "goes on behind its closing quote"),
    ("a.txt", Array("prompt,chosen\na,b\n".utf8), "perhaps a CSV table"),
    ("a.tsv", Array("prompt\tchosen\n".utf8), "the table has no rows"),
    ("a.parquet", Array("PAR1....".utf8), "the Parquet file is damaged or cut"),
    ("a.jsonl.zst", [0x28, 0xB5, 0x2F, 0xFD, 0, 0], "zstd -d"),
    ("a.zip", [0x50, 0x4B, 3, 4, 0], "a ZIP archive"),
    ("a.xlsx", [0x50, 0x4B, 3, 4, 0], "save the sheet as CSV"),
    ("a.jsonl", Array("<!DOCTYPE html>".utf8), "a web page"),
    ("a.jsonl", Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
    ("a.jsonl", [0, 0, 0, 0, 0, 0], "NUL bytes"),
    ("a.jsonl", Array("{\"text\":\"a\"}\n\u{0}\u{0}".utf8), "a.jsonl:2: a NUL byte"),
  ]

  @Test(arguments: kinds)
  func `a file says what it is and what to do`(
    kind: (name: String, bytes: [UInt8], words: String)
  ) throws {
    let folder = try ScratchFolder()
    let url = try folder.file(Data(kind.bytes), name: kind.name)
    let error = #expect(throws: DataError.self) { try DataFile.read(url) }
    let message = error?.message ?? ""
    #expect(message.contains(kind.words) && !message.contains("\n"), "\(message)")
    #expect(message.hasPrefix(url.relativePath))
  }

  @Test func `devices, pipes and files without end are refused at once`() throws {
    let folder = try ScratchFolder()
    let pipe = folder.url.appending(path: "pipe")
    #expect(mkfifo(pipe.path, 0o600) == 0)
    for url in [URL(filePath: "/dev/zero"), pipe] {
      let error = #expect(throws: DataError.self) { try DataFile.read(url) }
      #expect(error?.message.contains("is a device or a pipe") == true)
    }
    for start in ["", "{\"text\":\"a\"}\n", "[", "{\"text\":"] {
      let sparse = try folder.file(start, name: "sparse.jsonl")
      let handle = try FileHandle(forWritingTo: sparse)
      try handle.truncate(atOffset: 1 << 38)
      try handle.close()
      #expect(throws: DataError.self, "\(start)") { try DataFile.read(sparse) }
    }
  }

  @Test func `a NUL byte is told with its line, whatever stands below it`() throws {
    let folder = try ScratchFolder()
    let url = try folder.file("{\"text\":\"a\"}\n\u{0}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n")
    let error = #expect(throws: DataError.self) {
      try RowReader.forEach(in: url, broken: { _, _ in }, row: { _ in })
    }
    #expect(error?.message.contains("rows.jsonl:2: a NUL byte") == true)
  }

  @Test func `why a file can't be looked at is told`() throws {
    let folder = try ScratchFolder()
    let inside = try folder.file("{}").appending(path: "rows.jsonl")
    let error = #expect(throws: DataError.self) { try DataFile.read(inside) }
    #expect(error?.message.contains("Not a directory") == true, "\(error?.message ?? "")")
  }

  @Test func `a gzip file under another name is read`() throws {
    let gzip = try #require(
      Data(base64Encoded: "H4sIAAAAAAAAA6tWKkmtKFGyUkpUquWqhnGSgBwASTR4WhoAAAA="))
    let folder = try ScratchFolder()
    #expect(try DataFile.read(try folder.file(gzip, name: "rows.jsonl")).rows.count == 2)
  }

  @Test func `a key that stands twice is refused`() throws {
    for row in [#"{"text":"a","text":"b"}"#, #"{"text":"a","x":{"k":1,"k":1}}"#] {
      let message = try refusal(row)
      #expect(message.contains("rows.jsonl:1: not valid JSON at column"), "\(message)")
      #expect(message.contains("stands twice"))
    }
    // Equal to Swift, but not in JSON.
    #expect(try file("{\"text\":\"a\",\"e\u{301}\":1,\"\u{e9}\":2}").rows.count == 1)
  }
}
