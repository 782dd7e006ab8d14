// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import Testing

/// A folder that goes when the test is over.
final class Bench {
  let folder: URL

  init() throws {
    folder = URL.temporaryDirectory.appending(path: "attune-store-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func file(_ name: String, _ text: String) throws -> URL {
    let url = folder.appending(path: name)
    try Data(text.utf8).write(to: url)
    return url
  }

  func store() throws -> FeedbackStore { try FeedbackStore(folder.appending(path: "feedback.db")) }

  /// A model's answers to a prompt, put into a store.
  func answers(
    _ texts: [String], to prompt: String = "p", in store: FeedbackStore
  ) throws -> AnswerSet {
    let row = SampleRow(
      prompt: .text(prompt),
      completions: texts.map {
        .init(text: $0, ids: [1], logProbability: -1, finishReason: .stop)
      }, model: .init(name: "m", fingerprint: "f"))
    return try store.add([row])[0]
  }
}

@Suite struct StoreTests {
  /// A row of each format, with spaces, escapes and numbers that a writer of JSON would not choose.
  static let rows: [(RowFormat, String)] = [
    (
      .summarizeFromFeedback,
      #"{"info": {"post": "A post", "title": "T", "subreddit": "s"}, "summaries": [{"text": " one"}, {"text": " two", "note": 1}], "choice": 1, "worker": "w1"}"#
    ),
    (
      .hhRLHF,
      #"{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello\u00e9", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}"#
    ),
    (
      .samples,
      #"{"prompt":"P","completions":[{"text":"a","ids":[1,2],"logprob":-1.50,"finish_reason":"stop"}],"model":{"name":"m","fingerprint":"f"},"sampling":{"seed":7}}"#
    ),
    (
      .ranking,
      #"{"instruction": "Do", "completions": [{"response": "x", "overall_score": 8.50, "model": "a"}, {"response": "y", "overall_score": 2e0, "model": "b"}]}"#
    ),
    (
      .shareGPT,
      #"{"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}}"#
    ),
    (
      .pairwise,
      #"{"instruction": "i",  "output_1": "a", "output_2": "b", "preference": 2.0}"#
    ),
    (.instruction, #"{"instruction": "i", "input": "", "output": "o"}"#),
    (
      .preference,
      #"{"prompt": "P", "chosen": "c", "rejected": "r", "labeller": "anna", "extra": [1.0, {}]}"#
    ),
    (.unpaired, #"{"prompt": "P", "completion": "c", "label": false}"#),
    (.promptCompletion, #"{"prompt": "P", "completion": "c"}"#),
    (.questionAnswer, #"{"question": "q", "answer": "a"}"#),
    (.prompt, #"{"prompt": "only"}"#),
    (.messages, #"{"messages": [{"role": "user", "content": "u"}]}"#),
    (.text, #"{"text": "t"}"#),
  ]

  @Test func `every format that is read has its row here, but that of steps, which is refused`()
    throws
  {
    #expect(Set(Self.rows.map(\.0)) == Set(RowFormat.allCases).subtracting([.stepwise]))
    let bench = try Bench()
    let steps = #"{"prompt":"P","completions":["a","b"],"labels":[true,false]}"# + "\n"
    let store = try bench.store()
    let alone = try bench.file("steps.jsonl", steps)
    let error = #expect(throws: StoreError.self) { try store.importFile(alone) }
    #expect(error?.message.contains("steps.jsonl:1: the store has no place") == true)
  }

  @Test(arguments: rows.map(\.0))
  func `what came in goes out byte for byte, once`(format: RowFormat) throws {
    let bench = try Bench()
    let row = try #require(Self.rows.first { $0.0 == format }).1
    // Two rows of one text are two judgements.
    let text = row + "\n" + row + "\n"
    let file = try bench.file("in.jsonl", text)
    let store = try bench.store()
    let first = try store.importFile(file)
    #expect(first.added == 2 && first.known == 0 && first.broken.isEmpty)
    #expect(first.format == format.rawValue)
    let counts = try store.counts()
    let again = try store.importFile(file)
    #expect(again.added == 0 && again.known == 2)
    #expect(try store.counts() == counts)
    let (data, report) = try store.export(format)
    #expect(String(decoding: data, as: UTF8.self) == text)
    #expect(report.asTheyCame == 2 && report.converted == 0)
  }

  @Test func `a broken row is named with its line and stops nothing else`() throws {
    let bench = try Bench()
    let file = try bench.file(
      "in.jsonl",
      """
      {"prompt":"p","chosen":"a",
      {"prompt":"p","chosen":"a","rejected":"b"}
      {"prompt":"p","chosen":5,"rejected":"b"}

      {"text":"another format"}
      {"prompt":"p","chosen":"c","rejected":"d"}
      """)
    let report = try bench.store().importFile(file)
    #expect(report.added == 2)
    #expect(report.broken.map(\.line) == [1, 3, 5])
    #expect(report.broken.first?.reason.contains("not valid JSON") == true)
  }

  @Test func `a list keeps what stands before its mistake`() throws {
    let bench = try Bench()
    let file = try bench.file("in.json", #"[{"text":"a"}, {"text":"b"}, {"text" "c"}]"#)
    let report = try bench.store().importFile(file)
    #expect(report.added == 2 && report.broken.count == 1)
  }

  @Test func `dialogues become preference rows with the prompt apart`() throws {
    let bench = try Bench()
    let store = try bench.store()
    let row = try #require(Self.rows.first { $0.0 == .hhRLHF }).1
    _ = try store.importFile(try bench.file("hh.jsonl", row), annotator: "anna")
    let (data, report) = try store.export(.preference)
    #expect(report.converted == 1)
    let pair = try Preference(
      json: JSONValue(parsing: String(decoding: data, as: UTF8.self)),
      at: DataPlace(file: "out", line: 1))
    #expect(pair.prompt == .messages([Message(role: "user", content: "Hi")]))
    #expect(pair.chosen == .messages([Message(role: "assistant", content: "Helloé")]))
    #expect(pair.labeller == "anna")
  }

  @Test func `a ranking becomes its unequal pairs`() throws {
    let bench = try Bench()
    let store = try bench.store()
    _ = try store.importFile(
      try bench.file(
        "in.jsonl", #"{"prompt":"p","completions":["a","b","c"],"scores":[1,3,1]}"#))
    let (data, _) = try store.export(.preference)
    let rows = try Preference.read(
      try bench.file("out.jsonl", String(decoding: data, as: UTF8.self)))
    #expect(rows.map(\.chosen) == [.text("b"), .text("b")])
    #expect(Set(rows.map(\.rejected)) == [.text("a"), .text("c")])
  }

  @Test func `what was given by hand comes back with all that is known of it`() async throws {
    let bench = try Bench()
    let store = try bench.store()
    let shown = try bench.answers(["worse", "better"], in: store)
    _ = try await store.submit(
      Submission(
        key: "k", annotator: "anna", prompt: shown.prompt, answers: shown.answers.map(\.number),
        verdict: .comparison(.preferred, ranks: [2, 1], strength: 3), reason: "clearer",
        time: 1000.5, milliseconds: 2500))
    _ = try await store.submit(
      Submission(
        key: "t", annotator: "anna", prompt: shown.prompt, answers: [shown.answers[0].number],
        verdict: .thumb(isGood: true), time: 1001))
    let (data, report) = try store.export(.preference)
    #expect(
      String(decoding: data, as: UTF8.self)
        == #"{"prompt":"p","chosen":"better","rejected":"worse","labeller":"anna","#
        + #""chosen_finish_reason":"stop","rejected_finish_reason":"stop","chosen_model":"m","#
        + #""rejected_model":"m","shown_first":"rejected","strength":3,"rationale":"clearer","#
        + #""time":1000.5,"seconds":2.5}"# + "\n")
    #expect(report.omitted == 1)
    let thumbs = try store.export(.unpaired)
    #expect(
      String(decoding: thumbs.data, as: UTF8.self)
        == #"{"prompt":"p","completion":"worse","label":true,"model":"m","labeller":"anna","#
        + #""time":1001}"# + "\n")
    // What was written is read again as the same.
    let other = try FeedbackStore(bench.folder.appending(path: "other.db"))
    let file = try bench.file("out.jsonl", String(decoding: data, as: UTF8.self))
    #expect(try other.importFile(file).added == 1)
    #expect(try other.counts()["critique"] == 1)
    #expect(try other.statistics().firstPreferred.value == 0)
  }

  @Test func `a changed mind is a new row, and the old one stays on the disk`() async throws {
    let bench = try Bench()
    let store = try bench.store()
    let shown = try bench.answers(["a", "b"], in: store)
    func submit(_ outcome: Comparison.Outcome, superseding first: Int64? = nil) async throws
      -> Int64
    {
      try await store.submit(
        Submission(
          key: outcome.rawValue, annotator: "anna", prompt: shown.prompt,
          answers: shown.answers.map(\.number),
          verdict: .comparison(outcome, ranks: [1, 1], strength: nil), time: 1000, supersedes: first
        )
      ).number
    }
    let first = try await submit(.tie)
    let second = try await submit(.bothBad, superseding: first)
    #expect(try store.statistics().outcomes == ["both_bad": 1])
    _ = try await store.withdraw(second, isThumb: false, annotator: "anna", key: "w", time: 1001)
    #expect(try store.statistics().comparisons == 0)
    #expect(try store.counts()["comparison"] == 3)
  }

  @Test func `a file that is no store is refused in one line`() throws {
    let bench = try Bench()
    let file = try bench.file("feedback.db", String(repeating: "not a database. ", count: 100))
    let error = #expect(throws: StoreError.self) { try FeedbackStore(file) }
    #expect(error?.message.contains("not usable as a store") == true)
    #expect(throws: StoreError.self) {
      try FeedbackStore(bench.folder.appending(path: "none.db"), create: false)
    }
  }
}
