// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct FeedTests {
  /// Two models that answer with their name and the prompt, and count how often they are asked.
  private final class Parrots: Answerer {
    var asked: [String] = []
    private let names: [String]

    init(_ names: [String] = ["one", "two"]) { self.names = names }

    func turns(of number: Int) -> [AnswerTurn] {
      names.map {
        AnswerTurn(
          model: .init(name: $0, fingerprint: "f-\($0)"),
          sampling: .object([.init("temperature", .int(1))]), count: 1)
      }
    }

    func answers(
      _ turn: AnswerTurn, to prompts: [Content], numbers: [Int]
    ) throws -> [SampleRow] {
      zip(prompts, numbers).map { prompt, number in
        asked.append("\(turn.model.name) \(number)")
        return SampleRow(
          prompt: prompt,
          completions: [
            .init(
              text: "\(turn.model.name) says \(prompt.lastText)", ids: [1], logProbability: -1,
              finishReason: .stop)
          ], model: turn.model, sampling: turn.sampling)
      }
    }
  }

  /// Scores an answer by the number that its prompt ends with: the margin grows with it.
  private struct Numbers: AnswerScorer {
    let names = ["numbers"]

    func scores(prompt: Content, answers: [Content]) throws -> [[Double]] {
      let number = Double(prompt.lastText.split(separator: " ").last ?? "") ?? 0
      return [answers.map { $0.lastText.hasPrefix("one") ? number : 0 }]
    }
  }

  private func bench() throws -> (folder: URL, store: FeedbackStore) {
    let folder = URL.temporaryDirectory.appending(path: "attune-feed-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return (folder, try FeedbackStore(folder.appending(path: "feedback.db")))
  }

  private let prompts = (0..<20).map { Content.text("prompt \($0)") }

  @Test func `answers are made as far ahead as asked for, and never twice`() async throws {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    let parrots = Parrots()
    let collector = try Collector(CollectSettings(), store: store)
    var feed = try Feed(collector, prompts: prompts, answerer: parrots, ahead: 8, batch: 4)
    while try feed.step() {}
    #expect(collector.untouched == 8 && parrots.asked.count == 16)

    // People use them up, and the feed goes on while they work.
    let server = try await PageServer.start(collector, at: .init())
    let anna = PageClient(server.url)
    try await anna.begin("anna")
    for _ in 0..<5 {
      let question = try #require(try await anna.next())
      #expect(try await anna.label(question, ranks: [1, 2]).status == 200)
    }
    while try feed.step() {}
    #expect(collector.untouched >= 8)
    for _ in 0..<3 {
      let question = try #require(try await anna.next())
      #expect(try await anna.label(question, ranks: [1, 2]).status == 200)
    }
    await server.stop()

    // A later run takes what is there.
    let others = Parrots()
    collector.release()
    let later = try Collector(CollectSettings(), store: store)
    var again = try Feed(later, prompts: prompts, answerer: others, ahead: 1000, batch: 4)
    while try again.step() {}
    #expect(Set(parrots.asked).isDisjoint(with: others.asked))
    #expect(parrots.asked.count + others.asked.count == 40)
    #expect(Set(others.asked).count == others.asked.count)
    #expect(later.report().questions == 20 && later.report().finished == 8)
  }

  @Test func `a new policy answers from the next prompt on, and old questions are not asked`()
    async throws
  {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    let collector = try Collector(CollectSettings(), store: store)
    var feed = try Feed(
      collector, prompts: prompts, answerer: Parrots(["start", "other"]), ahead: 8, batch: 4)
    while try feed.step() {}
    #expect(collector.untouched == 8)
    let policy = Parrots(["policy", "start"])
    feed.renew(policy)
    #expect(collector.untouched == 0 && collector.report().questions == 0)
    while try feed.step() {}
    #expect(policy.asked.first == "policy 8" && collector.untouched == 8)

    // Who answered is in the store, and what people said of it is counted for and against.
    let server = try await PageServer.start(collector, at: .init())
    let anna = PageClient(server.url)
    try await anna.begin("anna")
    for ranks in [1, 1, 0, 2] {
      let turn = try await anna.post("api/next").object
      let answers = try #require(turn["answers"] as? [[[String: String]]])
      let isFirst = answers[0][0]["html"]?.contains("policy says") == true
      let question = try #require(turn["question"] as? String)
      let given = ranks == 0 ? [1, 1] : isFirst == (ranks == 1) ? [1, 2] : [2, 1]
      #expect(try await anna.label(question, ranks: given).status == 200)
    }
    let question = try #require(try await anna.next())
    #expect(try await anna.label(question, ranks: [1, 1], ["both_bad": true]).status == 200)
    let wins = try store.wins([
      ("f-policy", "f-start"), ("f-start", "f-policy"), ("f-policy", "f-other"),
    ])
    #expect(
      wins.map { [$0.won, $0.lost, $0.tied, $0.bothBad] } == [
        [2, 1, 1, 1], [1, 2, 1, 1], [0, 0, 0, 0],
      ])
    #expect(wins[0].value == 2.5 / 4 && wins[2].value == nil)
    await server.stop()
  }

  @Test func `a skip outlives a restart, and an undone one does not`() async throws {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    func serve() async throws -> (server: PageServer, anna: PageClient) {
      let collector = try Collector(CollectSettings(), store: store)
      var feed = try Feed(collector, prompts: Array(prompts.prefix(3)), answerer: Parrots())
      while try feed.step() {}
      let server = try await PageServer.start(collector, at: .init())
      let anna = PageClient(server.url)
      try await anna.begin("anna")
      return (server, anna)
    }
    var (server, anna) = try await serve()
    let first = try #require(try await anna.next())
    #expect(try await anna.post("api/skip", ["question": first]).status == 200)
    let second = try #require(try await anna.next())
    #expect(try await anna.post("api/skip", ["question": second]).status == 200)
    #expect(try await anna.post("api/undo", ["key": "k"]).object["question"] as? String == second)
    await server.stop()

    (server, anna) = try await serve()
    var seen: [String] = []
    while let question = try await anna.next() {
      seen.append(question)
      #expect(try await anna.label(question, ranks: [1, 2]).status == 200)
    }
    #expect(seen.count == 2 && seen.contains(second) && !seen.contains(first))
    // A judgement is taken back first, then the skip of the earlier run.
    #expect(try await anna.post("api/undo", ["key": "a"]).object["question"] as? String == seen[1])
    #expect(try await anna.post("api/undo", ["key": "b"]).object["question"] as? String == seen[0])
    #expect(try await anna.post("api/undo", ["key": "c"]).object["question"] as? String == first)
    await server.stop()
  }

  @Test func `people wait while answers are being made and are done after that`() async throws {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    let collector = try Collector(CollectSettings(), store: store)
    var feed = try Feed(
      collector, prompts: Array(prompts.prefix(1)), answerer: Parrots(), ahead: 1)
    let server = try await PageServer.start(collector, at: .init())
    let anna = PageClient(server.url)
    try await anna.begin("anna")
    #expect(try await anna.post("api/next").object["state"] as? String == "waiting")
    while try feed.step() {}
    let question = try #require(try await anna.next())
    let last = try await anna.label(question, ranks: [1, 2])
    #expect(last.object["state"] as? String == "done")
    await server.stop()
  }

  @Test func `what is least sure is asked first, and the accuracy on labels is told`() async throws
  {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    let collector = try Collector(CollectSettings(), store: store)
    var feed = try Feed(
      collector, prompts: prompts, answerer: Parrots(), scorer: Numbers(), ahead: 20)
    while try feed.step() {}
    let server = try await PageServer.start(collector, at: .init())
    let anna = PageClient(server.url)
    try await anna.begin("anna")
    for number in 0..<8 {
      let turn = try await anna.post("api/next").object
      let prompt = try #require((turn["prompt"] as? [[String: String]])?.first?["html"])
      #expect(prompt.contains("prompt \(number)<"))
      let answers = try #require(turn["answers"] as? [[[String: String]]])
      let isOneFirst = answers[0][0]["html"]?.contains("one says") == true
      // The reward model prefers "one"; of prompt 0 it says nothing. People agree on the first five.
      let ranks = isOneFirst == (number < 5) ? [1, 2] : [2, 1]
      let question = try #require(turn["question"] as? String)
      #expect(try await anna.label(question, ranks: ranks).status == 200)
    }
    let rewards = try await anna.get("api/progress").object["rewards"] as? [[String: Any]]
    let own = try #require(rewards?.first)
    #expect(own["name"] as? String == "numbers" && own["pairs"] as? Int == 8)
    let accuracy = try #require(own["accuracy"] as? Double)
    #expect(abs(accuracy - 4.5 / 8) < 1e-9)
    let growth = try #require(own["growth"] as? [[String: Any]])
    #expect(growth.map { $0["pairs"] as? Int } == [1, 2, 4, 8])
    #expect(growth.map { $0["accuracy"] as? Double } == [0.5, 0.75, 0.875, 4.5 / 8])
    await server.stop()
  }

  @Test func `numbers out of range are refused`() throws {
    let (folder, store) = try bench()
    defer { try? FileManager.default.removeItem(at: folder) }
    let collector = try Collector(CollectSettings(), store: store)
    #expect(throws: ServerError.self) { try Feed(collector, ahead: 0) }
    #expect(throws: ServerError.self) { try Feed(collector, batch: 0) }
  }
}

@Suite struct UncertaintyTests {
  @Test func `of one model the least margin is the most uncertain`() {
    let values = [0.0, 0.5, 1, 3, 40].map { Uncertainty.ofComparison([[$0, 0]]) }
    #expect(values[0] == 1)
    #expect(zip(values, values.dropFirst()).allSatisfy { $0 > $1 })
    // p = σ(1) = 0.731058…: −p log₂ p − (1 − p) log₂(1 − p).
    #expect(abs(values[2] - 0.8400) < 1e-4)
    #expect(
      abs(Uncertainty.ofComparison([[7, 8]]) - values[2]) < 1e-12, "which one is first is nothing")
  }

  @Test func `of several models it is what they disagree on, not what all find a toss-up`() {
    #expect(Uncertainty.ofComparison([[0, 0], [0, 0]]) == 0)
    #expect(Uncertainty.ofComparison([[2, 0], [2, 0]]) < 1e-12)
    let apart = Uncertainty.ofComparison([[4, 0], [0, 4]])
    // Both are 0.0130 bits-of-entropy sure of the opposite: 1 − H(σ(4)).
    #expect(abs(apart - (1 - Uncertainty.ofComparison([[4, 0]]))) < 1e-12)
    #expect(apart > 0.8)
  }

  @Test func `a ranking is as uncertain as its pairs, and numbers that are none count nothing`() {
    let three = Uncertainty.ofComparison([[0, 0, 100]])
    #expect(abs(three - 1.0 / 3) < 1e-9)
    #expect(Uncertainty.ofComparison([[.nan, 0]]) == 0 && Uncertainty.ofComparison([]) == 0)
    #expect(Uncertainty.ofThumb([0]) == 1 && Uncertainty.ofThumb([.infinity]) == 0)
  }
}
