// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

/// A source whose mean a policy is to keep at a limit.
struct ConstraintTests {
  private static let name = "share of odd<=0.6"

  private func rewards(limit: Double = 0.6) -> [(source: any RewardSource, weight: Double)] {
    // What is climbed is what costs: without the limit nothing would stop it.
    [(ShareOfOdd(), 1), (Constraint(ShareOfOdd(), .atMost, limit), 0)]
  }

  @Test func `the mean stays at the limit while the reward is climbed`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    func lines(_ name: String, _ rewards: [(source: any RewardSource, weight: Double)]) throws
      -> [[String: Double]]
    {
      let output = folder.url.appending(path: name)
      _ = try OnlineTrainer.rloo("") { $0.beta = 0.1 }.train(data, to: output, rewards: rewards) {
        $0.rollout.rollouts = 60
        $0.training.optimiser.learningRate = 0.012
      }
      return try metrics(output)
    }
    func last(_ lines: [[String: Double]], _ key: String) -> Double {
      lines.suffix(30).reduce(0) { $0 + ($1[key] ?? .nan) } / 30
    }
    let free = try lines("free", [(ShareOfOdd(), 1)])
    let held = try lines("held", rewards())
    #expect(last(free, "reward/mean") > 0.8)
    #expect(abs(last(held, "reward/mean") - 0.6) < 0.08, "\(held.map { $0["reward/mean"] ?? 0 })")
    #expect(held[0]["constraint/multiplier[\(Self.name)]"] == 0)
    #expect(last(held, "constraint/multiplier[\(Self.name)]") > 0.1)
    for line in held {
      let slack = line["constraint/slack[\(Self.name)]"] ?? .nan
      #expect(abs(slack - (0.6 - (line["reward/mean"] ?? .nan))) < 1e-9)
      #expect((0...1).contains(line["constraint/violations[\(Self.name)]"] ?? -1))
    }
    #expect(free.allSatisfy { $0.keys.allSatisfy { !$0.hasPrefix("constraint/") } })
  }

  @Test(arguments: OnlineTrainer.climbing + OnlineTrainer.Matching.allCases.map(\.trainer))
  func `every trainer that climbs a reward keeps the mean below a limit`(
    trainer: OnlineTrainer
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    func means(_ name: String, _ rewards: [(source: any RewardSource, weight: Double)]) throws
      -> [[String: Double]]
    {
      let output = folder.url.appending(path: name)
      _ = try trainer.train(data, to: output, rewards: rewards) { $0.rollout.rollouts = 30 }
      return try metrics(output)
    }
    // What a table says at random is odd by half.
    let held = try means(
      "held", [(LeavesOdd(), 1), (Constraint(ShareOfOdd(), .atLeast, 0.6, rate: 2), 0)])
    let free = try means("free", [(LeavesOdd(), 1)])
    func last(_ lines: [[String: Double]]) -> Double {
      1 - lines.suffix(8).reduce(0) { $0 + ($1["policy/reward"] ?? $1["reward/mean"] ?? .nan) } / 8
    }
    #expect(last(free) < 0.5, "\(last(free))")
    #expect(last(held) > last(free) + 0.05, "\(last(free)) and \(last(held))")
    #expect(held.contains { ($0["constraint/multiplier[share of odd>=0.6]"] ?? 0) > 0.1 })
  }

  @Test func `a constraint that nobody opened is refused`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    let error = #expect(throws: TrainingError.self) {
      _ = try OnlineTrainer.rloo("").train(data, to: folder.url.appending(path: "run")) {
        $0.rewards.constraints = ["words<=3"]
      }
    }
    #expect(error?.message.contains("constraints is set") == true)
  }

  @Test func `a stopped run goes on byte for byte, its price with it`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    let start = try tinyModel()
    _ = try folder.checkResume(stops: [3, 150, 190], weights: "adapter_model.safetensors") {
      output, options in
      try OnlineTrainer.rloo("").train(
        data, to: output, from: start, rewards: rewards(limit: 0.3), options: options
      ) {
        $0.training.weights.train = .lora
        $0.rollout.rollouts = 4
        $0.rollout.samplesPerPrompt = 4
      }
    }
  }

  @Test func `a limit that no answer keeps to is said`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    let said = Said()
    var options = RunOptions.quiet
    options.onEvent = { if case .remark(let text) = $0 { said.add(text) } }
    _ = try OnlineTrainer.rloo("").train(
      data, to: folder.url.appending(path: "run"), rewards: rewards(limit: -1), options: options
    ) { $0.rollout.rollouts = 6 }
    #expect(
      said.lines.count { $0.contains("no answer of 4 rollouts kept to share of odd<=-1") } == 1)
  }

  @Test func `distill has no reward to take a price off`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    let error = #expect(throws: TrainingError.self) {
      _ = try OnlineTrainer.distill("reverse_kl").train(
        data, to: folder.url.appending(path: "run"), rewards: rewards())
    }
    #expect(error?.message.contains("constraint share of odd<=0.6") == true)
  }
}

/// What `ShareOfOdd` leaves.
private struct LeavesOdd: RewardSource {
  let name = "leaves odd"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared).map { 1 - $0 }
  }
}

/// Lines that a run said.
private final class Said: Sendable {
  private let all = Mutex<[String]>([])
  var lines: [String] { all.withLock { $0 } }
  func add(_ line: String) { all.withLock { $0.append(line) } }
}
