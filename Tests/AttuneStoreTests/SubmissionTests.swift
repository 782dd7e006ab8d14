// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import Testing

@Suite struct SubmissionTests {
  private let bench: Bench
  private let store: FeedbackStore
  private let answers: AnswerSet

  init() throws {
    bench = try Bench()
    store = try bench.store()
    answers = try bench.answers(["a", "b"], in: store)
    #expect(
      try bench.answers(["a", "b"], in: store) == answers, "the same answers again are the same")
  }

  private func submission(
    _ key: String, ranks: [Int] = [2, 1], by annotator: String = "anna",
    supersedes: Int64? = nil
  ) -> Submission {
    Submission(
      key: key, annotator: annotator, prompt: answers.prompt,
      answers: answers.answers.map(\.number),
      verdict: .comparison(.preferred, ranks: ranks, strength: 2), reason: "because", time: 1000,
      milliseconds: 1500, supersedes: supersedes)
  }

  @Test func `the same key again adds nothing, another annotator's does`() async throws {
    let first = try await store.submit(submission("k"))
    let again = try await store.submit(submission("k"))
    #expect(first.isNew && !again.isNew && first.number == again.number)
    let other = try await store.submit(submission("k", by: "bert"))
    #expect(other.isNew && other.number != first.number)
    let standing = try store.standingJudgements()
    #expect(standing.map(\.annotator) == ["anna", "bert"])
    #expect(standing[0].ranks == [2, 1] && !standing[0].isThumb)
    #expect(standing[0].answers == answers.answers.map(\.number))
    #expect(
      standing[0].strength == 2 && standing[0].reason == "because" && standing[0].time == 1000)
    #expect(try store.statistics().critiques == 2)
  }

  @Test func `a withdrawal is a row, is the annotator's own, and happens once`() async throws {
    let label = try await store.submit(submission("k"))
    func withdraw(_ name: String, _ key: String) async throws -> Submission.Receipt {
      try await store.withdraw(label.number, isThumb: false, annotator: name, key: key, time: 1001)
    }
    await #expect(throws: StoreError.self) { try await withdraw("bert", "u") }
    #expect(try await withdraw("anna", "u").isNew)
    #expect(try await !withdraw("anna", "u").isNew)
    #expect(try store.standingJudgements().isEmpty)
    #expect(try store.statistics().comparisons == 0)
    #expect(try store.export(.preference).data.isEmpty)
    #expect(try store.counts()["comparison"] == 2)
    #expect(try store.labelsByDay().isEmpty)
  }

  @Test func `a thumb that was taken back counts nowhere`() async throws {
    let thumb = Submission(
      key: "t", annotator: "anna", prompt: answers.prompt, answers: [answers.answers[0].number],
      verdict: .thumb(isGood: true), time: 1000)
    let receipt = try await store.submit(thumb)
    #expect(try store.standingJudgements().map(\.isThumb) == [true])
    #expect(try store.export(.unpaired).report.converted == 1)
    #expect(try store.labelsByDay().map(\.labels) == [1])
    _ = try await store.withdraw(
      receipt.number, isThumb: true, annotator: "anna", key: "u", time: 1001)
    #expect(try store.standingJudgements().isEmpty)
    #expect(try store.statistics().thumbs == 0)
    #expect(try store.export(.unpaired).report.converted == 0)
    #expect(try store.labelsByDay().isEmpty)
  }

  @Test func `a thumb goes out with its own reason, not with that of the one before`() async throws
  {
    func thumb(_ key: String, _ isGood: Bool, _ reason: String, after: Int64? = nil) async throws
      -> Int64
    {
      try await store.submit(
        Submission(
          key: key, annotator: "anna", prompt: answers.prompt,
          answers: [answers.answers[0].number], verdict: .thumb(isGood: isGood), reason: reason,
          time: after == nil ? 1000 : 1001, supersedes: after)
      ).number
    }
    func exported() throws -> String {
      String(decoding: try store.export(.unpaired).data, as: UTF8.self)
    }
    let first = try await thumb("a", false, "rude")
    #expect(try exported().contains(#""rationale":"rude""#))
    _ = try await thumb("b", true, "", after: first)
    #expect(try exported().contains(#""label":true"#) && !exported().contains("rationale"))
  }

  @Test func `what makes no sense is refused`() async throws {
    func isRefused(_ change: (inout Submission) -> Void) async -> Bool {
      var changed = submission("k")
      change(&changed)
      do {
        _ = try await store.submit(changed)
        return false
      } catch {
        return error is StoreError
      }
    }
    #expect(await isRefused { $0.verdict = .comparison(.preferred, ranks: [1], strength: nil) })
    #expect(await isRefused { $0.verdict = .comparison(.tie, ranks: [0, 1], strength: nil) })
    #expect(await isRefused { $0.verdict = .comparison(.withdrawn, ranks: [1, 1], strength: nil) })
    #expect(await isRefused { $0.answers[1] = $0.answers[0] })
    #expect(await isRefused { $0.answers[1] = 999 })
    #expect(await isRefused { $0.verdict = .thumb(isGood: true) })
    #expect(try store.counts()["comparison"] == 0)
  }

  @Test func `answers are found by model and sampling`() throws {
    let model = SampleRow.Model(name: "m", fingerprint: "f")
    let found = try store.answers(to: .text("p"), by: model, sampling: .object([]))
    #expect(found == answers)
    #expect(try store.answers(to: .text("q"), by: model, sampling: .object([])) == nil)
    let other = SampleRow.Model(name: "m", fingerprint: "g")
    #expect(try store.answers(to: .text("p"), by: other, sampling: .object([])) == nil)
  }

  @Test func `a key is added once, and rows that are no comparison are named`() throws {
    let file = try bench.file(
      "gold.jsonl", #"{"prompt":"g","chosen":"yes","rejected":"no","source":"s"}"# + "\n")
    for _ in 0..<2 {
      let (sets, warning) = try store.addKey(file)
      #expect(warning?.contains("gold.jsonl: not used: \"source\" (1 row)") == true)
      #expect(sets.count == 1 && sets[0].answers.map(\.content) == [.text("yes"), .text("no")])
    }
    #expect(try store.counts()["comparison"] == 1)
    let wrong = try bench.file("wrong.jsonl", #"{"prompt":"g","completion":"yes","label":true}"#)
    let error = #expect(throws: StoreError.self) { try store.addKey(wrong) }
    #expect(error?.message.contains("wrong.jsonl:1: a gold question") == true)
    #expect(try store.statistics().thumbs == 0, "nothing of a refused file stays")
  }
}
