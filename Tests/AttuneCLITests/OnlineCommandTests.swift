// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The trainers that sample their own answers, as commands.
@Suite(.serialized)
struct OnlineCommandTests {
  private static let small =
    "--model model --data prompts.jsonl --reward labeller:concise@2 --reward length:3-9@0.5 "
    + "--watch labeller:concise --threads 1 --set rollouts=2 --set prompts_per_rollout=2 "
    + "--set samples_per_prompt=3 --set max_tokens=6 --set layers=1"

  private func bench() throws -> Workbench {
    let bench = try Workbench()
    try bench.write(
      "prompts.jsonl", ["cat", "dog", "sun"].map { "{\"prompt\":\"a \($0)\"}\n" }.joined())
    return bench
  }

  @Test(arguments: [
    ("reinforce", "reinforce", "--beta 0.01"),
    ("reinforce", "reinforce", "--baseline value --kl loss --kl-estimator k3 --kl-ratio-weighted"),
    ("rloo", "rloo", "--epochs 2 --set clip=0.1"),
    ("grpo", "dr_grpo", "--variant dr_grpo --beta 0.1 --kl-estimator k2 --kl-per-sequence true"),
    ("grpo", "dapo", "--variant dapo --set max_draws=2"),
    ("ppo", "reinforce++", "--variant reinforce++"),
  ])
  func `a run makes a policy, a report and metrics`(
    command: String, method: String, options: String
  ) throws {
    let bench = try bench()
    let run = try bench.attune(
      line: "\(command) \(Self.small) --output run --json --seed 3 \(options)")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    #expect(report["method"] as? String == method && report["rollouts"] as? Int == 2)
    #expect((report["steps"] as? Int ?? 0) > 0 || method == "dapo")
    let lines = try bench.read("run/metrics.jsonl").split(separator: "\n")
    #expect(lines.count == 2)
    let line = try #require(
      try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
    #expect(line["kl/sequence"] as? Double == 0 && line["stage"] as? String == command)
    #expect(line["reward/gold_mean"] != nil)
    // What was written is a model.
    let answer = try bench.attune(
      line: "generate --model run --raw --prompt ab --max-tokens 2 --json")
    #expect(answer.code == 0, "\(answer.errors)")
    let again = try bench.attune(
      line: "\(command) \(Self.small) --output run --json --seed 3 \(options)")
    #expect(again.code == 1 && again.failure.contains("holds this run, finished"))
  }

  @Test(arguments: [
    ("rloo --samples-per-prompt 1", "samples_per_prompt must be at least 2"),
    ("grpo --samples-per-prompt 1 --variant gspo", "samples_per_prompt must be at least 2"),
    ("grpo --variant cispo --set clip_low=0.1", "clip_low is set but not read"),
    ("grpo --set fixed_length=9", "fixed_length is set but not read: grpo does not read it"),
    ("grpo --variant dapo --kl-estimator k2", "kl_estimator is set but not read: beta is 0"),
    ("reinforce --kl-estimator k2", "kl_estimator is set but not read: kl is reward"),
    ("reinforce --set epochs=2", "there is no knob epochs"),
    ("rloo --set clip=0.1", "clip is set but not read"),
    ("ppo --variant reinforce++ --set lambda=0.9", "lambda is set but not read: reinforce++"),
    ("ppo --variant reinforce++ --value-model model", "reinforce++ has no value head"),
  ])
  func `a wrong recipe is refused before any work`(options: String, words: String) throws {
    let bench = try bench()
    let run = try bench.attune(
      line: "\(options) --model model --data prompts.jsonl --reward labeller:concise --output out")
    // What no trainer of that name has is a slip on the line, what it does not read now is not.
    #expect(run.code == (words.hasPrefix("there is no knob") ? 64 : 1), "\(run.errors)")
    #expect(run.failure.hasPrefix("error: ") && run.failure.contains(words), "\(run.errors)")
    #expect(!bench.exists("out"))
  }

  @Test func `names that do not exist are a wrong usage`() throws {
    let bench = try bench()
    for options in ["grpo --variant grop", "reinforce --baseline none", "ppo --variant x"] {
      let run = try bench.attune(
        line: "\(options) --model model --data prompts.jsonl --reward labeller:concise --output out"
      )
      #expect(run.code == 64 && !bench.exists("out"), "\(run.errors)")
    }
    let none = try bench.attune(line: "rloo --model model --data prompts.jsonl --output out")
    #expect(none.code == 64 && none.failure.contains("--reward"))
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
