// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

private let place = DataPlace(file: "rows.jsonl", line: 1)

struct RowTests {
  private let sample = SampleRow(
    prompt: .messages([Message(role: "user", content: "q\n\"é\u{1}")]),
    completions: [
      .init(text: "a", ids: [1, 49151], logProbability: -1.25, finishReason: .stop),
      .init(text: "", ids: [], logProbability: 0, finishReason: .length),
    ], model: .init(name: "smollm2", fingerprint: "f"),
    sampling: .object([.init("temperature", .double(1)), .init("seed", .int(3))]),
    fields: [.init("category", .string("c"))])

  @Test func `Attune's rows read back as they were written`() throws {
    let pair = Preference(
      prompt: .text("p"), chosen: .text("a"), rejected: .text("b"), outcome: .bothBad,
      probability: 0.1, margin: 1.0 / 3, chosenScore: -1e-9, rejectedScore: 12_345_678.5,
      labeller: "concise")
    let ranking = RankingRow(
      prompt: .text("p"), completions: [.text("a"), .text("b")], scores: [0.5, -2], labeller: "x")
    #expect(try SampleRow(json: JSONValue(parsing: sample.json.text), at: place) == sample)
    #expect(try Preference(json: JSONValue(parsing: pair.json.text), at: place) == pair)
    #expect(try RankingRow(json: JSONValue(parsing: ranking.json.text), at: place) == ranking)
    // The same by Codable, where the row stands inside another value.
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(try JSONDecoder().decode([Preference].self, from: encoder.encode([pair])) == [pair])
    let decoded = try JSONDecoder().decode(SampleRow.self, from: encoder.encode(sample))
    #expect(decoded.completions == sample.completions && decoded.prompt == sample.prompt)
  }

  @Test func `a row of several models names each answer's, a server's has neither ids nor logprob`()
    throws
  {
    let server = SampleRow.Model(name: "http://h/v1#m", fingerprint: "")
    let row = SampleRow(
      prompt: .text("p"),
      completions: [
        .init(
          text: "a", ids: nil, logProbability: nil, finishReason: .stop, model: server,
          sampling: .object([.init("temperature", .double(0.5))])),
        .init(
          text: "b", ids: [3], logProbability: -1, finishReason: .length,
          model: .init(name: "x", fingerprint: "f"), sampling: .object([])),
      ])
    let text = row.json.text
    #expect(!text.contains("null") && text.components(separatedBy: "\"ids\"").count == 2)
    let read = try SampleRow(json: JSONValue(parsing: text), at: place)
    #expect(read == row && read.ids == nil)
    #expect(read.models.map(\.name) == ["http://h/v1#m", "x"])
    #expect(read.model(of: read.completions[0]) == server)
    #expect(sample.models == [.init(name: "smollm2", fingerprint: "f")])
    for broken in [
      #"{"text":"a","ids":[1],"finish_reason":"stop"}"#,
      #"{"text":"a","logprob":-1,"finish_reason":"stop"}"#,
      #"{"text":"a","finish_reason":"end"}"#,
      #"{"text":"a","finish_reason":"stop","model":"x"}"#,
    ] {
      let json = try JSONValue(parsing: #"{"prompt":"p","completions":[\#(broken)]}"#)
      let error = #expect(throws: DataError.self) { try SampleRow(json: json, at: place) }
      #expect(error?.message.contains("rows.jsonl:1") == true)
    }
  }

  @Test func `what is no draw from a known distribution is refused as a proposal`() throws {
    try sample.checkProposal(at: place)
    func refused(_ word: String, _ change: (inout SampleRow) -> Void) {
      var row = sample
      change(&row)
      let error = #expect(throws: DataError.self) { try row.checkProposal(at: place) }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
    refused("completions[1] of smollm2 has no ids") {
      $0.completions[1].ids = nil
      $0.completions[1].logProbability = nil
    }
    refused("top_p 0.9") { $0.sampling = .object([.init("top_p", .double(0.9))]) }
    refused("top_k 40") { $0.completions[0].sampling = .object([.init("top_k", .int(40))]) }
    refused("greedy") { $0.sampling = .object([.init("temperature", .int(0))]) }
  }

  @Test func `a pair says no more than it must`() {
    let pair = Preference(prompt: .text("p"), chosen: .text("a"), rejected: .text("b"))
    #expect(pair.json.text == #"{"prompt":"p","chosen":"a","rejected":"b"}"#)
  }

  @Test func `a score is added to the row that came in, nothing else is changed`() throws {
    let row = try JSONValue(
      parsing: #"{"z":1.50,"prompt":"p","a":[1e2,{"k":null}],"n":12345678901234567890}"#)
    let text = row.text.dropLast() + #","score":0.25}"#
    #expect(
      row.text.hasPrefix(#"{"z":1.50,"prompt":"p","a":[1e2,{"k":null}],"n":1234567890123456"#))
    #expect(ScoreRow(row: row, score: 0.25).json.text == text)
    // A row that had a score gets the new one in its place.
    let again = ScoreRow(row: try JSONValue(parsing: String(text)), scores: [1, -0.5])
    #expect(again.json.text.hasSuffix(#""score":[1,-0.5]}"#))
    #expect(try ScoreRow(json: again.json, at: place).scores == [1, -0.5])
  }

  @Test(arguments: [0, -0.0, 1, 1e-7, 0.1, 1e15, 1e300, 1e-300, -123.456, 0x1p53])
  func `a number is written in digits that read back as the same`(value: Double) throws {
    guard case .number(let text) = try JSONValue(parsing: JSONValue.double(value).text) else {
      Issue.record("not a number")
      return
    }
    #expect(Double(text) == value)
    #expect(JSONValue.double(.nan) == .null && JSONValue.double(.infinity) == .null)
  }

  @Test func `lines are split at line feeds alone`() throws {
    let folder = try ScratchFolder()
    // Long enough to lie over several pieces of reading.
    let long = String(repeating: "x", count: 3 << 20)
    let file = try folder.file("a\r\n\n\u{2028}b\u{85}\n\(long)\nend")
    var lines: [String] = []
    try JSONLines.forEachLine(in: file) { bytes, place in
      lines.append(String(decoding: bytes, as: UTF8.self))
      #expect(place.line == lines.count)
    }
    #expect(lines == ["a\r", "", "\u{2028}b\u{85}", long, "end"])
  }
}
