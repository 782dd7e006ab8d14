// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// dpg, brain and raft as commands: online, and on answers that are recorded.
@Suite(.serialized)
struct DistributionCommandTests {
  private static let small =
    "--model model --reward labeller:concise --watch labeller:concise --threads 1 "
    + "--set rollouts=2 --set prompts_per_rollout=2 --set max_tokens=6 --set layers=1 --json"

  private func bench() throws -> Workbench {
    let bench = try Workbench()
    try bench.write(
      "prompts.jsonl", ["cat", "dog", "sun"].map { "{\"prompt\":\"a \($0)\"}\n" }.joined())
    return bench
  }

  @Test(arguments: [
    ("dpg", "gdc++", ""), ("dpg", "dpg", "--method dpg --beta 0.2"),
    ("dpg", "fdpg", "--method fdpg --divergence js"), ("brain", "brain", "--refresh-every 2"),
    ("raft", "raft", "--keep 2"), ("raft", "raft", "--selection rejection --beta 0.3"),
  ])
  func `a run makes a policy, a report and metrics`(
    command: String, method: String, options: String
  ) throws {
    let bench = try bench()
    let line =
      "\(command) \(Self.small) --data prompts.jsonl --samples-per-prompt 3 --output run "
      + "--seed 3 \(options)"
    let run = try bench.attune(line: line)
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    #expect(report["method"] as? String == method && report["rollouts"] as? Int == 2)
    #expect((report["best_of_n_bound"] != nil) == options.contains("keep"))
    let lines = try bench.read("run/metrics.jsonl").split(separator: "\n")
    #expect(lines.count == 2)
    let first = try #require(
      try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
    #expect(abs(first["kl/sequence"] as? Double ?? 1) < 1e-6)
    #expect(first["stage"] as? String == command && first["reward/gold_mean"] != nil)
    let answer = try bench.attune(
      line: "generate --model run --raw --prompt ab --max-tokens 2 --json")
    #expect(answer.code == 0, "\(answer.errors)")
    let again = try bench.attune(line: line)
    #expect(again.code == 1 && again.failure.contains("holds this run, finished"))
  }

  @Test(arguments: ["dpg --method fdpg --divergence chi2", "brain", "raft"])
  func `recorded samples take the place of the policy's own`(command: String) throws {
    let bench = try bench()
    for (name, more) in [("whole", ""), ("narrow", "--top-p 0.9"), ("single", "--n 1")] {
      let run = try bench.attune(
        line: "sample --model model --data prompts.jsonl --max-tokens 6 --output \(name).jsonl "
          + "\(more.contains("--n") ? "" : "--n 4") \(more)")
      #expect(run.code == 0, "\(run.errors)")
    }
    let run = try bench.attune(line: "\(command) \(Self.small) --data whole.jsonl --output run")
    #expect(run.code == 0, "\(run.errors)")
    for (options, word) in [
      ("--data narrow.jsonl", "narrow.jsonl:1: completions[0] of model was sampled with top_p 0.9"),
      ("--data single.jsonl", "single.jsonl, line 1: answers to the prompt: 1"),
      ("--data whole.jsonl --samples-per-prompt 3", "samples_per_prompt is set but not read"),
    ] {
      let refused = try bench.attune(line: "\(command) \(Self.small) \(options) --output out")
      #expect(refused.code == 1 && refused.failure.contains(word), "\(refused.errors)")
      #expect(refused.output.isEmpty && !bench.exists("out"))
    }
  }

  @Test(arguments: [
    ("dpg --samples-per-prompt 1", "samples_per_prompt must be at least 2"),
    ("brain --samples-per-prompt 1", "samples_per_prompt must be at least 2"),
    ("raft --samples-per-prompt 1", "samples_per_prompt must be at least 2"),
    ("dpg --method dpg --divergence tv", "divergence is set but not read: dpg"),
    ("dpg --divergence tv", "divergence is set but not read: gdc++"),
    ("raft --beta 1", "beta is set but not read: selection is best"),
    ("raft --selection rejection --keep 2", "keep is set but not read"),
  ])
  func `a wrong recipe is refused by name before any work`(line: String, word: String) throws {
    let bench = try bench()
    let run = try bench.attune(line: "\(line) \(Self.small) --data prompts.jsonl --output out")
    #expect(run.code == 1 && run.failure.contains(word), "\(run.errors)")
    #expect(run.output.isEmpty && !bench.exists("out"))
  }
}
