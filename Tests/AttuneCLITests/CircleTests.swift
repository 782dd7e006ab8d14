// SPDX-License-Identifier: Apache-2.0

import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

/// From people to an aligned policy: `attune rlhf --labeller human`.
@Suite(.serialized, .timeLimit(.minutes(30))) struct CircleTests {
  private static let words = [
    "cat", "dog", "sun", "tea", "sea", "hat", "map", "pen", "cup", "owl", "ice", "oak",
  ]

  /// A tiny model, unless `ATTUNE_CIRCLE_MODEL` names another, which is then trained in earnest.
  private static let named = ProcessInfo.processInfo.environment["ATTUNE_CIRCLE_MODEL"]

  private static let tinyRecipe = """
    {"sample":{"n":5,"max_tokens":6},"reward":{"layers":1,"epochs":1},
     "ppo":{"layers":1,"rollouts":2,"prompts_per_rollout":2,"samples_per_prompt":2,"max_tokens":6},
     "evaluation":{"n":4,"max_tokens":6}}
    """
  private static let realRecipe = """
    {"sample":{"n":4,"max_tokens":48},"reward":{"layers":10,"learning_rate":1e-3,"epochs":2},
     "ppo":{"rollouts":6,"max_tokens":48,"learning_rate":5e-4},"evaluation":{"n":4,"max_tokens":48}}
    """

  private static func prompts() -> [String] {
    named == nil
      ? words.map { "a \($0)" }
      : words.flatMap { ["Tell me about a \($0).", "What is a \($0) good for?"] }
  }

  private func run(_ bench: Workbench, _ more: [String] = []) throws -> Served {
    try bench.write(
      "prompts.jsonl",
      Self.prompts().map {
        Self.named == nil
          ? "{\"prompt\":\"\($0)\"}\n"
          : "{\"prompt\":[{\"role\":\"user\",\"content\":\"\($0)\"}]}\n"
      }.joined())
    try bench.write("recipe.json", Self.named == nil ? Self.tinyRecipe : Self.realRecipe)
    return try Served(
      [
        "rlhf", "--model", Self.named ?? "model", "--data", "prompts.jsonl", "--output", "run",
        "--config", "recipe.json", "--labeller", "human", "--port", "0", "--json",
      ] + more, in: bench.folder)
  }

  @Test func `a browser clicks sixty-four times, and there is a report of the policy`() async throws
  {
    let bench = try Workbench()
    let run = try run(bench, ["--set", "people.labels=48", "--set", "people.held_out_labels=16"])
    try await run.listens(seconds: 600)
    let browser = try Browser()
    defer { browser.close() }
    let page = try await browser.open(run.url)
    try await page.wait("document.activeElement?.id === 'name'")
    try await page.type("anna")
    try await page.press("Enter")
    try await page.wait("!document.getElementById('question').hidden")
    let keep = ProcessInfo.processInfo.environment["ATTUNE_PICTURES"]
    var clicks = 0
    while clicks < 64 {
      // The shorter answer is the better one.
      let words = try await page.text(
        """
        (([a, b]) => a <= b ? 'A is better' : 'B is better')(
          [...document.querySelectorAll('.answer')].map(e => e.innerText.length))
        """)
      let before = try await page.shown("#counts")
      try await page.click(button: words)
      try await page.wait("document.getElementById('counts').innerText !== '\(before)'")
      clicks += 1
      if clicks == 32, let keep {
        try await page.picture().write(to: URL(filePath: keep).appending(path: "circle-page.png"))
      }
    }
    try await page.wait(for: "All done", in: "#rest")
    #expect(run.end() == 0, "\(run.errors)")

    let store = try FeedbackStore(bench.url("run/feedback.db"), create: false)
    #expect(try store.standingJudgements().count == 64)
    func rows(_ name: String) throws -> [[String: Any]] {
      try bench.read("run/\(name)").split(separator: "\n").compactMap {
        try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
      }
    }
    let (own, held) = (try rows("preferences.jsonl"), try rows("held-out-preferences.jsonl"))
    #expect(own.count == 48 && held.count == 16)
    #expect((own + held).allSatisfy { $0["labeller"] as? String == "anna" })
    #expect((own + held).allSatisfy { $0["chosen_finish_reason"] is String })
    func prompts(_ rows: [[String: Any]]) -> Set<String> {
      Set(rows.map { "\($0["prompt"] ?? "")" })
    }
    #expect(prompts(own).isDisjoint(with: prompts(held)))

    let report = try run.object()
    #expect(report["labeller"] as? String == "human")
    let stages = try #require(report["stages"] as? [[String: Any]])
    #expect(
      stages.compactMap { $0["name"] as? String } == [
        "prompts", "samples", "preferences", "reward", "policy", "evaluation", "report",
      ])
    let evaluation = try #require(report["evaluation"] as? [String: Any])
    let wins = try #require(evaluation["win_rates"] as? [[String: Any]])
    #expect(wins.map { $0["reward"] as? String } == ["model:reward"])
    // No gold reward is claimed where there is none.
    let html = try await browser.open(bench.url("run/report.html").absoluteString)
    try await html.wait(for: "Before and after")
    let shown = try await html.shown("body")
    #expect(shown.contains("those of people, asked on a page: 64 comparisons by 1 person."))
    #expect(shown.contains("People do not always agree") && !shown.contains("drawn at random"))
    #expect(shown.contains("learned reward, ") && !shown.contains("gold reward, "))
    if let keep {
      try await html.picture().write(to: URL(filePath: keep).appending(path: "circle-report.png"))
    }
    if Self.named != nil {
      print("attune circle: \(stages.map { "\($0["name"] ?? "") \($0["seconds"] ?? "")" })")
      print("attune circle: \(run.errors)")
    }
  }

  @Test func `a run that waits for people is stopped, goes on, and asks again in a later round`()
    async throws
  {
    guard Self.named == nil else { return }
    let bench = try Workbench()
    let more = [
      "--labels", "8", "--set", "people.held_out_labels=4", "--set", "rounds=2", "--set",
      "people.later_labels=3", "--threads", "1",
    ]
    var run = try run(bench, more)
    try await run.listens()
    #expect(try await Self.label(5, run.url) == 5)
    #expect(try run.interrupt() == 130)
    #expect(run.errors.contains("stopped with 5 of 12 labels; the same command goes on"))

    run = try self.run(bench, more)
    try await run.listens()
    // A tie is no comparison with a winner: one more question is asked for it.
    #expect(try await Self.label(1, run.url, ranks: [1, 1]) == 1)
    #expect(try await Self.label(100, run.url) == 7)
    // The second round opens the page anew, at another free port.
    try await run.listens(times: 2)
    #expect(try await Self.label(100, run.url) == 3)
    #expect(run.end() == 0, "\(run.errors)")
    let stages = try #require(try run.object()["stages"] as? [[String: Any]])
    let asked = stages.filter { ($0["name"] as? String)?.hasPrefix("preferences") == true }
    #expect(
      asked.compactMap { $0["summary"] as? String } == [
        "13 comparisons by 1 person", "3 comparisons by 1 person",
      ])
    #expect(try bench.read("run/own-preferences.jsonl").split(separator: "\n").count == 3)
  }

  @Test(arguments: [
    ("--labels 3", 64, "--labels is of no use"), ("--port 0", 64, "--labeller human"),
    ("--labeller human --labels 0", 64, "people.labels above 0"),
    ("--set people.labels=3", 64, "go together"),
    ("--labeller human --set label.sharpness=2", 1, "label.sharpness is set but not read"),
    ("--set people.votes=2", 1, "people.labels is 0"),
    ("--labeller human --judge m", 64, "--judge"),
  ])
  func `what does not go together is told in one line`(
    arguments: String, code: Int32, message: String
  ) throws {
    let run = try CommandRun(
      ["rlhf", "--model", "none", "--data", "none.jsonl", "--output", "run"]
        + arguments.split(separator: " ").map(String.init), in: URL.temporaryDirectory)
    #expect(run.code == code && run.errorLines.count == 1, "\(run.errors)")
    #expect(run.failure.contains(message), "\(run.failure)")
  }

  /// Gives labels until there are so many or nothing is asked any more.
  ///
  /// - Returns: How many were given.
  private static func label(_ most: Int, _ url: String, ranks: [Int] = [1, 2]) async throws -> Int {
    let client = PageClient(url)
    try await client.begin("anna")
    var given = 0
    while given < most {
      let turn = try await client.post("api/next").object
      if turn["state"] as? String == "done" { break }
      guard let question = turn["question"] as? String else {
        try await Task.sleep(for: .milliseconds(50))
        continue
      }
      #expect(try await client.label(question, ranks: ranks).status == 200)
      given += 1
    }
    return given
  }
}
