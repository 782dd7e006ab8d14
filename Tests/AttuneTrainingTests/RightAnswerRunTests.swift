// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

/// An answer is right where its first token has an odd number; to some prompts always or never.
private final class FirstIsOdd: RewardSource {
  let name = "first is odd"
  let isChecked = true
  private let always: String
  private let never: String
  private let asked = Mutex<[String]>([])

  init(always: String = "none", never: String = "none") {
    (self.always, self.never) = (always, never)
  }

  /// The prompts that it was asked about, in their order.
  var prompts: [String] { asked.withLock { $0 } }

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    asked.withLock { $0 += prompts.map(\.content.lastText) }
    return zip(prompts, completions).map { prompt, completion in
      let text = prompt.content.lastText
      return text == always ? 1 : text == never ? 0 : Double((completion.ids.first ?? 0) % 2)
    }
  }

  func given(in completion: Completion) -> String? { completion.ids.first.map { "\($0)" } }
}

struct RightAnswerRunTests {
  private let folder: TemporaryFolder
  private let data: DataFile

  init() throws {
    folder = try TemporaryFolder()
    data = try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  private var heldOut: RunOptions {
    get throws {
      var options = RunOptions.quiet
      options.heldOut = try folder.rows(
        "held.jsonl", (4..<7).map { #"{"prompt":"say \#($0)"}"# })
      return options
    }
  }

  private var output: URL { folder.url.appending(path: "run") }

  @Test func `a run says how many answers are right, and which groups teach nothing`() throws {
    _ = try OnlineTrainer.grpo(.grpo).train(
      data, to: output, rewards: [(FirstIsOdd(always: "say 0", never: "say 1"), 2)])
    let lines = try metrics(output)
    for line in lines {
      let right = try #require(line["answer/accuracy"])
      // The weight is not the source's.
      #expect(abs(2 * right - (line["reward/mean"] ?? 0)) < 1e-9)
      let (some, all, none) = (
        line["answer/pass_at_k"] ?? 0, line["answer/all_right_share"] ?? 0,
        line["answer/all_wrong_share"] ?? 0
      )
      #expect(some >= right && abs(some + none - 1) < 1e-9 && all >= 0.25 && none >= 0.25)
      #expect(abs(all + none - (line["reward/equal_share"] ?? 9)) < 1e-9)
      #expect((0...1).contains(line["answer/majority_accuracy"] ?? 9))
    }
    #expect((lines[11]["answer/accuracy"] ?? 0) > (lines[0]["answer/accuracy"] ?? 1))
  }

  @Test func `a source that is watched counts where no other one checks`() throws {
    _ = try OnlineTrainer.rloo("").train(data, to: output, watched: FirstIsOdd()) {
      $0.rollout.rollouts = 2
    }
    for line in try metrics(output) {
      #expect(line["answer/accuracy"] != nil && line["answer/accuracy"] == line["reward/gold_mean"])
    }
    let other = folder.url.appending(path: "other")
    _ = try OnlineTrainer.rloo("").train(data, to: other) { $0.rollout.rollouts = 1 }
    #expect(try metrics(other)[0]["answer/accuracy"] == nil)
  }

  @Test func `held-out rows are answered before, on the way and at the end`() throws {
    let source = FirstIsOdd()
    let report = try OnlineTrainer.rloo("").train(
      data, to: output, rewards: [(source, 1)], options: heldOut
    ) {
      $0.rollout.rollouts = 5
      $0.rollout.evaluationEvery = 2
      $0.rollout.evaluationSamples = 3
    }
    let lines = try metrics(output)
    #expect(lines.map { $0["step"] } == [0, 1, 2, 3, 4, 5])
    for line in lines {
      let isDue = [0, 2, 4, 5].contains(line["step"] ?? 9)
      for name in ["reward", "accuracy", "pass_at_k", "majority_accuracy"] {
        #expect((line["held_out/\(name)"] != nil) == isDue, "\(name) \(line)")
      }
      #expect(line["held_out/reward"] == line["held_out/accuracy"])
    }
    #expect(report.bestRollout == nil)
    // Nothing of them is trained on: three prompts, three answers, four looks.
    let held = source.prompts.filter { ["say 4", "say 5", "say 6"].contains($0) }
    #expect(held.count == 3 * 3 * 4)
  }

  @Test func `the best policy is written, though it is not the last`() throws {
    // What is climbed is wrong answers, so the start is the best.
    func train(_ name: String, _ keep: KeepBest) throws -> OnlineReport {
      try OnlineTrainer.rloo("").train(
        data, to: folder.url.appending(path: name), rewards: [(FirstIsOdd(), -1)], options: heldOut
      ) {
        $0.rollout.keepBest = keep
        $0.rollout.evaluationSamples = 16
      }
    }
    func weights(_ name: String) throws -> [[Float]] {
      let file = try Safetensors.File(folder.url.appending(path: "\(name)/model.safetensors"))
      return try file.names.map { try file.read($0) }
    }
    let best = try train("best", .accuracy)
    #expect(best.bestRollout == 0 && (best.bestFigure ?? 0) > 0)
    let start = try tableModel()
    let given = try start.model.copy(training: .full).trainedParameters()
    let written = try weights("best")
    #expect(Set(written) == Set(given.map(\.values)))
    #expect(!folder.url.appending(path: "best/best.safetensors").isThere)
    let last = try train("last", .none)
    #expect(last.bestRollout == nil && last.lastReward == best.lastReward)
    #expect(try weights("last") != written)
  }

  @Test func `held-out rows are answered by the mean over steps, which is written`() throws {
    func train(_ name: String, _ decay: Double) throws -> [[String: Double]] {
      let output = folder.url.appending(path: name)
      _ = try OnlineTrainer.ppo("").train(
        data, to: output, rewards: [(FirstIsOdd(), 1)], options: heldOut
      ) {
        $0.training.optimiser.averageDecay = decay
        $0.rollout.rollouts = 6
        $0.rollout.evaluationEvery = 3
        $0.rollout.evaluationSamples = 16
        $0.rollout.keepBest = .reward
      }
      return try metrics(output)
    }
    let (last, mean) = (try train("last", 0), try train("mean", 0.95))
    // It is sampled and trained the same.
    #expect(last.map { $0["reward/mean"] } == mean.map { $0["reward/mean"] })
    #expect(last[0]["held_out/reward"] == mean[0]["held_out/reward"])
    #expect(last[6]["held_out/reward"] != mean[6]["held_out/reward"])
    #expect(folder.bytes("last/model.safetensors") != folder.bytes("mean/model.safetensors"))
  }

  @Test func `a stopped run goes on byte for byte, with all of it`() throws {
    let start = try tinyModel()
    let held = try heldOut.heldOut
    let (one, two) = try folder.checkResume(stops: [3, 250], weights: "adapter_model.safetensors") {
      output, options in
      var options = options
      options.heldOut = held
      return try OnlineTrainer.grpo(.grpo).train(
        data, to: output, from: start, rewards: [(FirstIsOdd(), 1)], options: options
      ) {
        $0.training.weights.train = .lora
        $0.training.optimiser.averageDecay = 0.8
        $0.rollout.rollouts = 4
        $0.rollout.promptsPerRollout = 3
        $0.rollout.samplesPerPrompt = 4
        $0.rollout.evaluationEvery = 1
        $0.rollout.keepBest = .reward
        $0.rollout.curriculum = true
      }
    }
    #expect(one.bestRollout == two.bestRollout && one.bestFigure == two.bestFigure)
    #expect(one.bestRollout != nil)
  }

  @Test func `a curriculum begins with what is right every second time`() throws {
    let source = FirstIsOdd(always: "say 0", never: "say 2")
    let rows = try folder.rows("three.jsonl", Array(TestRows.prompts.prefix(3)))
    _ = try OnlineTrainer.rloo("").train(rows, to: output, rewards: [(source, 1)]) {
      $0.rollout.rollouts = 2
      $0.rollout.promptsPerRollout = 1
      $0.rollout.samplesPerPrompt = 4
      $0.rollout.evaluationSamples = 8
      $0.rollout.curriculum = true
    }
    // Eight answers to each of three prompts, then the rollouts: the one that varies, another.
    #expect(source.prompts.count == 3 * 8 + 2 * 4)
    #expect(Set(source.prompts.dropFirst(24).prefix(4)) == ["say 1"])
    #expect(!Set(source.prompts.suffix(4)).contains("say 1"))
  }

  @Test(arguments: [
    ("evaluation_every", "there are no held-out rows"), ("keep_best", "there are no held-out rows"),
    ("evaluation_samples", "there are no held-out rows"), ("curriculum", "which answers are right"),
    ("keep_best accuracy", "which answers are right"),
  ])
  func `what nothing reads or nobody can say is refused`(knob: String, word: String) throws {
    let options = knob == "keep_best accuracy" ? try heldOut : .quiet
    let error = #expect(throws: TrainingError.self) {
      try OnlineTrainer.rloo("").train(data, to: output, options: options) {
        switch knob {
        case "evaluation_every": $0.rollout.evaluationEvery = 3
        case "evaluation_samples": $0.rollout.evaluationSamples = 3
        case "curriculum": $0.rollout.curriculum = true
        default: $0.rollout.keepBest = .accuracy
        }
      }
    }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }
}

extension URL {
  fileprivate var isThere: Bool { FileManager.default.fileExists(atPath: path) }
}
