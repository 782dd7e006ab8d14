// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation
import Testing

@Suite(.serialized)
struct JudgeCommandTests {
  @Test func `a local judge labels samples, and what it labels trains a reward model`() throws {
    let bench = try Workbench()
    try bench.writePrompts(6)
    let sampled = try bench.attune(
      line: "sample --model model --data prompts.jsonl --n 3 --max-tokens 6 --output samples.jsonl")
    #expect(sampled.code == 0, "\(sampled.errors)")

    let line = "judge --data samples.jsonl --judge model --output pairs.jsonl --principles 2"
    let judged = try bench.attune(line: "\(line) --json")
    #expect(judged.code == 0, "\(judged.errors)")
    let report = try judged.object()
    let rows = try #require(report["rows"] as? Int)
    #expect(report["format_version"] as? Int == 1 && rows > 0 && report["principles"] as? Int == 16)
    #expect(report["asked"] as? Int == 4 * rows)
    let bias = try #require(report["bias"] as? [String: Any])
    #expect(bias["position"] is Double && bias["flips"] is Double)

    // What was answered before is not asked again; another judge's file is refused.
    let again = try bench.attune(line: line)
    #expect(again.code == 0 && again.output.contains("0 asked, \(4 * rows) answered before"))
    let check = try bench.attune(
      line: "judge --check pairs.jsonl --judge model --principles 2 --answers pairs.jsonl.answers "
        + "--json")
    #expect(check.code == 0, "\(check.errors)")
    let found = try #require(try check.object()["check"] as? [String: Any])
    #expect(found["accuracy"] is Double && found["kappa"] is Double && found["ece"] is Double)
    let wrong = try bench.attune(
      line: "judge --check pairs.jsonl --judge model --answers pairs.jsonl")
    #expect(wrong.code == 1 && wrong.failure.contains("pairs.jsonl"))

    let reward = try bench.attune(
      line: "reward --model model --data pairs.jsonl --output reward --set layers=1 --set epochs=1")
    #expect(reward.code == 0, "\(reward.errors)")

    let evaluated = try bench.attune(
      line: "evaluate --model model --against model --data prompts.jsonl --judge model --n 2 "
        + "--max-tokens 4 --json")
    #expect(evaluated.code == 0, "\(evaluated.errors)")
    let win = try #require(try evaluated.object()["win_rate"] as? [String: Any])
    // The same model with the same random numbers gives the same answers: all are ties.
    #expect(win["reward"] as? String == "judge:model" && win["value"] as? Double == 0.5)
    let beside = try #require(win["judged"] as? [String: Any])
    #expect(beside["length_controlled"] as? Double == 0.5 && beside["pairs"] as? Int == 12)
  }

  @Test func `stopped by Ctrl-C, the command goes on and asks a server nothing twice`() throws {
    let bench = try Workbench()
    let rows = (0..<20).map {
      "{\"prompt\":\"q\($0)\",\"chosen\":\"b\($0)\",\"rejected\":\"c\($0)\"}\n"
    }
    try bench.write("people.jsonl", rows.joined())
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      Thread.sleep(forTimeInterval: 0.1)
      return HTTPServerStub.completion("A", top: [("A", -0.1), ("B", -2.4)])
    }
    let arguments = [
      "judge", "--check", "people.jsonl", "--judge", server.address, "--parallel", "2", "--answers",
      "said", "--json",
    ]
    let stopped = try CommandRun(arguments, in: bench.folder, interruptedAfter: 1)
    #expect(stopped.code == 130, "\(stopped.errors)")
    let first = server.requests.count
    #expect(first > 2 && first < 40)
    let run = try CommandRun(arguments, in: bench.folder)
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    let asked = try #require(report["asked"] as? Int)
    #expect(asked + (report["remembered"] as? Int ?? 0) == 40 && asked < 40)
    // Two lists of models, and at most the two requests that were on their way.
    #expect(server.requests.count <= 40 + 2 + 2)
    let check = try #require(report["check"] as? [String: Any])
    #expect(check["accuracy"] as? Double == 0.5 && check["pairs"] as? Int == 20)
  }

  @Test func `an AI judge stands in for the labeller of the whole loop`() throws {
    let bench = try Workbench()
    try bench.writeLoop()
    try bench.write("one.txt", "The better answer is short.\n")
    let line = "rlhf --model model --data prompts.jsonl --output run --config recipe.json"
    let judged = "\(line) --labeller judge --judge model"
    let run = try bench.attune(line: "\(judged) --json")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    #expect(report["labeller"] as? String == "judge:model")
    let evaluation = try #require(report["evaluation"] as? [String: Any])
    let win = try #require(evaluation["win_rate"] as? [String: Any])
    #expect(win["reward"] as? String == "judge:model" && win["judged"] is [String: Any])
    let page = try bench.read("run/report.html")
    #expect(page.contains("an AI judge with a constitution of 16 principles"))
    #expect(!page.contains("the score of the labeller"))
    #expect(try bench.read("run/preferences.jsonl").contains("\"labeller\":\"judge:model\""))

    let again = try bench.attune(line: judged)
    #expect(again.code == 0, "\(again.errors)")
    #expect(again.errors.components(separatedBy: "done before").count == 7)
    let other = try bench.attune(line: "\(judged) --constitution one.txt")
    #expect(other.code == 1 && other.failure.contains("constitution"))

    for wrong in ["--labeller judge", "--judge model", "--labeller kind"] {
      #expect(try bench.attune(line: "\(line) \(wrong)").code == 64)
    }
    let unread = try bench.attune(line: "\(judged) --set label.sharpness=3")
    #expect(unread.code == 1 && unread.failure.contains("label.sharpness"))
    let without = try bench.attune(line: "\(line) --set judge.principles=3")
    #expect(without.code == 1 && without.failure.contains("judge.principles"))
  }

  @Test(arguments: [
    ("judge --judge model", 64), ("judge --data a.jsonl --judge model", 64),
    ("judge --data none.jsonl --output b.jsonl --judge model", 1),
    ("judge --data samples.jsonl --output b.jsonl", 1),
    ("judge --data samples.jsonl --output b.jsonl --judge nowhere", 1),
    ("judge --data samples.jsonl --output b.jsonl --judge model --constitution empty.txt", 1),
    ("judge --data samples.jsonl --output b.jsonl --judge model --as rankings", 1),
    ("judge --data samples.jsonl --output b.jsonl --judge http://u:p@localhost", 1),
    ("evaluate --model model --data samples.jsonl", 64),
    ("evaluate --model model --data samples.jsonl --judge model", 1),
    ("evaluate --model model --against model --data samples.jsonl --constitution empty.txt", 64),
    ("revise --model model --data pairs.jsonl --output r.jsonl", 1),
  ])
  func `what can't be judged is refused in one line`(line: String, code: Int) throws {
    let bench = try Workbench()
    try bench.write("empty.txt", "# nothing\n")
    try bench.write("pairs.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n")
    try bench.write(
      "samples.jsonl",
      """
      {"prompt":"a","completions":[{"text":"b","ids":[1],"logprob":-1,"finish_reason":"stop"}]}

      """)
    let run = try bench.attune(line: line)
    #expect(run.code == Int32(code), "\(run.errors)")
    #expect(run.failure.hasPrefix("error: ") || code == 64)
    #expect(!bench.exists("b.jsonl") && !bench.exists("r.jsonl"))
  }
}
