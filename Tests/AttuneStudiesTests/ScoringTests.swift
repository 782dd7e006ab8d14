// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct ScoringTests {
  func score(
    _ sources: [String], _ data: DataFile, _ folder: TemporaryFolder
  ) throws -> (report: ScoringReport, rows: [[String: Any]]) {
    let output = folder.url.appending(path: "scores.jsonl")
    let opened = try RewardSources(
      try sources.map { try RewardSpecification($0) }, on: NativeEngine())
    let report = try Scoring.run(opened.weighted, data: data, output: output, style: .silent)
    let rows = try String(contentsOf: output, encoding: .utf8).split(separator: "\n").map {
      try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
    }
    return (report, rows)
  }

  /// Whether JSON's number or list is what it should be, but for the last digit.
  func near(_ value: Any?, _ expected: [Double]) -> Bool {
    let list = value as? [Double] ?? (value as? Double).map { [$0] } ?? []
    return list.count == expected.count
      && zip(list, expected).allSatisfy { abs($0 - $1) < 1e-12 }
  }

  @Test func `several sources are added up by weight, and each is told`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows(
      "pairs.jsonl",
      [
        #"{"prompt":"p","chosen":"one 2","rejected":"one two","id":7}"#,
        #"{"prompt":"p","chosen":"x","rejected":"2 2"}"#,
      ])
    let (report, rows) = try score(["regex:[0-9]@3", "length:1@-1"], data, folder)
    let two = log(2.0)
    #expect(near(rows[0]["score"], [3 + two, two]))
    #expect(near(rows[1]["score"], [0, 3 + two]))
    #expect(rows[0]["id"] as? Int == 7)
    let parts = try #require(rows[0]["rewards"] as? [String: Any])
    #expect(parts.count == 2 && near(parts["regex:[0-9]"], [1, 0]))
    #expect(near(parts["length:1"], [-two, -two]))
    #expect(report.accuracy == 0.5 && report.sources.map(\.weight) == [3, -1])
    #expect(report.sources[0].mean == 0.5 && abs(report.mean - (6 + 3 * two) / 4) < 1e-12)
  }

  @Test func `one source and one answer make one number`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("rows.jsonl", [#"{"prompt":"p","completion":"one two"}"#])
    let (report, rows) = try score(["length:2"], data, folder)
    #expect(rows[0]["score"] as? Double == 0 && rows[0]["rewards"] == nil)
    #expect(report.accuracy == nil && report.rows == 1)
  }

  @Test func `every kind of row that has answers is read`() throws {
    let folder = try TemporaryFolder()
    let end = #""finish_reason":"stop""#
    for (row, expected) in [
      (#"{"text":"a b"}"#, [0.0]),
      (#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a b"}]}"#, [0]),
      (#"{"prompt":"p","completion":"a b","label":true}"#, [0]),
      (#"{"prompt":"p","completions":["a b","a"],"scores":[1,2]}"#, [0, -log(2.0)]),
      (#"{"prompt":"p","completions":[{"text":"a b","ids":[1],"logprob":-1,\#(end)}]}"#, [0]),
    ] {
      let (_, rows) = try score(["length:2"], try folder.rows("rows.jsonl", [row]), folder)
      #expect(near(rows[0]["score"], expected), "\(row)")
    }
    for (row, word) in [
      (#"{"prompt":"p"}"#, "no answer"),
      (
        #"{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"user","content":"x"}]}"#,
        "no turn of the assistant"
      ),
    ] {
      let error = #expect(throws: TrainingError.self) {
        try score(["length:2"], try folder.rows("rows.jsonl", [row]), folder)
      }
      #expect(error?.message.contains("rows.jsonl, line 1: ") == true)
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
  }

  @Test func `an answer in steps is one answer, and a process reward model tells each`() throws {
    let folder = try TemporaryFolder()
    // A step is right where it says nothing of an ox.
    func rows(_ range: Range<Int>) -> [String] {
      range.map { i in
        let steps = (0..<3).map { k in (i * 5 + k * 3) % 4 == 0 ? "ox \(k)" : "a \(k) bee" }
        let texts = steps.map { "\"\($0)\"" }.joined(separator: ",")
        let labels = steps.map { !$0.hasPrefix("ox") }
        return "{\"prompt\":\"say \(i):\",\"completions\":[\(texts)],\"labels\":\(labels)}"
      }
    }
    var settings = RewardModelSettings()
    settings.loss = .pointwise
    settings.stepSeparator = "; "
    settings.training.weights.train = .full
    settings.training.optimiser.learningRate = 5e-3
    settings.rows.batchSize = 8
    settings.rows.epochs = 12
    let model = folder.url.appending(path: "steps")
    _ = try RewardModel.train(
      tinyModel(), data: folder.rows("steps.jsonl", rows(0..<48)), settings: settings,
      output: model, options: .quiet)
    let held = try folder.rows("held.jsonl", rows(48..<60))
    let (report, scored) = try score(["length:9@0.5", "model:\(model.path):min"], held, folder)
    #expect((report.stepAccuracy ?? 0) > 0.9)
    for row in scored {
      let steps = try #require(row["steps"] as? [Double])
      let parts = try #require(row["rewards"] as? [String: Double])
      #expect(steps.count == 3 && near(parts["model:\(model.path):min"], [steps.min() ?? 0]))
      #expect(row["labels"] as? [Bool] != nil)
    }
    // Nothing is said of steps by what reads whole answers: three words a step, or two.
    let (plain, whole) = try score(["words:"], held, folder)
    #expect(plain.stepAccuracy == nil && whole[0]["steps"] == nil)
    #expect(near(whole[0]["score"], [8]))

    let loaded = try LoadedModel.open(model.path, on: NativeEngine(), rewardModels: true)
    let inspection = try Inspection(held, loaded: loaded, row: 1)
    let ends = inspection.answers[0].indices.filter { inspection.answers[0][$0].scored }
    #expect(ends.count == 3 && ends.last == inspection.answers[0].count - 1)
    #expect(inspection.text.contains("end a step"))
  }

  @Test func `a fault names the line, past the first piece too`() throws {
    let folder = try TemporaryFolder()
    let rows = (0..<300).map { #"{"prompt":"p","chosen":"\#($0)","rejected":"x"}"# }
    let command = #"while read -r l; do case $l in *'"280"'*) echo bad;; *) echo 1;; esac; done"#
    let error = #expect(throws: TrainingError.self) {
      try score(["exec:\(command)"], try folder.rows("rows.jsonl", rows), folder)
    }
    #expect(
      error?.message.contains("rows.jsonl, line 281: exec:") == true, "\(error?.message ?? "")")
    #expect(!folder.exists("scores.jsonl"))
  }

  @Test func `recorded samples and scored rows keep their rows`() throws {
    let folder = try TemporaryFolder()
    let row =
      #"{"prompt":"say","completions":[{"text":"a","ids":[97],"logprob":-1,"finish_reason":"length"},{"text":"b","ids":[98],"logprob":-1,"finish_reason":"length"}],"sampling":{"temperature":1},"answer":7.0}"#
    let samples = try folder.rows("samples.jsonl", [row, row.replacing("7.0", with: "8")])
    let source = NotingRows()
    _ = try Scoring.run(
      [(source, 1)], data: samples, output: folder.url.appending(path: "scores.jsonl"),
      style: .silent)
    #expect(source.seen == [["say", "7.0", "1"], ["say", "8", "2"]])
    let pairs = try folder.rows(
      "pairs.jsonl", [#"{"prompt":"p","chosen":"c","rejected":"r","answer":{"x":1.0}}"#])
    let other = NotingRows()
    _ = try Scoring.run(
      [(other, 1)], data: pairs, output: folder.url.appending(path: "scores.jsonl"), style: .silent)
    #expect(other.seen == [["p", #"{"x":1.0}"#, "1"]])
  }
}
