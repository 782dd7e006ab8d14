// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

@Suite(.timeLimit(.minutes(2))) struct ServerTests {
  @Test func `a label is stored with sides, strength, reason and time, and undo is a new row`()
    async throws
  {
    let bench = try await ServerBench(ServerBench.rows(3)) { $0.strengths = 3 }
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    let question = try #require(try await anna.next())
    let saved = try await anna.label(
      question, ranks: [2, 1], ["strength": 3, "reason": "It *answers*.", "milliseconds": 4200])
    #expect(saved.status == 200)
    #expect((saved.object["counts"] as? [String: Int])?["yours"] == 1)
    let (data, _) = try bench.store.export(.preference)
    let row = try JSONValue(parsing: String(decoding: data, as: UTF8.self))
    #expect(row["shown_first"] == .string("rejected"))
    #expect(row["strength"] == .int(3) && row["seconds"] == .double(4.2))
    #expect(row["rationale"] == .string("It *answers*."))
    #expect(row["labeller"] == .string("anna"))
    #expect(row["chosen_model"] != nil && row["chosen_model"] != row["rejected_model"])

    let undone = try await anna.post("api/undo", ["key": "undo-1"])
    #expect(undone.object["question"] as? String == question)
    #expect(try bench.store.export(.preference).data.isEmpty)
    // The same undo, sent again, undoes nothing more.
    #expect(try await anna.post("api/undo", ["key": "undo-1"]).status == 409)
    let counts = try bench.store.counts()
    #expect(counts["comparison"] == 2, "nothing was taken out of the store")
    #expect(try await anna.label(question, ranks: [1, 1], ["both_bad": true]).status == 200)
    let bad = try JSONValue(
      parsing: String(decoding: try bench.store.export(.preference).data, as: UTF8.self))
    #expect(bad["outcome"] == .string("both_bad"))
  }

  @Test func `a label that is sent twice is stored once`() async throws {
    let bench = try await ServerBench(ServerBench.rows(2))
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    let question = try #require(try await anna.next())
    for _ in 0..<3 {
      #expect(try await anna.label(question, ranks: [1, 2], key: "one").status == 200)
    }
    #expect(try bench.store.counts()["comparison"] == 1)
    // Another mind is another row, and the last one holds.
    #expect(try await anna.label(question, ranks: [1, 1], key: "two").status == 200)
    #expect(try bench.store.counts()["comparison"] == 2)
    let statistics = try bench.store.statistics()
    #expect(statistics.comparisons == 1 && statistics.outcomes == ["tie": 1])
  }

  @Test func `several people label at once and each question has its votes`() async throws {
    let bench = try await ServerBench(ServerBench.rows(6)) { $0.votes = 2 }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for name in ["anna", "bert", "carl"] {
        group.addTask {
          let client = PageClient(bench.server.url)
          try await client.begin(name)
          while let question = try await client.next() {
            let answer = try await client.label(question, ranks: [1, 2])
            #expect(answer.status == 200)
          }
        }
      }
      try await group.waitForAll()
    }
    let report = bench.collector.report()
    #expect(report.finished == 6 && report.labels == 12)
    let statistics = try bench.store.statistics()
    #expect(statistics.comparisons == 12 && statistics.items == 6)
    let client = PageClient(bench.server.url)
    try await client.begin("dora")
    #expect(try await client.post("api/next").object["state"] as? String == "done")
  }

  @Test func `what is sent says nothing of the model`() async throws {
    let bench = try await ServerBench(ServerBench.rows(2))
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    let answer = try await anna.post("api/next")
    let text = String(decoding: answer.data, as: UTF8.self)
    #expect(text.contains("an answer") && !text.contains("secret"))
  }

  @Test func `gold questions are asked and annotators measured by them`() async throws {
    let gold = (0..<5).map {
      #"{"prompt":"gold \#($0)","chosen":"right \#($0)","rejected":"wrong \#($0)"}"#
    }
    let bench = try await ServerBench(ServerBench.rows(40), gold: gold) { $0.goldShare = 0.5 }
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    for _ in 0..<30 {
      let turn = try await anna.post("api/next").object
      let question = try #require(turn["question"] as? String)
      let answers = try #require(turn["answers"] as? [[[String: String]]])
      let isRight = answers[0][0]["html"]?.contains("wrong") != true
      _ = try await anna.label(question, ranks: isRight ? [1, 2] : [2, 1])
    }
    let statistics = try bench.store.statistics()
    let own = try #require(statistics.annotators.first { $0.name == "anna" })
    #expect(own.gold.count == 5 && own.gold.value == 1)
    // The same file again adds no second key.
    _ = try bench.collector.addGold(bench.folder.appending(path: "gold.jsonl"))
    #expect(try bench.store.statistics().comparisons == statistics.comparisons)
  }

  @Test func `rankings and thumbs`() async throws {
    let rows = (0..<2).map { ServerBench.row("p\($0)", ["a\($0)", "b\($0)", "c\($0)"]) }
    let ranking = try await ServerBench(rows) { $0.shape = .rankings }
    let anna = PageClient(ranking.server.url)
    try await anna.begin("anna")
    let question = try #require(try await anna.next())
    #expect(try await anna.label(question, ranks: [1, 2]).status == 400)
    #expect(try await anna.label(question, ranks: [9, 1, 1]).status == 400)
    #expect(try await anna.label(question, ranks: [3, 1, 1]).status == 200)
    #expect(try ranking.store.export(.ranking).report.converted == 1)
    #expect(try ranking.store.export(.preference).report.converted == 2)

    let thumbs = try await ServerBench(rows) { $0.shape = .thumbs }
    let bert = PageClient(thumbs.server.url)
    try await bert.begin("bert")
    for good in [true, false] {
      let question = try #require(try await bert.next())
      #expect(try await bert.label(question, ranks: [1]).status == 400)
      let answer = try await bert.post(
        "api/label", ["key": "\(good)", "question": question, "good": good, "reason": "so"])
      #expect(answer.status == 200)
    }
    #expect(try thumbs.store.export(.unpaired).report.converted == 2)
    #expect(try await bert.post("api/undo", ["key": "u"]).status == 200)
    #expect(try thumbs.store.export(.unpaired).report.converted == 1)
    #expect(try thumbs.store.statistics().thumbs == 1)
  }

  @Test func `what was answered stays answered when the server is started anew`() async throws {
    let bench = try await ServerBench(ServerBench.rows(3))
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    let question = try #require(try await anna.next())
    _ = try await anna.label(question, ranks: [1, 2])
    let store = try bench.store
    let error = #expect(throws: StoreError.self) { try Collector(CollectSettings(), store: store) }
    #expect(error?.code == .inUse)
    await bench.server.stop()
    bench.collector.release()
    let collector = try Collector(CollectSettings(), store: store)
    try collector.addSamples([bench.folder.appending(path: "samples.jsonl")])
    #expect(collector.report().finished == 1)
    let again = try await PageServer.start(collector, at: .init())
    let client = PageClient(again.url)
    try await client.begin("anna")
    let next = try await client.next()
    #expect(next != nil && next != question)
    // Even the last step of the earlier run can be undone.
    #expect(
      try await client.post("api/undo", ["key": "u"]).object["question"] as? String == question)
    await again.stop()
  }

  @Test func `progress tells days, agreement and ratings`() async throws {
    let bench = try await ServerBench(ServerBench.rows(4)) { $0.votes = 2 }
    for name in ["anna", "bert"] {
      let client = PageClient(bench.server.url)
      #expect(try await client.get("api/progress").status == 401)
      try await client.begin(name)
      while let question = try await client.next() {
        _ = try await client.label(question, ranks: [1, 2])
      }
    }
    let client = PageClient(bench.server.url)
    try await client.begin("carl")
    let progress = try await client.get("api/progress").object
    let days = try #require(progress["days"] as? [[String: Any]])
    #expect(days.reduce(0) { $0 + ($1["labels"] as? Int ?? 0) } == 8)
    let statistics = try #require(progress["statistics"] as? [String: Any])
    #expect((statistics["annotators"] as? [Any])?.count == 2)
    let ranking = try #require(progress["ranking"] as? [String: Any])
    #expect((ranking["models"] as? [[String: Any]])?.count == 2)
    #expect((progress["questions"] as? [String: Int])?["finished"] == 4)
  }

  @Test func `a port that is taken is told in one line`() async throws {
    let bench = try await ServerBench(ServerBench.rows(1))
    var address = PageServer.Address()
    address.port = Int(bench.server.url.split(separator: ":").last?.dropLast() ?? "") ?? 0
    let error = await #expect(throws: ServerError.self) {
      _ = try await PageServer.start(bench.collector, at: address)
    }
    #expect(error?.message.contains("port \(address.port)") == true)
  }
}
