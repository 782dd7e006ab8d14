// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@Suite(.serialized)
struct CommandTests {
  @Test(arguments: [
    "quickstart", "rlhf", "frontier", "hacking", "sample", "label", "judge", "revise", "score",
    "sft", "reward", "ppo", "reinforce", "rloo", "grpo", "dpg", "brain", "raft", "distill",
    "iterate",
    "prompts", "tasks", "reviews", "pull", "evaluate", "rank", "generate", "chat", "inspect",
    "tokenize",
    "logprobs",
  ])
  func `every command explains itself with an example`(command: String) throws {
    let run = try CommandRun([command, "--help"], in: URL.temporaryDirectory)
    #expect(run.code == 0)
    #expect(run.output.contains("Example: attune \(command)"))
    for option in ["--json", "--seed", "--threads", "--config"] {
      #expect(run.output.contains(option), "\(command) lacks \(option)")
    }
  }

  // They draw nothing, so they have neither a seed nor a configuration file.
  @Test(arguments: [("exactness", "--html"), ("compare", "--output")])
  func `what reads results alone explains itself too`(command: String, option: String) throws {
    let run = try CommandRun([command, "--help"], in: URL.temporaryDirectory)
    #expect(run.code == 0 && run.output.contains("Example: attune \(command)"))
    #expect(run.output.contains("--json") && run.output.contains(option))
  }

  @Test func `trainers and evaluations leave a report, and any of them are compared`() throws {
    let bench = try Workbench()
    let rows = (0..<16).map {
      "{\"prompt\":\"a \($0)\",\"chosen\":\"bee\",\"rejected\":\"cat\"}\n"
    }
    try bench.write("pairs.jsonl", rows.joined())
    try bench.write("held.jsonl", rows.prefix(4).joined())
    let knobs = "--set layers=1 --set max_steps=2"
    let runs = [
      "dpo --model model --data pairs.jsonl --eval-data held.jsonl --output dpo \(knobs)",
      "reward --model model --data pairs.jsonl --eval-data held.jsonl --output reward \(knobs)",
      "sft --model model --data texts.jsonl --eval-data texts.jsonl --output sft --set max_steps=1",
      "rloo --model model --data pairs.jsonl --reward labeller:concise --output rloo "
        + "--set rollouts=1 --set prompts_per_rollout=2 --set samples_per_prompt=2 "
        + "--set max_tokens=4 --set layers=1",
      "evaluate --model dpo --against model --data held.jsonl --reward labeller:concise --n 2 "
        + "--max-tokens 4 --output evaluation",
    ]
    for line in runs {
      let run = try bench.attune(line: line)
      #expect(run.code == 0, "\(line): \(run.errors)")
      let words = run.output + run.errors
      // What is told of held-out rows comes with its interval and n.
      if line.contains("held.jsonl") { #expect(words.contains("["), "\(words)") }
    }
    for run in ["dpo", "reward", "sft", "rloo", "evaluation"] {
      #expect(try bench.read("\(run)/report.html").contains("</html>"), "\(run)")
      #expect(bench.exists("\(run)/report.json"), "\(run)")
    }
    let dpo = try bench.attune(line: runs[0].replacing("--output dpo", with: "--output again"))
    #expect(dpo.errors.contains("held out: accuracy ") && dpo.errors.contains("], 4 rows"))
    let line = "compare dpo reward sft rloo evaluation"
    let text = try bench.attune(line: "\(line) --output page.html")
    #expect(text.code == 0, "\(text.errors)")
    #expect(text.output.contains("stage") && text.output.contains("n 4 rows"))
    #expect(try bench.read("page.html").contains("Runs side by side"))
    let object = try bench.attune(line: "\(line) --json").object()
    #expect((object["runs"] as? [Any])?.count == 5)
    let missing = try bench.attune(line: "compare dpo nowhere")
    #expect(missing.code == 1 && missing.failure.contains("nowhere"), "\(missing.failure)")
    // A folder that holds a run is not written over.
    let refused = try bench.attune(
      line: runs[4].replacing("--output evaluation", with: "--output dpo"))
    #expect(refused.code == 1 && refused.failure.contains("dpo"), "\(refused.failure)")
  }

  @Test func `text, ids and log-probabilities agree`() throws {
    let bench = try Workbench()
    try bench.write("lines.txt", "ab\n\nä")
    let ids = try bench.attune(line: "tokenize --model model --data lines.txt")
    #expect(ids.code == 0)
    let lines = ids.output.split(separator: "\n")
    #expect(lines.count == 3 && lines[1] == "[]")

    let generated = try bench.attune(
      line: "generate --model model --raw --prompt ab --temperature 0 --max-tokens 5 --json"
    ).object()
    let completion = try #require(generated["ids"] as? [Int])
    let logprobs = try #require(generated["logprobs"] as? [Double])
    let text = try #require(generated["text"] as? String)
    #expect(completion.count == logprobs.count && !completion.isEmpty)
    #expect(generated["prompt_ids"] as? [Int] == [97, 98])
    #expect(["stop", "length"].contains(generated["finish_reason"] as? String))

    let row = try JSONSerialization.data(withJSONObject: ["prompt": "ab", "completion": text])
    try bench.write("rows.jsonl", row)
    let run = try bench.attune(
      line: "logprobs --model model --data rows.jsonl --output logprobs.jsonl --json")
    #expect(run.code == 0, "\(run.errors)")
    let scored = try #require(
      try JSONSerialization.jsonObject(with: Data(bench.read("logprobs.jsonl").utf8))
        as? [String: Any])
    let again = try #require(scored["completion_ids"] as? [Int])
    let values = try #require(scored["logprobs"] as? [Double])
    // Bytes that are no text do not survive the way through text.
    if again == completion {
      for (a, b) in zip(values, logprobs) { #expect(abs(a - b) < 1e-4) }
    }
    let sum = try #require(scored["sum"] as? Double)
    #expect(abs(sum - values.reduce(0, +)) < 1e-9)
    #expect((scored["entropies"] as? [Double])?.count == values.count)
  }

  @Test func `the same seed samples the same answers, whatever the batch`() throws {
    let bench = try Workbench()
    try bench.write("prompts.jsonl", "{\"prompt\":\"a\",\"id\":7}\n{\"prompt\":\"bc\"}\n")
    let line = "sample --model model --data prompts.jsonl --n 3 --max-tokens 6"
    for (name, more) in [
      ("a", "--seed 1"), ("b", "--seed 1 --set batch=1"), ("c", "--seed 2"),
    ] {
      let run = try bench.attune(line: "\(line) --output \(name).jsonl \(more)")
      #expect(run.code == 0, "\(run.errors)")
    }
    func answers(_ name: String) throws -> [Substring] {
      try bench.read("\(name).jsonl").split(separator: "\n").map {
        $0.prefix { $0 != "}" } + ($0.contains("\"id\":7") ? "7" : "")
      }
    }
    let first = try answers("a")
    #expect(first.count == 2 && first[0].hasSuffix("7"))
    #expect(try answers("b") == first)
    #expect(try answers("c") != first)
  }

  @Test func `adapters on a base of codes are trained, opened and exported`() throws {
    let bench = try Workbench()
    let q4 = "--base-precision q4"
    try bench.write(
      "rows.jsonl",
      ["sat", "ran"].map { "{\"prompt\":\"the cat \",\"completion\":\"\($0) on the mat\"}\n" }
        .joined())
    let trained = try bench.attune(
      line: "sft --model model --data rows.jsonl --set train=lora --set epochs=20 "
        + "--learning-rate 0.01 --output adapted \(q4)")
    #expect(trained.code == 0, "\(trained.errors)")
    func logProbabilities(_ model: String, _ more: String) throws -> [Double] {
      let run = try bench.attune(
        line: "logprobs --model \(model) --data rows.jsonl --output \(model)-rows.jsonl \(more)")
      #expect(run.code == 0, "\(run.errors)")
      return try bench.read("\(model)-rows.jsonl").split(separator: "\n").map { line in
        let row = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return try #require(row?["sum"] as? Double)
      }
    }
    let base = try logProbabilities("model", q4)
    #expect(try base != logProbabilities("model", ""))
    let adapted = try logProbabilities("adapted", q4)
    #expect(zip(adapted, base).allSatisfy { $0 > $1 + 1 })
    // Merged into what it was trained on.
    let exported = try bench.attune(line: "export --model adapted --output merged \(q4)")
    #expect(exported.code == 0, "\(exported.errors)")
    for (a, b) in zip(try logProbabilities("merged", ""), adapted) { #expect(abs(a - b) < 1e-3) }
  }

  @Test func `a model without chat template asks for --raw`() throws {
    let bench = try Workbench()
    let run = try bench.attune(line: "generate --model model --prompt a --max-tokens 1")
    #expect(run.code == 1)
    #expect(run.failure.contains("--raw"))
  }

  @Test func `Ctrl-C ends with 130, and the same command goes on`() throws {
    let bench = try Workbench()
    let texts = (0..<200).map { "{\"text\":\"the cat \($0) sat on the mat \($0 * 7)\"}\n" }.joined()
    try bench.write("many.jsonl", texts)
    let line = "sft --model model --data many.jsonl --output run --set epochs=400 --threads 1"
    let stopped = try CommandRun(
      line.split(separator: " ").map(String.init), in: bench.folder, interruptedAfter: 2)
    #expect(stopped.code == 130, "\(stopped.errors)")
    #expect(stopped.failure.contains("the same command goes on"))
    let again = try CommandRun(
      line.split(separator: " ").map(String.init), in: bench.folder, interruptedAfter: 2)
    #expect(again.code == 130 && again.errors.contains("resuming at step"), "\(again.errors)")
  }

  @Test(arguments: [
    ("rloo", #""rloo":{"rollouts":1,"prompts_per_rollout":2,"samples_per_prompt":2}"#),
    ("dpg", #""dpg":{"rollouts":1,"prompts_per_rollout":2,"samples_per_prompt":2}"#),
    (
      "distill",
      #""distill":{"teacher_system":"ab","rollouts":1,"prompts_per_rollout":2,"samples_per_prompt":2}"#
    ),
    ("iterate", #""iterate":{"rounds":1,"prompts_per_round":3,"samples_per_prompt":2}"#),
    ("dpo", #""dpo":{"max_steps":1}"#), ("kto", #""kto":{"max_steps":1}"#),
  ])
  func `the whole loop takes any trainer`(method: String, knobs: String) throws {
    let bench = try Workbench()
    try bench.writeLoop(knobs)
    let line =
      "rlhf --model model --data prompts.jsonl --output run --config recipe.json --method \(method)"
    let run = try bench.attune(line: "\(line) --json")
    #expect(run.code == 0, "\(run.errors)")
    let stages = try #require(try run.object()["stages"] as? [[String: Any]])
    #expect(stages.map { $0["name"] as? String }.contains("policy"))
    #expect(try !bench.read("run/policy/metrics.jsonl").isEmpty)
    let unread = try bench.attune(line: "\(line) --set ppo.rollouts=3")
    #expect(unread.code == 1 && unread.failure.contains("method is \(method)"), "\(unread.errors)")
  }

  @Test func `where a grader checks answers there are no preferences and no reward model`() throws {
    let bench = try Workbench()
    try bench.write(
      "problems.jsonl",
      (0..<6).map { #"{"prompt":"\#($0) + 1?","answer":"\#($0 + 1)"}"# + "\n" }.joined())
    try bench.write(
      "recipe.json",
      #"{"grpo":{"layers":1,"rollouts":2,"prompts_per_rollout":2,"samples_per_prompt":2,"max_tokens":4,"#
        + #""evaluation_every":1,"keep_best":"accuracy"},"evaluation":{"n":2,"max_tokens":4}}"#)
    let line =
      "rlhf --model model --data problems.jsonl --output run --config recipe.json --method grpo "
      + "--grader answer:number --sampler int8 --threads 1"
    let run = try bench.attune(line: "\(line) --json")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    let stages = try #require(report["stages"] as? [[String: Any]])
    #expect(
      stages.map { $0["name"] as? String } == ["prompts", "policy", "evaluation", "report"])
    #expect(report["reward_model"] == nil && report["labeller"] as? String == "answer:number")
    let evaluation = try #require(report["evaluation"] as? [String: Any])
    let models = try #require(evaluation["models"] as? [[String: Any]])
    #expect(Set(models.compactMap { $0["role"] as? String }) == ["start", "policy"])
    for model in models {
      let right = try #require(model["right"] as? [String: Any])
      #expect(right["source"] as? String == "answer:number")
    }
    #expect(!bench.exists("run/preferences.jsonl") && !bench.exists("run/reward"))
    // The held-out rows are answered on the way: before the first rollout and after each.
    let curve = try bench.read("run/policy/metrics.jsonl").split(separator: "\n")
    #expect(curve.filter { $0.contains("held_out/accuracy") }.count == 3, "\(curve)")
    #expect(try bench.read("run/report.html").contains("Answers are checked by"))
    let again = try bench.attune(line: line)
    #expect(again.code == 0 && again.errors.components(separatedBy: "done before").count == 4)

    for (options, code, words) in [
      ("--from reward", Int32(1), "a grader checks answers"),
      ("--set label.sharpness=2", 1, "a grader checks answers"),
      ("--labeller concise", 64, "--labeller is of no use"),
      ("--set rounds=2", 1, "grader"),
    ] {
      let refused = try bench.attune(line: "\(line) \(options)")
      #expect(refused.code == code && refused.failure.contains(words), "\(refused.errors)")
    }
    let frontier = try bench.attune(line: "frontier --run run --methods rloo --output frontier")
    #expect(frontier.code == 1 && frontier.failure.contains("a grader checked its answers"))
    for (grader, method) in [
      ("model:run", "grpo"), ("answer:nothing", "grpo"), ("answer:exact", "dpo"),
      ("rank:model", "grpo"), ("words", "grpo"), ("length:group", "grpo"),
      ("labeller:polite", "grpo"),
    ] {
      let refused = try bench.attune(
        line:
          "rlhf --model model --data problems.jsonl --output other --grader \(grader) --method \(method)"
      )
      #expect(refused.code == 1 && !bench.exists("other"), "\(refused.errors)")
    }
  }

  @Test func `in a second round the policy's own answers are labelled, and it goes on`() throws {
    let bench = try Workbench()
    try bench.writeLoop(#"\#(Workbench.ppo),"rounds":2"#)
    let line = "rlhf --model model --data prompts.jsonl --output run --config recipe.json"
    let first = try bench.attune(line: "\(line) --json")
    #expect(first.code == 0, "\(first.errors)")
    let report = try first.object()
    let stages = try #require(report["stages"] as? [[String: Any]])
    #expect(
      stages.map { $0["name"] as? String } == [
        "prompts", "samples", "preferences", "reward", "policy", "samples-2", "preferences-2",
        "reward-2", "policy-2", "evaluation", "report",
      ])
    let points = try #require(report["training"] as? [[String: Any]])
    #expect(points.map { $0["step"] as? Int } == [1, 2, 3, 4])
    let earlier = try bench.read("run/round-1/preferences.jsonl")
    let all = try bench.read("run/preferences.jsonl")
    #expect(all == earlier + (try bench.read("run/own-preferences.jsonl")) && all != earlier)
    #expect(try bench.read("run/report.html").contains("After rollout 2 a new round begins"))

    let redone = try bench.attune(line: "\(line) --from reward-2 --json")
    #expect(redone.code == 0, "\(redone.errors)")
    let again = try #require(try redone.object()["stages"] as? [[String: Any]])
    #expect(again.map { $0["reused"] as? Bool } == (0..<11).map { $0 < 7 })
    for (options, words) in [
      ("--from policy-3", "rounds is 2"), ("--set rounds=1", "--from samples"),
    ] {
      let refused = try bench.attune(line: "\(line) \(options)")
      #expect(refused.code == 1 && refused.failure.contains(words), "\(refused.errors)")
    }
  }

  @Test func `the whole loop runs, is not run twice, and names knobs that differ`() throws {
    let bench = try Workbench()
    try bench.writeLoop()
    let line = "rlhf --model model --data prompts.jsonl --output run --config recipe.json --seed 3"
    let first = try bench.attune(line: "\(line) --json")
    #expect(first.code == 0, "\(first.errors)")
    let report = try first.object()
    #expect(report["format_version"] as? Int == 1)
    let stages = try #require(report["stages"] as? [[String: Any]])
    #expect(stages.count == 7 && stages.allSatisfy { $0["reused"] as? Bool == false })
    let evaluation = try #require(report["evaluation"] as? [String: Any])
    let models = try #require(evaluation["models"] as? [[String: Any]])
    #expect(models.map { $0["role"] as? String } == ["start", "policy"])
    #expect(models[0]["kl"] as? Double == 0)
    // Every held-out prompt has a greedy answer of both.
    #expect((report["greedy"] as? [[String: Any]])?.count == evaluation["prompts"] as? Int)
    #expect((report["training"] as? [Any])?.count == 2)
    #expect(try bench.read("run/report.html").contains("</html>"))

    let second = try bench.attune(line: line)
    #expect(second.code == 0, "\(second.errors)")
    #expect(second.errors.components(separatedBy: "done before").count == 7)

    let other = try bench.attune(line: "\(line) --set ppo.rollouts=3")
    #expect(other.code == 1)
    #expect(other.failure.contains("rollouts (2 there, 3 now)"))
    #expect(other.failure.contains("--from policy"))
    let tiles = try bench.attune(line: "\(line) --precision high")
    #expect(tiles.code == 1)
    #expect(tiles.failure.contains("precision (not set there, high now)"))
    let codes = try bench.attune(line: "\(line) --base-precision q4")
    #expect(codes.code == 1)
    #expect(codes.failure.contains("base_precision (not set there, q4 now)"))

    let redone = try bench.attune(line: "\(line) --set ppo.rollouts=3 --from policy --json")
    #expect(redone.code == 0, "\(redone.errors)")
    let again = try #require(try redone.object()["stages"] as? [[String: Any]])
    #expect(again.map { $0["reused"] as? Bool } == [true, true, true, true, false, false, false])

    let evaluated = try bench.attune(
      line: "evaluate --model run/policy --against model --data run/held-out-prompts.jsonl "
        + "--reward labeller:concise --reward model:run/reward --n 2 --max-tokens 4 --json")
    #expect(evaluated.code == 0, "\(evaluated.errors)")
    let found = try evaluated.object()
    let win = try #require(found["win_rate"] as? [String: Any])
    #expect(win["reward"] as? String == "labeller:concise")
    #expect((win["interval"] as? [Double])?.count == 2)

    let scored = try bench.attune(
      line: "score --model run/reward --data run/preferences.jsonl --output scores.jsonl --json")
    #expect(scored.code == 0, "\(scored.errors)")
    let row = try #require(try bench.read("scores.jsonl").split(separator: "\n").first)
    let object = try JSONSerialization.jsonObject(with: Data(row.utf8)) as? [String: Any]
    #expect((object?["score"] as? [Double])?.count == (object?["scores"] as? [Double])?.count)

    // The policy's implicit reward of the same answers, from what it was trained from, and a rule.
    let implicit = try bench.attune(
      line: "score --reward implicit:run/policy --reward length:3@0.5 --data run/preferences.jsonl "
        + "--output implicit.jsonl --json")
    #expect(implicit.code == 0, "\(implicit.errors)")
    let sources = try #require(try implicit.object()["sources"] as? [[String: Any]])
    #expect(sources.map { $0["name"] as? String } == ["implicit:run/policy", "length:3"])
    #expect(sources[0]["sd"] as? Double ?? 0 > 0)
  }
}
