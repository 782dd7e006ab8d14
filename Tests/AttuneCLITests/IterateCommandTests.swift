// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation
import Testing

@Suite(.serialized)
struct IterateCommandTests {
  @Test func `rounds, then online, by a reward and by a judge`() throws {
    let bench = try Workbench()
    try bench.writePrompts(4)
    try bench.write(
      "fixed.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c c c\"}\n")
    let line = "iterate --model model --data prompts.jsonl --rounds 2 --n 3 --max-tokens 40"
    let run = try bench.attune(
      line: "\(line) --reward labeller:concise@2 --watch labeller:concise --mix fixed.jsonl@0.25 "
        + "--loss ipo --beta 0.2 --pairs all --move-reference --output a --json")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    #expect(report["format_version"] as? Int == 1 && report["loss"] as? String == "ipo")
    #expect(report["ranker"] as? String == "labeller:concise@2.0")
    let rounds = try #require(report["rounds"] as? [[String: Any]])
    #expect(rounds.count == 2 && rounds[0]["kl"] as? Double == 0)
    let (reward, gold) = (rounds[0]["reward"] as? Double, rounds[0]["gold_reward"] as? Double)
    #expect(abs((reward ?? 9) - 2 * (gold ?? 0)) < 1e-9)
    #expect((rounds[0]["mixed"] as? Int ?? 0) > 0)
    #expect(bench.exists("a/round-2/pairs.jsonl"))
    let generated = try bench.attune(
      line: "generate --model a --raw --prompt ab --max-tokens 2 --temperature 0")
    #expect(generated.code == 0, "\(generated.errors)")
    // Its pairs are what attune dpo reads, and models are told apart in them.
    let ranked = try bench.attune(line: "feedback import a/round-1/pairs.jsonl --store f.db --json")
    #expect(ranked.code == 0, "\(ranked.errors)")
    let dpo = try bench.attune(
      line: "dpo --model model --data a/round-1/pairs.jsonl --output b --set max_steps=1")
    #expect(dpo.code == 0, "\(dpo.errors)")

    let again = try bench.attune(line: "\(line) --reward labeller:concise --output a")
    #expect(again.code == 1 && again.failure.contains("what differs"))

    let online = try bench.attune(
      line: "\(line) --online --reward labeller:concise --set dpo.xpo_alpha=0.01 --output c --json")
    #expect(online.code == 0, "\(online.errors)")
    #expect(try online.object()["steps"] as? Int == 2)

    let judged = try bench.attune(line: "\(line) --judge model --output d --json")
    #expect(judged.code == 0, "\(judged.errors)")
    #expect(try judged.object()["ranker"] as? String == "judge:model")
  }

  @Test func `a wrong recipe is refused in one line`() throws {
    let bench = try Workbench()
    try bench.writePrompts(4)
    let cases: [(options: String, code: Int32, word: String)] = [
      ("--output out", 64, "--reward"),
      ("--reward labeller:concise --judge model --output out", 64, "--judge"),
      ("--reward labeller:concise --constitution x.txt --output out", 64, "--constitution"),
      ("--reward labeller:concise --mix fixed.jsonl --output out", 64, "--mix"),
      ("--reward labeller:concise --mix fixed.jsonl@1 --output out", 64, "--mix"),
      ("--reward labeller:concise --mix none.jsonl@0.5 --output out", 1, "none.jsonl"),
      ("--reward labeller:concise --mix prompts.jsonl@0.5 --output out", 1, "prompts.jsonl"),
      ("--reward labeller:nobody --output out", 1, "nobody"),
      ("--reward labeller:concise --watch labeller:nobody --output out", 1, "nobody"),
      ("--reward labeller:concise --loss nonsense --output out", 64, "nonsense"),
      ("--reward labeller:concise --rounds 0 --output out", 64, "rounds"),
      ("--reward labeller:concise --n 1 --output out", 64, "samples_per_prompt"),
      ("--reward labeller:concise --online --move-reference --output out", 1, "move_reference"),
      ("--reward labeller:concise --online --epochs 2 --output out", 1, "dpo.epochs"),
      ("--reward labeller:concise --set dpo.gamma=1 --output out", 1, "dpo.gamma"),
      ("--reward labeller:concise --set judge.votes=3 --output out", 1, "judge.votes"),
      ("--reward labeller:concise --set dpo.beat=3 --output out", 64, "dpo.beat"),
    ]
    for (options, code, word) in cases {
      let run = try bench.attune(line: "iterate --model model --data prompts.jsonl \(options)")
      #expect(run.code == code && run.failure.contains(word), "\(options): \(run.errors)")
      #expect(run.failure.hasPrefix("error: ") && run.output.isEmpty && !bench.exists("out"))
    }
  }

  @Test func `Ctrl-C ends with 130`() throws {
    let bench = try Workbench()
    try bench.writePrompts(4)
    let cases = [
      ("rounds", ["--epochs", "4000"], "dpo  "), ("online", ["--online"], "iterate  "),
    ]
    for (output, more, words) in cases {
      let stopped = try CommandRun(
        [
          "iterate", "--model", "model", "--data", "prompts.jsonl", "--reward", "labeller:concise",
          "--rounds", "4000", "--max-tokens", "40", "--output", output, "--threads", "1",
        ] + more, in: bench.folder, interruptedAfter: 1, onceItSays: words)
      #expect(stopped.code == 130, "\(stopped.errors)")
      #expect(stopped.failure.contains("the same command goes on"), "\(stopped.failure)")
    }
  }
}
