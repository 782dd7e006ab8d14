// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import Testing

/// What judged files of other tools become in a store.
struct ImportTests {
  @Test func `judged files of other tools are judgements`() throws {
    let bench = try Bench()
    let store = try bench.store()
    for (name, row, chosen) in [
      (
        "eval.json",
        #"[{"instruction":"i","output_1":"a","output_2":"b","preference":2.0,"generator_1":"m","#
          + #""generator_2":"n"}]"#, #""chosen_model":"n","rejected_model":"m""#
      ),
      (
        "studio.json", #"[{"id":1,"prompt":"p","answer1":"c","answer2":"d","pw":"left"}]"#,
        #""chosen":"c""#
      ),
      (
        "ranks.jsonl",
        #"{"prompt":"r","answers":[{"answer":"e","rank":2.0},{"answer":"f","rank":1.0}]}"#,
        #""chosen":"f""#
      ),
    ] {
      let report = try store.importFile(try bench.file(name, row + "\n"))
      #expect(report.added == 1 && report.broken.isEmpty, "\(report)")
      let pairs = String(decoding: try store.export(.preference).data, as: UTF8.self)
      #expect(pairs.contains(chosen), "\(pairs)")
    }
    // Each model won once against the other: by the columns that name them, and by those of Attune.
    let both = try bench.file(
      "both.jsonl",
      #"{"prompt":"p","output_1":"a","output_2":"b","winner":2,"model_1":"m","model_2":"n"}"# + "\n"
        + #"{"prompt":"p","output_1":"a","output_2":"b","winner":1,"model_1":"m","model_2":"n"}"#
        + "\n")
    let ranking = try ModelRanking(both)
    #expect(ranking.models.map(\.winRate) == [0.5, 0.5] && ranking.unnamed == 0)
  }

  @Test func `a judgement that cannot be read is refused, never dropped`() throws {
    let bench = try Bench()
    let store = try bench.store()
    for (row, column) in [
      (#"{"prompt":"p","rating":4}"#, "rating"), (#"{"prompt":"p","gpt4_preference":"x"}"#, "gpt4"),
      (#"{"prompt":"p","completion":"c","feedback":"too long"}"#, "feedback"),
      (#"{"prompt":"p","answer1":"a","answer2":"b"}"#, "answer1"),
    ] {
      let file = try bench.file("judged.jsonl", row + "\n")
      let error = #expect(throws: StoreError.self) { try store.importFile(file) }
      #expect(error?.message.contains("judged.jsonl:1: ") == true)
      #expect(error?.message.contains(column) == true, "\(error?.message ?? "")")
    }
    let kept = try store.importFile(
      try bench.file("judged.jsonl", #"{"prompt":"p","rating":4,"id":1}"# + "\n"),
      ignored: ["rating"])
    #expect(kept.added == 1 && kept.unused.map(\.name) == ["rating", "id"])
    #expect(kept.warning?.contains("judged.jsonl: not used: \"rating\" (1 row)") == true)
  }

  @Test func `the reason of a thumb is kept, and goes out with it`() throws {
    let bench = try Bench()
    let store = try bench.store()
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    let report = try store.importFile(
      try bench.file(
        "thumbs.jsonl",
        #"{"conversations":\#(turns),"thumbs":"down","rationale":"wrong","labeller":"ann"}"# + "\n"
          + #"{"conversations":\#(turns),"feedback":{"rating":"up","comment":"short"}}"# + "\n"))
    #expect(report.added == 2 && report.unused.isEmpty)
    let file = String(decoding: try store.export(.unpaired).data, as: UTF8.self)
    let lines = file.split(separator: "\n")
    #expect(
      lines.contains {
        $0.contains(#""label":false,"labeller":"ann","rationale":"wrong""#)
      }, "\(file)")
    #expect(lines.contains { $0.contains(#""label":true,"rationale":"short""#) }, "\(file)")
  }

  @Test func `rows that differ in nothing else than their reason keep it`() throws {
    let bench = try Bench()
    let store = try bench.store()
    let turns = #"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#
    let rows = [#""rationale":"rude""#, #""comment":"dull""#, #""id":3"#].map {
      #"{"conversations":\#(turns),"thumbs":"down",\#($0)}"#
    }
    _ = try store.importFile(try bench.file("thumbs.jsonl", rows.joined(separator: "\n")))
    let lines = String(decoding: try store.export(.unpaired).data, as: UTF8.self)
      .split(separator: "\n")
    #expect(lines.count == 3)
    #expect(
      zip(lines, [#""rationale":"rude"}"#, #""rationale":"dull"}"#, #""label":false}"#])
        .allSatisfy { $0.hasSuffix($1) }, "\(lines)")
  }

  private static let unread: [(String, [String])] = [
    (
      #"{"prompt":"p","completion":"c","label":true,"gold":true,"strength":2,"shown_first":"chosen","#
        + #""model":"m","time":1,"seconds":2,"annotator":"ann"}"#,
      ["gold", "strength", "shown_first"]
    ),
    (
      #"{"prompt":"p","completions":["a","b"],"scores":[1,2],"strength":2,"shown_first":"chosen","#
        + #""gold":true,"models":["m","n"],"model":"m"}"#, ["strength", "shown_first", "model"]
    ),
    (
      #"{"prompt":"p","chosen":"a","rejected":"b","model":"m","generator_1":"m","model_a":"n","#
        + #""strength":2,"shown_first":"chosen","gold":true,"chosen_model":"m"}"#,
      ["model", "generator_1", "model_a"]
    ),
    (
      #"{"prompt":"p","output_1":"a","output_2":"b","winner":1,"generator_1":"m","generator_2":"n","#
        + #""model_1":"m"}"#, ["model_1"]
    ),
    (
      #"{"prompt":"p","chosen":"a","rejected":"b","rationale":"x","comment":"y"}"#, ["comment"]
    ),
    (#"{"prompt":"p","chosen":"a","rejected":"b","reason":7}"#, ["reason"]),
    (
      #"{"prompt":"p","completion":"c","feedback":{"rating":"up","comment":"x","reason":"y"}}"#,
      ["feedback.comment"]
    ),
    (
      #"{"prompt":"p","completions":[{"text":"a","model":"m"}],"scores":[1],"rationale":"x"}"#,
      ["rationale"]
    ),
    (#"{"prompt":"p","labeller":"ann","seconds":2}"#, ["labeller", "seconds"]),
    (#"{"prompt":"p","comment":"x","labeller":"ann"}"#, []),
  ]

  @Test(arguments: unread)
  func `what a kind of row has no place for is named`(row: (text: String, names: [String])) throws {
    let bench = try Bench()
    let report = try bench.store().importFile(try bench.file("in.jsonl", row.text + "\n"))
    #expect(report.unused.map(\.name) == row.names, "\(row.text)")
  }

  @Test func `who judged is read from what other tools call it`() throws {
    let bench = try Bench()
    let store = try bench.store()
    let pair = #"{"prompt":"p","chosen":"a","rejected":"b""#
    let report = try store.importFile(
      try bench.file(
        "studio.jsonl",
        "\(pair),\"annotator\":7}\n\(pair),\"annotator\":\"zoë\"}\n\(pair),\"annotator\":7,\"labeller\":\"ann\"}\n"
      ), annotator: "someone")
    #expect(report.added == 3 && report.unused.isEmpty)
    #expect(try store.statistics().annotators.map(\.name).sorted() == ["7", "ann", "zoë"])
  }

  @Test func `what stands beside the texts is checked`() throws {
    let bench = try Bench()
    let store = try bench.store()
    let pair = #"{"prompt":"p","chosen":"a","rejected":"b""#
    for (field, words) in [
      (#""time":"yesterday""#, "key \"time\" must be a number"), (#""time":-1"#, "since 1970"),
      (#""time":1764000000000"#, "since 1970"), (#""gold":"yes""#, "key \"gold\""),
      (#""strength":99"#, "key \"strength\" must lie between 1"),
      (#""strength":"strong""#, "key \"strength\""), (#""seconds":-2"#, "key \"seconds\""),
      (#""time":1e999"#, "key \"time\" is too large a number"), (#""labeller":5"#, "labeller"),
      (#""annotator":{}"#, "key \"annotator\" must be a name or a number"),
      (#""shown_first":"left""#, "key \"shown_first\""), (#""chosen_model":7"#, "chosen_model"),
      (#""gold":true,"gold":false"#, "the key \"gold\" stands twice"),
    ] {
      let file = try bench.file("bad.jsonl", "\(pair),\(field)}\n\(pair)}\n")
      let report = try store.importFile(file)
      #expect(report.broken.map(\.line) == [1], "\(field)")
      #expect(report.broken.first?.reason.contains(words) == true, "\(report.text)")
    }
  }
}
