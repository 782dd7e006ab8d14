// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The trainers that sample their own answers, as commands.
@Suite(.serialized)
struct OnlineCommandTests {
  private static let small =
    "--model model --reward labeller:concise@2 --reward length:3-9@0.5 "
    + "--watch labeller:concise --threads 1 --set rollouts=2 --set prompts_per_rollout=2 "
    + "--set max_tokens=6 --set layers=1"

  private func bench() throws -> Workbench {
    let bench = try Workbench()
    try bench.writePrompts(3)
    return bench
  }

  @Test(arguments: [
    ("reinforce", "reinforce", "--beta 0.01"),
    ("rloo", "rloo", "--constraint words<=3 --constraint length:2>=-0.5@1"),
    ("reinforce", "reinforce", "--baseline value --kl loss --kl-estimator k3 --kl-ratio-weighted"),
    ("rloo", "rloo", "--epochs 2 --set clip=0.1"),
    ("grpo", "dr_grpo", "--variant dr_grpo --beta 0.1 --kl-estimator k2 --kl-per-sequence true"),
    ("grpo", "dapo", "--variant dapo --set max_draws=2"),
    ("ppo", "reinforce++", "--variant reinforce++"),
    ("dpg", "gdc++", ""), ("dpg", "dpg", "--method dpg --beta 0.2"),
    ("dpg", "fdpg", "--method fdpg --divergence js"), ("brain", "brain", "--refresh-every 2"),
    ("distill", "reverse_kl", "--teacher-system ab"),
    ("distill", "gkd", "--teacher-system ab --method gkd"), ("raft", "raft", "--keep 2"),
    ("raft", "raft", "--selection rejection --beta 0.3"),
  ])
  func `a run makes a policy, a report and metrics`(
    command: String, method: String, options: String
  ) throws {
    let bench = try bench()
    let words = "\(command) \(Self.small) --data prompts.jsonl --set samples_per_prompt=3 "
    let run = try bench.attune(line: words + "--output run --json --seed 3 \(options)")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    #expect(report["method"] as? String == method && report["rollouts"] as? Int == 2)
    #expect((report["steps"] as? Int ?? 0) > 0 || method == "dapo")
    #expect((report["best_of_n_bound"] != nil) == options.contains("keep"))
    let lines = try bench.read("run/metrics.jsonl").split(separator: "\n")
    #expect(lines.count == 2)
    let line = try #require(
      try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
    // Where another model drew the answers, its share of rounding.
    #expect(abs(line["kl/sequence"] as? Double ?? 1) < 1e-6)
    #expect(line["stage"] as? String == command && line["reward/gold_mean"] != nil)
    // What was written is a model.
    let answer = try bench.attune(
      line: "generate --model run --raw --prompt ab --max-tokens 2 --json")
    #expect(answer.code == 0, "\(answer.errors)")
    let again = try bench.attune(line: words + "--output run --json --seed 3 \(options)")
    #expect(again.code == 1 && again.failure.contains("holds this run, finished"))
  }

  @Test(arguments: ["dpg --method fdpg --divergence chi2", "brain", "raft"])
  func `recorded samples take the place of the policy's own`(command: String) throws {
    let bench = try bench()
    let sampled = try bench.attune(
      line: "sample --model model --data prompts.jsonl --max-tokens 6 --n 4 --output samples.jsonl")
    #expect(sampled.code == 0, "\(sampled.errors)")
    let words = "\(command) \(Self.small) --data samples.jsonl --output"
    let run = try bench.attune(line: "\(words) run")
    #expect(run.code == 0, "\(run.errors)")
    let refused = try bench.attune(line: "\(words) out --samples-per-prompt 3")
    #expect(refused.code == 1 && refused.failure.contains("samples_per_prompt is set but not read"))
    #expect(refused.output.isEmpty && !bench.exists("out"))
  }

  // What every trainer refuses is held by the tests of its settings.
  @Test(arguments: [
    ("rloo --reward length:3 --samples-per-prompt 1", 1, "samples_per_prompt must be at least 2"),
    ("ppo --reward length:3 --variant reinforce++ --value-model model", 1, "has no value head"),
    ("rloo --reward length:3 --constraint words=20", 1, "there is no <= or >= in it"),
    ("rloo --reward length:3 --constraint words<=many", 1, "no number stands behind <="),
    ("rloo --reward length:3 --constraint words<=3@0", 1, "the rate behind @ is a number above 0"),
    (
      "distill --teacher-system x --constraint words<=3", 64,
      "--constraint: distill climbs no reward"
    ),
    ("reinforce --reward length:3 --set epochs=2", 64, "there is no knob epochs"),
    ("grpo --reward length:3 --variant grop", 64, "grop"),
    ("reinforce --reward length:3 --baseline none", 64, "none"), ("rloo", 64, "--reward"),
  ])
  func `a wrong recipe is refused before any work`(
    options: String, code: Int32, words: String
  ) throws {
    let bench = try bench()
    let run = try bench.attune(
      line: "\(options) --model model --data prompts.jsonl --output out")
    #expect(run.code == code && run.failure.contains(words), "\(run.errors)")
    #expect(run.failure.hasPrefix("error: ") && run.output.isEmpty && !bench.exists("out"))
  }

  @Test(arguments: ["reinforce", "grpo"])
  func `the help says what an estimator in the loss reaches`(command: String) throws {
    let run = try CommandRun([command, "--help"], in: URL.temporaryDirectory)
    let text = run.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(text.contains("k2, per sequence: the optimum of E r − β·KL(π‖ρ)"))
    #expect(text.contains("k1: the highest reward alone"))
    #expect(text.contains("k3, per sequence: the optimum of E r − β·KL(ρ‖π), another one"))
  }
}
