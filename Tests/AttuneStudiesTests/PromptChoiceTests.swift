// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct PromptChoiceTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func choose(
    _ data: DataFile, heldOut: Bool = true, _ change: (inout PromptSettings) -> Void = { _ in }
  ) throws -> (report: PromptReport, kept: [Content], held: [Content]) {
    var settings = PromptSettings()
    if heldOut { settings.heldOutShare = 0.25 }
    change(&settings)
    let (output, other) = (
      folder.url.appending(path: "out.jsonl"), folder.url.appending(path: "held.jsonl")
    )
    let report = try PromptChoice.run(
      data, settings: settings, output: output, heldOut: heldOut ? other : nil)
    func read(_ url: URL) throws -> [Content] {
      try DataFile.read(url, expecting: [.promptOnly]).rows.compactMap(\.example.prompt)
    }
    return (report, try read(output), heldOut ? try read(other) : [])
  }

  /// Twenty prompts of three pairs each, white space apart.
  private func pairs() throws -> DataFile {
    try folder.rows(
      "pairs.jsonl",
      (0..<60).map {
        #"{"prompt": "say \#($0 % 20)\#($0 % 3 == 0 ? "" : " \\n")", "chosen": "a", "rejected": "b"}"#
      })
  }

  @Test func `each prompt comes once, on one side`() throws {
    let (report, kept, held) = try choose(try pairs())
    #expect(report.prompts == 15 && report.heldOutPrompts == 5 && report.repeated == 40)
    #expect(kept.count == 15 && held.count == 5)
    let words = (kept + held).map { $0.lastText.split(whereSeparator: \.isWhitespace).last ?? "" }
    #expect(Set(words).count == 20)
    #expect(kept.map(\.lastText) == kept.map(\.lastText).sorted { number($0) < number($1) })
  }

  private func number(_ text: String) -> Int {
    Int(text.split(whereSeparator: \.isWhitespace).last ?? "") ?? -1
  }

  @Test func `what a row says beside its prompt goes along`() throws {
    let data = try folder.rows(
      "sums.jsonl", (0..<8).map { #"{"prompt":"add \#($0)","answer":"\#($0 + 1)","n":1.0}"# })
    _ = try choose(data)
    for file in ["out.jsonl", "held.jsonl"] {
      let text = try String(contentsOf: folder.url.appending(path: file), encoding: .utf8)
      for row in text.split(separator: "\n") {
        let n = number(try JSONValue(parsing: String(row))["prompt"]?.asString ?? "")
        #expect(row == #"{"prompt":"add \#(n)","answer":"\#(n + 1)","n":1.0}"#)
      }
    }
  }

  @Test func `the draw follows from the seed`() throws {
    let data = try pairs()
    func draw(_ seed: UInt64) throws -> [Content] {
      let (_, kept, held) = try choose(data) {
        $0.count = 8
        $0.seed = seed
      }
      #expect(kept.count == 6 && held.count == 2)
      return kept + held
    }
    #expect(try draw(1) == draw(1))
    #expect(try draw(1) != draw(2))
  }

  @Test func `every kind of data gives its prompts`() throws {
    let question = #"[{"role":"user","content":"q"}]"#
    for (name, rows, count) in [
      (
        "messages",
        [#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#], 1
      ),
      (
        "hh",
        [#"{"chosen":"\n\nHuman: q\n\nAssistant: a","rejected":"\n\nHuman: q\n\nAssistant: b"}"#], 1
      ),
      ("ranking", [#"{"prompt":\#(question),"completions":["a","b"],"scores":[1,2]}"#], 1),
      (
        "samples",
        [#"{"prompt":\#(question),"completions":[{"text":"a","finish_reason":"stop"}]}"#], 1
      ),
      ("thumbs", [#"{"prompt":\#(question),"completion":"a","label":true}"#], 1),
      ("empty", [#"{"prompt":" "}"#, #"{"prompt":"q"}"#], 1),
    ] {
      let (report, kept, _) = try choose(
        try folder.rows("\(name).jsonl", rows), heldOut: false)
      #expect(kept.count == count && kept[0].lastText == "q", "\(name)")
      #expect(report.withoutPrompt == rows.count - count && report.heldOut == nil)
    }
  }

  @Test func `what can't be done is refused`() throws {
    let data = try pairs()
    func refused(
      _ word: String, _ data: DataFile, heldOut: Bool = true,
      _ change: (inout PromptSettings) -> Void
    ) {
      let error = #expect(throws: TrainingError.self) {
        _ = try choose(data, heldOut: heldOut, change)
      }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
    refused("only 20 different prompts", data) { $0.count = 21 }
    refused("held_out_share", data, heldOut: false) { $0.heldOutShare = 0.5 }
    refused("held_out_share", data) { $0.heldOutShare = 0 }
    refused("one of the two files empty", data) {
      $0.count = 3
      $0.heldOutShare = 0.1
    }
    refused("no row has a prompt", try folder.rows("t.jsonl", [#"{"text":"t"}"#])) { _ in }
  }

  @Test func `the quickstart's held-out prompts are not among those trained on`() {
    #expect(QuickstartPrompts.train.count == 128)
    #expect(QuickstartPrompts.heldOut.count == 32)
    #expect(Set(QuickstartPrompts.train + QuickstartPrompts.heldOut).count == 160)
    for prompts in [QuickstartPrompts.train, QuickstartPrompts.heldOut] {
      #expect(prompts.filter { $0.hasSuffix("Answer in one sentence.") }.count * 4 == prompts.count)
    }
  }

  @Test(arguments: Quickstart.Task.allCases)
  func `every stage of the quickstart draws answers with the sampler that is given`(
    _ task: Quickstart.Task
  ) throws {
    let settings = Quickstart.settings(task, sampler: .int8)
    #expect(settings.sample.sampler == .int8 && settings.evaluation.sampler == .int8)
    for method in RLHF.Method.allCases {
      if let online = settings.methodKnobs[method] as? any OnlineSettings {
        #expect(online.rollout.sampler == .int8, "\(method)")
      }
    }
    #expect(settings.iterate.sampler == .int8)
    try settings.validate()
    var same = settings
    same.setSampling(sampler: .same)
    #expect(same == Quickstart.settings(task))
  }
}
