// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation
import Testing

/// Align while you label: `attune collect --align`.
@Suite(.serialized, .timeLimit(.minutes(10))) struct AlignCommandTests {
  private struct Failure: Error, CustomStringConvertible {
    let description = "nothing came of four hundred labels"
  }

  private let bench: Workbench

  init() throws {
    bench = try Workbench()
    try bench.write(
      "prompts.jsonl", (0..<60).map { #"{"prompt":"the cat \#($0)"}"# }.joined(separator: "\n"))
  }

  private func serve(_ more: String = "") throws -> Served {
    try Served(
      [
        "collect", "--model", "model", "--prompts", "prompts.jsonl", "--store", "feedback.db",
        "--port", "0", "--max-tokens", "8", "--align", "dpo", "--align-every", "12", "--ahead", "6",
        "--set", "align.dpo.layers=1", "--set", "align.dpo.learning_rate=0.02", "--json",
        "--threads", "1",
      ] + more.split(separator: " ").map(String.init), in: bench.folder)
  }

  /// Labels until something holds of what the progress page is told: the answer with more vowels is the
  /// better one.
  private func label(
    _ client: PageClient, until holds: ([String: Any]) -> Bool
  ) async throws -> [String: Any] {
    for _ in 0..<400 {
      let align = try await client.get("api/progress").object["align"] as? [String: Any] ?? [:]
      if holds(align) { return align }
      let turn = try await client.post("api/next").object
      guard let question = turn["question"] as? String,
        let answers = turn["answers"] as? [[[String: String]]]
      else {
        try await Task.sleep(for: .milliseconds(50))
        continue
      }
      // Blind: nothing that the page is given tells who answered.
      #expect(!"\(turn)".contains("policy-"))
      let vowels = answers.map { $0[0]["html"]?.count { "aeiou".contains($0) } ?? 0 }
      // Slowly enough for the progress view, which is two seconds old at most.
      try await Task.sleep(for: .milliseconds(200))
      let ranks = vowels[0] >= vowels[1] ? [1, 2] : [2, 1]
      #expect(try await client.label(question, ranks: ranks).status == 200)
    }
    throw Failure()
  }

  private func policies(_ align: [String: Any]) -> [[String: Any]] {
    align["policies"] as? [[String: Any]] ?? []
  }

  private func wins(_ align: [String: Any], of policy: Int) -> [String: Any] {
    policies(align).first { $0["number"] as? Int == policy }?["wins"] as? [String: Any] ?? [:]
  }

  private func pairs(_ wins: [String: Any]) -> Int {
    ["won", "lost", "tied"].reduce(0) { $0 + (wins[$1] as? Int ?? 0) }
  }

  @Test func `policies take over, are measured by the next labels, and can be gone back to`()
    async throws
  {
    var run = try serve()
    try await run.listens()
    var client = PageClient(run.url)
    try await client.begin("anna")
    var align = try await label(client) {
      pairs(wins($0, of: 1)) >= 2
    }
    // The first round began with twelve labels, and the policy was held against the start after that.
    let first = try #require(policies(align).first { $0["number"] as? Int == 1 })
    let labels = try #require(first["labels"] as? Int)
    #expect(labels >= 12 && labels < 20 && first["previous"] as? Int == 0)
    #expect(first["name"] as? String == "feedback.db.policies/policy-1")
    #expect((wins(align, of: 1)["interval"] as? [String: Any])?.count == 2)
    #expect(try run.interrupt() == 0)
    let ended = policies(try run.object()["align"] as? [String: Any] ?? [:])
    #expect(ended.count >= 2)

    // The store says who gave which answer, and the pairs trained on are what was labelled by then.
    let file = try bench.read("feedback.db.policies/policy-1.jsonl")
    #expect(file.split(separator: "\n").count == labels && !file.contains("policy-1"))
    _ = try bench.attune(line: "feedback export --store feedback.db --output labels.jsonl")
    let rows = try bench.read("labels.jsonl").split(separator: "\n")
    #expect(rows.contains { $0.contains(#"/policy-1""#) && $0.contains(#"_model":"model""#) })

    // The same command goes on with the latest; the next policy is held against it.
    let latest = ended.count - 1
    run = try serve()
    try await run.listens()
    client = PageClient(run.url)
    try await client.begin("anna")
    align = try await label(client) {
      pairs(wins($0, of: latest + 1)) >= 1
    }
    #expect(policies(align)[latest + 1]["previous"] as? Int == latest)
    #expect(try run.interrupt() == 0)
    let count = policies(try run.object()["align"] as? [String: Any] ?? [:]).count

    // Back to the first: it answers, and the next one is held against it.
    run = try serve("--policy 1")
    try await run.listens()
    client = PageClient(run.url)
    try await client.begin("anna")
    align = try await label(client) { _ in true }
    #expect(align["current"] as? Int == 1)
    align = try await label(client) { $0["current"] as? Int == count }
    #expect(policies(align)[count]["previous"] as? Int == 1)
    #expect(try run.interrupt() == 0)

    let none = try bench.attune(
      line:
        "collect --model model --prompts prompts.jsonl --store feedback.db --align dpo --policy 9")
    #expect(none.code == 1 && none.failure.contains("there is no policy 9"), "\(none.errors)")
  }

  @Test func `a round that was killed goes on, whatever was labelled meanwhile`() async throws {
    // Long enough to be killed in the middle.
    let long = "--set align.dpo.epochs=4000 --set align.dpo.checkpoint_seconds=0.05"
    var run = try serve(long)
    try await run.listens()
    var client = PageClient(run.url)
    try await client.begin("anna")
    _ = try await label(client) { $0["training"] as? Int == 1 }
    let checkpoint = "feedback.db.policies/policy-1/checkpoint.safetensors"
    for _ in 0..<500 where !bench.exists(checkpoint) {
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(bench.exists(checkpoint))
    // People label on while it trains.
    for _ in 0..<2 {
      // Answers are sampled ahead between steps of the round: on a busy machine a page waits a moment.
      var next = try await client.next()
      for _ in 0..<100 where next == nil {
        try await Task.sleep(for: .milliseconds(100))
        next = try await client.next()
      }
      let question = try #require(next)
      #expect(try await client.label(question, ranks: [1, 2]).status == 200)
    }
    run.kill()
    let before = try bench.read("feedback.db.policies/policy-1.jsonl")

    run = try serve(long)
    try await run.listens()
    client = PageClient(run.url)
    try await client.begin("anna")
    for _ in 0..<500 where !run.errors.contains("resuming at step") {
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(run.errors.contains("resuming at step"), "\(run.errors)")
    #expect(try run.interrupt() == 0)

    // Begun with other knobs it begins again, on what was labelled when it began.
    run = try serve("--set align.dpo.epochs=2")
    try await run.listens()
    client = PageClient(run.url)
    try await client.begin("anna")
    let align = try await label(client) { $0["current"] as? Int ?? 0 >= 1 }
    #expect(policies(align)[1]["labels"] as? Int == before.split(separator: "\n").count)
    #expect(try bench.read("feedback.db.policies/policy-1.jsonl") == before)
    #expect(try run.interrupt() == 0)
  }

  @Test(arguments: [
    ("--samples samples.jsonl --align dpo", 64, "--align needs one --model"),
    ("--model model --prompts prompts.jsonl --align dpo --as thumbs", 64, "attune kto"),
    ("--model model --prompts prompts.jsonl --policy 1", 64, "--align"),
    ("--model model --prompts prompts.jsonl --align none", 64, "--align"),
    ("--model model --prompts prompts.jsonl --align dpo --align-every 0", 64, "align.every"),
    ("--model model --prompts prompts.jsonl --align dpo --set align.dpo.gamma=1", 1, "gamma"),
    ("--model model --prompts prompts.jsonl --set align.every=3", 64, "align"),
  ])
  func `what it can't work with is told in one line`(
    arguments: String, code: Int32, message: String
  ) throws {
    let run = try CommandRun(
      ["collect", "--store", "other.db", "--port", "0"]
        + arguments.split(separator: " ").map(String.init), in: bench.folder)
    #expect(run.code == code, "\(run.errors)")
    #expect(run.failure.contains(message), "\(run.failure)")
  }
}
