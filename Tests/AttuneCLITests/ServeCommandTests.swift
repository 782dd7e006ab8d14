// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation
import Synchronization
import Testing

/// `attune serve` on a tiny model.
@Suite(.serialized, .timeLimit(.minutes(10))) struct ServeCommandTests {
  /// Names that several tasks add to.
  private final class Names: Sendable {
    private let names = Mutex<Set<String>>([])

    var all: Set<String> { names.withLock { $0 } }

    func add(_ name: String) -> Int {
      names.withLock { names in
        names.insert(name)
        return names.count
      }
    }
  }

  private let bench: Workbench

  init() throws { bench = try Workbench() }

  private func serve(_ more: String = "", model: String = "model") throws -> Served {
    try Served(
      ["serve", "--model", model, "--port", "0", "--json", "--threads", "1"]
        + more.split(separator: " ").map(String.init), in: bench.folder)
  }

  private func complete(
    _ client: PageClient, _ more: [String: Any] = [:]
  ) async throws -> PageClient.Response {
    try await client.post(
      "v1/completions",
      ["model": "model", "prompt": "the cat", "max_tokens": 8].merging(more) { $1 })
  }

  private func texts(_ response: PageClient.Response) -> [String] {
    (response.object["choices"] as? [[String: Any]] ?? []).compactMap { $0["text"] as? String }
  }

  @Test func `answers are those that sample draws, side by side and one by one`() async throws {
    let run = try serve()
    try await run.listens()
    let client = PageClient(run.url)
    let greedy = try bench.attune(
      "generate", "--model", "model", "--raw", "--temperature", "0", "--max-tokens", "8", "--json",
      "--prompt", "the cat")
    let expected = try #require(try greedy.object()["text"] as? String)
    #expect(texts(try await complete(client, ["temperature": 0])) == [expected])
    let alone = try await complete(client, ["seed": 3, "n": 2])
    let beside = try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
      for i in 0..<12 {
        group.addTask {
          let answer = try await PageClient(run.url).post(
            "v1/completions",
            [
              "model": "model", "prompt": i % 3 == 0 ? "the cat" : "a dog \(i)", "max_tokens": 8,
              "seed": 3, "n": 2,
            ])
          return (
            i,
            (answer.object["choices"] as? [[String: Any]] ?? []).compactMap {
              $0["text"] as? String
            }
          )
        }
      }
      return try await group.reduce(into: [Int: [String]]()) { $0[$1.0] = $1.1 }
    }
    for i in stride(from: 0, to: 12, by: 3) { #expect(beside[i] == texts(alone)) }
    #expect(beside.values.allSatisfy { $0.count == 2 })

    // Scores of a prompt are those that `logprobs` tells.
    let echo = try await complete(
      client, ["echo": true, "logprobs": 1, "max_tokens": 1, "temperature": 0])
    let lists = (echo.object["choices"] as? [[String: Any]])?[0]["logprobs"] as? [String: Any]
    let scores = try #require(lists?["token_logprobs"] as? [Any])
    #expect(scores.first is NSNull && scores.count == "the cat".count + 1)
    let stopped = try await complete(
      client, ["temperature": 0, "stop": String(expected.dropFirst(2).prefix(1))])
    #expect(expected.hasPrefix(texts(stopped)[0]) && texts(stopped)[0].count <= 2)
    let long = try await complete(client, ["prompt": Array(repeating: 65, count: 5000)])
    #expect(
      long.status == 400
        && (long.object["error"] as? [String: Any])?["param"] as? String == "prompt")
    #expect(try run.interrupt() == 0)
    let report = try run.object()
    #expect(report["requests"] as? Int == 17)
  }

  @Test func `no rating that was acknowledged is lost by a kill`() async throws {
    var run = try serve("--store feedback.db")
    try await run.listens()
    let url = run.url
    let answer = try await complete(PageClient(url), ["n": 4])
    let id = try #require(answer.object["id"] as? String)
    let acknowledged = Names()
    let number = run.number
    await withTaskGroup(of: Void.self) { group in
      for worker in 0..<4 {
        group.addTask {
          let client = PageClient(url)
          for i in 0..<50 {
            let name = "user \(worker) \(i)"
            let said = try? await client.post(
              "v1/feedback",
              ["id": id, "index": i % 4, "rating": i % 2 == 0 ? "up" : "down", "user": name])
            guard said?.status == 200 else { return }
            if acknowledged.add(name) == 100 { Foundation.kill(number, SIGKILL) }
          }
        }
      }
    }
    #expect(run.end() == 128 + SIGKILL)
    let names = acknowledged.all
    #expect(names.count >= 100 && names.count < 200)
    _ = try bench.attune(
      line: "feedback export --store feedback.db --format unpaired --output thumbs.jsonl")
    let kept = try bench.read("thumbs.jsonl")
    let labellers = Set(
      kept.matches(of: /"labeller":"(user \d \d+)"/).map { String($0.output.1) })
    #expect(names.subtracting(labellers).isEmpty)
    // What is killed in the middle of one rating may be there or not, no more.
    #expect(labellers.count <= names.count + 4)
    // And it goes on: the id is still known.
    run = try serve("--store feedback.db")
    try await run.listens()
    let later = try await PageClient(run.url).post("v1/feedback", ["id": id, "rating": "up"])
    #expect(later.status == 200)
    #expect(try run.interrupt() == 0)
  }

  @Test func `a policy is trained from what users say, answers by name, and can be gone back from`()
    async throws
  {
    let line =
      "--store feedback.db --align dpo --align-every 12 --set align.versus=1 --set align.dpo.layers=1 "
      + "--set align.dpo.learning_rate=0.02 --set align.dpo.epochs=2"
    var run = try serve(line)
    try await run.listens()
    let client = PageClient(run.url)
    func progress() async throws -> [String: Any] { try await client.get("v1/policies").object }
    func wins(_ progress: [String: Any]) -> Int {
      let policies = progress["policies"] as? [[String: Any]] ?? []
      let wins = policies.count > 1 ? policies[1]["wins"] as? [String: Any] ?? [:] : [:]
      return ["won", "lost", "tied"].reduce(0) { $0 + (wins[$1] as? Int ?? 0) }
    }
    /// A user who likes vowels.
    func choose(_ i: Int) async throws {
      let answer = try await client.post(
        "v1/completions",
        [
          "model": "model", "prompt": "cat \(i % 9)", "n": 2, "max_tokens": 8, "compare": true,
          "seed": i,
        ])
      #expect(answer.status == 200, "\(answer.object)")
      let texts = texts(answer)
      // Blind: nothing tells who gave which.
      #expect(!"\(answer.object)".contains("model@"))
      guard texts.count == 2, texts[0] != texts[1], let id = answer.object["id"] else { return }
      let vowels = texts.map { $0.count { "aeiou".contains($0) } }
      let said = try await client.post(
        "v1/feedback", ["id": id, "preferred": vowels[0] >= vowels[1] ? 0 : 1])
      #expect(said.status == 200, "\(said.object)")
    }
    var told: [String: Any] = [:]
    for i in 0..<400 {
      try await choose(i)
      told = try await progress()
      if wins(told) >= 3 { break }
    }
    #expect(told["current"] as? Int ?? 0 >= 1 && wins(told) >= 3, "\(told)")
    let names = (try await client.get("v1/models").object["data"] as? [[String: Any]] ?? [])
      .compactMap { $0["id"] as? String }
    #expect(names.prefix(3) == ["model", "model@0", "model@1"])
    func ask(_ name: String) async throws -> PageClient.Response {
      try await complete(client, ["model": name, "temperature": 0])
    }
    let start = try await ask("model@0")
    #expect(start.object["model"] as? String == "model@0")
    #expect(try await ask("model").object["model"] as? String == "model@\(told["current"] ?? 0)")
    #expect(try await ask("model@99").status == 404)
    #expect(try run.interrupt() == 0)
    #expect((try run.object()["align"] as? [String: Any])?["policies"] != nil)

    run = try serve(line + " --policy 0")
    try await run.listens()
    let back = try await complete(PageClient(run.url), ["temperature": 0])
    #expect(texts(back) == texts(start) && back.object["model"] as? String == "model@0")
    #expect(try run.interrupt() == 0)
  }

  @Test func `adapters are chosen by model name`() async throws {
    try bench.write(
      "pairs.jsonl",
      (0..<8).map { #"{"prompt":"the cat \#($0)","chosen":"aaaa","rejected":"zzzz"}"# }
        .joined(separator: "\n"))
    _ = try bench.attune(
      line: "dpo --model model --data pairs.jsonl --output run --learning-rate 0.05 --epochs 3 "
        + "--set layers=1")
    let run = try serve("--adapter vowels=run")
    try await run.listens()
    let client = PageClient(run.url)
    var answers: [[String]] = []
    for name in ["model", "vowels"] {
      answers.append(texts(try await complete(client, ["model": name, "temperature": 0])))
    }
    #expect(answers[0] != answers[1])
    #expect(try run.interrupt() == 0)
  }

  @Test func `what can't be served is said in a line`() throws {
    for (arguments, words) in [
      ("serve --model none", "none"), ("serve --model model --align dpo", "--store"),
      ("serve --model model --api-key short", "--api-key"),
      ("serve --model model --cors example.org", "--cors"),
      ("serve --model model --adapter model", "NAME=DIR"),
      ("serve --model model --policy 1", "--align"), ("serve --model model --set queue=0", "queue"),
      ("serve --model model --context 3", "context"),
    ] {
      let run = try bench.attune(line: arguments)
      #expect(run.code != 0 && run.errors.contains(words), "\(arguments): \(run.errors)")
    }
  }
}
