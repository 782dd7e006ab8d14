// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A trainer whose answers are drawn by other processes, through a folder.
@Suite(.serialized)
struct SamplerFolderTests {
  private static let run =
    "--model model --data prompts.jsonl --reward labeller:concise --set prompts_per_rollout=4 "
    + "--set samples_per_prompt=2 --set max_tokens=6 --set layers=1 --set lease_prompts=2 "
    + "--set lease_seconds=1 --threads 1 --seed 3 --samplers folder --output run"

  private func bench() throws -> Workbench {
    let bench = try Workbench()
    try bench.write(
      "prompts.jsonl",
      ["cat", "dog", "sun", "tea", "sea"].map { #"{"prompt":"a \#($0)","answer":"\#($0)"}"# + "\n" }
        .joined())
    return bench
  }

  private func worker(_ bench: Workbench, _ name: String) throws -> Process {
    try bench.start(line: "rollouts --run run --worker \(name) --threads 1 --idle-seconds 60")
  }

  private func metrics(_ bench: Workbench) throws -> [[String: Any]] {
    try bench.read("run/metrics.jsonl").split(separator: "\n").compactMap {
      try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
  }

  @Test(arguments: [
    "rloo", "grpo --epochs 2", "ppo", "dpg", "brain --refresh-every 2", "raft --keep 1",
    "distill --teacher-system ab",
    "rloo --curriculum --reward answer:exact",
  ])
  func `others sample, and no answer is older than allowed`(line: String) throws {
    let bench = try bench()
    let workers = try ["a", "b"].map { try worker(bench, $0) }
    let run = try bench.attune(line: "\(line) \(Self.run) --set rollouts=5 --max-staleness 2")
    #expect(run.code == 0, "\(run.errors)")
    for worker in workers {
      worker.waitUntilExit()
      #expect(worker.terminationStatus == 0)
    }
    let lines = try metrics(bench)
    #expect(lines.compactMap { $0["step"] as? Int } == [1, 2, 3, 4, 5])
    for (rollout, line) in lines.enumerated() {
      let staleness = try #require(line["rollout/staleness"] as? Double)
      #expect(staleness >= 0 && staleness <= min(2, Double(rollout)))
    }
    // Prompts, leases, answers and policies are gone; that the run is over stays.
    let left = try FileManager.default.contentsOfDirectory(
      atPath: bench.url("run/samplers").path)
    #expect(left == ["current.json"], "\(left)")
  }

  @Test func `what the policy as it is draws is what the trainer would`() throws {
    let bench = try bench()
    let worker = try worker(bench, "a")
    let line = "rloo \(Self.run) --set rollouts=2 --set importance_weights=none"
    var run = try bench.attune(line: line + " --max-staleness 0")
    #expect(run.code == 0, "\(run.errors)")
    worker.waitUntilExit()
    let elsewhere = try metrics(bench)
    run = try bench.attune(
      line: line.replacing("--samplers folder --output run", with: "--output own")
        .replacing("--set lease_prompts=2 --set lease_seconds=1", with: "")
        .replacing("--set importance_weights=none", with: ""))
    #expect(run.code == 0, "\(run.errors)")
    let own = try bench.read("own/metrics.jsonl").split(separator: "\n").compactMap {
      try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
    #expect(elsewhere.count == 2 && own.count == 2)
    for (one, other) in zip(elsewhere, own) {
      for key in ["reward/mean", "answer/length", "loss"] {
        let (one, other) = (one[key] as? Double ?? 0, other[key] as? Double ?? 0)
        #expect(abs(one - other) < 1e-5, "\(key)")
      }
    }
  }

  @Test func `samplers and trainer may be killed at any moment`() throws {
    let bench = try bench()
    let line =
      "rloo \(Self.run) --set rollouts=40 --set checkpoint_seconds=0 --max-staleness 1"
    var random = SystemRandomNumberGenerator()
    var kills = 0
    var workers = try ["a", "b"].map { try worker(bench, $0) }
    var trainer = try bench.start(line: line)
    let deadline = ContinuousClock.now + .seconds(90)
    while trainer.isRunning || trainer.terminationStatus != 0, ContinuousClock.now < deadline {
      Thread.sleep(forTimeInterval: Double.random(in: 0.1...0.5, using: &random))
      if kills < 6, trainer.isRunning {
        kills += 1
        if kills % 2 == 0 {
          kill(trainer.processIdentifier, SIGKILL)
          trainer.waitUntilExit()
          trainer = try bench.start(line: line)
        } else {
          kill(workers[0].processIdentifier, SIGKILL)
          workers[0].waitUntilExit()
          workers = [workers[1], try worker(bench, "w\(kills)")]
        }
      } else if !trainer.isRunning, trainer.terminationStatus != 0 {
        break
      }
    }
    trainer.waitUntilExit()
    #expect(trainer.terminationStatus == 0 && kills > 0)
    for worker in workers { worker.waitUntilExit() }
    // Every rollout was trained on once.
    #expect(try metrics(bench).compactMap { $0["step"] as? Int } == Array(1...40))
    let other = try bench.start(line: line)
    other.waitUntilExit()
    #expect(other.terminationStatus == 1)
  }

  @Test func `what can't be sampled is said`() throws {
    let bench = try bench()
    var run = try bench.attune(
      line: "rollouts --run nothing --worker a --idle-seconds 0.3 --threads 1 --json")
    #expect(run.code == 0)
    #expect(try run.object()["leases"] as? Int == 0)
    try bench.write(
      "run/samplers/current.json",
      #"{"format_version":1,"version":0,"model":"model","#
        + #""fingerprint":"another","is_finished":false,"lease_seconds":60}"#)
    run = try bench.attune(line: "rollouts --run run --worker a --idle-seconds 0.3 --threads 1")
    #expect(run.code == 1 && run.failure.contains("is another model here"), "\(run.errors)")
    run = try bench.attune(
      line: "rloo \(Self.run) --set rollouts=1".replacing("folder", with: "own"))
    #expect(run.code == 1 && run.failure.contains("lease_prompts"))
  }
}
