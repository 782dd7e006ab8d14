// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@Suite(.serialized)
struct FrontierCommandTests {
  /// A bench with a finished run of two rounds in `run`.
  private static func bench() throws -> Workbench {
    let bench = try Workbench()
    try bench.writeLoop(
      """
      "ppo":{"layers":1,"rollouts":1,"prompts_per_rollout":2,"samples_per_prompt":2,
             "max_tokens":6,"temperature":1},"rounds":2
      """)
    let run = try bench.attune(
      line: "rlhf --model model --data prompts.jsonl --output run --config recipe.json --seed 3 "
        + "--set sample.temperature=1 --set evaluation.temperature=1")
    guard run.code == 0 else { throw Workbench.Failure(message: run.errors) }
    return bench
  }

  private static let small =
    "--set prompts_per_rollout=2 --set samples_per_prompt=2 --set evaluation.n=2 "
    + "--set start_answers=5 --set dpo.max_steps=2"

  @Test func `a frontier is drawn, goes on, and one that diverges stops no other`() throws {
    let bench = try Self.bench()
    // A learning rate at which numbers end: raft alone has it.
    let line =
      "frontier --run run --output out --methods raft,rloo,dpo:ipo@0.2,iterate@0.1 "
      + "--betas 0.05,0.5 --rollouts 2 \(Self.small) --set raft.max_gradient_norm=0"
    let diverging = "\(line) --set raft.learning_rate=1e30"
    let first = try bench.attune(line: "\(diverging) --json")
    #expect(first.code == 0, "\(first.errors)")
    #expect(first.errors.contains("raft reads no β"))
    let report = try first.object()
    let points = try #require(report["points"] as? [[String: Any]])
    #expect(
      points.map { $0["method"] as? String } == ["raft", "rloo", "rloo", "dpo:ipo", "iterate"])
    #expect(points.map { $0["beta"] as? Double } == [nil, 0.05, 0.5, 0.2, 0.1])
    #expect(points.map { $0["answers"] as? Int } == [8, 8, 8, 0, 8])
    #expect(points[0]["failure"] as? String != nil && points[0]["found"] == nil)
    for point in points.dropFirst() {
      let found = try #require(point["found"] as? [String: Any])
      #expect((found["seconds"] as? Double ?? 0) > 0 && (found["peak_mb"] as? Double ?? 0) > 0)
      let evaluation = try #require(found["evaluation"] as? [String: Any])
      #expect(evaluation["kl"] is Double && evaluation["diversity"] is [String: Any])
    }
    #expect(points.contains { $0["undominated"] as? Bool == true })
    let best = try #require(report["best_of_n"] as? [[String: Any]])
    #expect(best.map { $0["n"] as? Int } == [1, 2, 4, 5])
    let learned = best.compactMap { ($0["learned"] as? [String: Any])?["mean"] as? Double }
    #expect(zip(learned, learned.dropFirst()).allSatisfy { $0 <= $1 } && learned.count == 4)
    #expect((report["budget"] as? [String: Any])?["answers"] as? Int == 8)
    #expect(report["missing"] as? [String] == [])
    let page = try bench.read("out/frontier.html")
    #expect(page.contains("</html>") && page.contains("best of 1 … 5") && page.contains("dpo:ipo"))
    #expect(!page.contains("http:") && !page.contains("https:"))

    // A point that is lost is made again, and the same comes of it; the others are there.
    let kept = try bench.read("out/points/rloo-beta-0.05/answers.jsonl")
    try FileManager.default.removeItem(at: bench.url("out/points/rloo-beta-0.05"))
    let second = try bench.attune(line: diverging)
    #expect(second.code == 0, "\(second.errors)")
    #expect(second.errors.components(separatedBy: "done before").count == 5)
    #expect(try bench.read("out/points/rloo-beta-0.05/answers.jsonl") == kept)
    #expect(second.output.contains("best of 5") && second.output.contains("raft failed"))

    let other = try bench.attune(line: "\(diverging) --set rloo.learning_rate=0.002")
    #expect(other.code == 1 && other.failure.contains("learning_rate (0.001 there, 0.002 now)"))
    let restarted = try bench.attune(
      line: "\(line) --set rloo.learning_rate=0.002 --set raft.learning_rate=1e-3 --restart")
    #expect(restarted.code == 0, "\(restarted.errors)")
    #expect(restarted.errors.components(separatedBy: "done before").count == 3)
    #expect(!restarted.output.contains("failed"))
  }

  static let refusals: [(options: String, code: Int32, words: String)] = [
    ("--methods nope", 64, "there is no method nope"),
    ("--methods grpo:dpo", 64, "grpo has no variant dpo"),
    ("--methods rloo:x", 64, "rloo has no variants"),
    ("--methods rloo@", 64, "is no β"),
    ("--methods rloo --betas 0.1,x", 64, "--betas 0.1,x"),
    ("--methods rloo,rloo", 1, "is there twice"),
    ("--methods raft@0.1", 1, "raft reads no β"),
    ("--methods dpg --betas 0", 1, "dpg.beta must be above 0"),
    ("--methods rloo --set dpo.epochs=2", 1, "dpo is not among the methods"),
    ("--methods rloo --set rloo.rollouts=2", 1, "rollouts is one for all methods"),
    ("--methods rloo --set rloo.beta=0.2", 1, "betas is one for all methods"),
    ("--methods rloo --set pairs_per_prompt=2", 1, "neither dpo nor kto"),
    ("--methods dpo:ipo --set dpo.loss=dpo", 1, "methods names the variants"),
    (
      "--methods rloo --set prompts_per_rollout=2 --set round=3", 1,
      "round must be at most that of the run (2)"
    ),
    ("--methods rloo --set prompts_per_rollout=99", 1, "at most the run's prompts"),
  ]

  static let hackingRefusals: [(options: String, code: Int32, words: String)] = [
    ("--method dpo", 1, "has no rollouts"), ("--method rloo@0.1", 1, "leave out @"),
    ("--rules median", 1, "there is no rule median"), ("--members 1", 64, "from 2 to 16"),
    ("--rollouts 2", 1, "policy.rollouts must be at least 4"),
    ("--rules none --set bootstrap=false", 1, "there are no rules"),
    ("--set policy.betas=[1]", 1, "β is 0"), ("--method dpg", 1, "beta must be above 0"),
  ]

  @Test func `wrong usage is refused before any work`() throws {
    let bench = try Self.bench()
    for (options, code, words) in Self.refusals {
      let run = try bench.attune(line: "frontier --run run --output none \(options)")
      #expect(run.code == code && run.failure.contains(words), "\(options): \(run.errors)")
    }
    for (options, code, words) in Self.hackingRefusals {
      let run = try bench.attune(line: "hacking --run run --output none \(options)")
      #expect(run.code == code && run.failure.contains(words), "\(options): \(run.errors)")
    }
    let none = try bench.attune(line: "frontier --run model --output none")
    #expect(none.code == 1 && none.failure.contains("no finished run"), "\(none.errors)")
    #expect(!bench.exists("none/points"))
  }

  @Test func `hacking follows both rewards, fits the law and tells the alarms`() throws {
    let bench = try Self.bench()
    let line =
      "hacking --run run --output out --rollouts 6 --members 2 --rules min "
      + "--set policy.prompts_per_rollout=2 --set policy.rloo.minibatches=2 "
      + "--set policy.evaluation.n=2 --set policy.start_answers=2"
    let first = try bench.attune(line: "\(line) --json")
    #expect(first.code == 0, "\(first.errors)")
    let report = try first.object()
    let arms = try #require(report["arms"] as? [[String: Any]])
    #expect(arms.map { $0["name"] as? String } == ["one reward model", "ensemble of 2, min"])
    for arm in arms {
      let curve = try #require(arm["curve"] as? [[String: Any]])
      #expect(curve.map { $0["rollout"] as? Int } == [1, 2, 3, 4, 5, 6])
      #expect(curve[0]["kl"] as? Double == 0)
      let law = try #require(arm["learned_law"] as? [String: Any])
      #expect(law["points"] as? Int == 6)
      #expect((law["alpha"] as? [String: Any])?["standard_error"] is Double)
      #expect(arm["found"] is [String: Any] && arm["peak"] is [String: Any])
    }
    let page = try bench.read("out/hacking.html")
    #expect(page.contains("law of climbed") && page.contains("ensemble of 2, min"))
    #expect(!page.contains("http:") && !page.contains("https:"))
    #expect(bench.exists("out/reward-2/adapter_model.safetensors"))
    let collected = try bench.read("run/round-1/preferences.jsonl").split(separator: "\n")
    let drawn = try bench.read("out/reward-2-preferences.jsonl").split(separator: "\n")
    #expect(drawn.count == collected.count && Set(drawn).isSubset(of: collected))
    #expect(Set(drawn).count < drawn.count)

    let second = try bench.attune(line: line)
    #expect(second.code == 0, "\(second.errors)")
    #expect(second.errors.components(separatedBy: "done before").count == 3)
    #expect(!second.errors.contains("reward model 2"))
    #expect(second.output.contains("never") || second.output.contains("alarm"))
  }

  @Test func `reviews become texts and prompts`() throws {
    let bench = try Workbench()
    let rows = (0..<6).map { "\"Film \($0) is quite a film indeed\",1,imdb\n" }.joined()
    try bench.write("reviews.csv", "text,label,source\n" + rows)
    let line = "reviews --output reviews --data reviews.csv --words 2"
    let run = try bench.attune(line: "\(line) --texts 3 --prompts 3 --json")
    #expect(run.code == 0, "\(run.errors)")
    #expect(try run.object()["reviews"] as? Int == 6)
    #expect(try bench.read("reviews/prompts.jsonl").split(separator: "\n").count == 3)
    let many = try bench.attune(line: "\(line) --texts 30")
    #expect(many.code == 1 && many.failure.contains("has only 6 reviews"))
    let none = try bench.attune(line: "reviews --output reviews")
    #expect(none.code == 1 && none.failure.contains("attune pull movie-reviews"))
  }
}
