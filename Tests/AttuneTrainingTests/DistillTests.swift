// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// Distillation of a table into itself under other words, and of a tiny model into another.
struct DistillTests {
  func prompts(_ folder: TemporaryFolder) throws -> DataFile {
    try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  /// A method, and what it leaves of the KL at most: of sampled tokens there are few for 259.
  struct Way: CustomTestStringConvertible, Sendable {
    var method: String
    var tokens = DistillSettings.Tokens.all
    var discount = 0.0
    var leaves: Double
    var testDescription: String { "\(method) of \(tokens.rawValue) tokens, discount \(discount)" }

    static let all = [
      Way(method: "reverse_kl", leaves: 0.5), Way(method: "forward_kl", leaves: 0.5),
      Way(method: "gkd", leaves: 0.5), Way(method: "sequence", leaves: 0.8),
      Way(method: "reverse_kl", tokens: .sampled, leaves: 0.8),
      Way(method: "reverse_kl", tokens: .sampled, discount: 1, leaves: 0.9),
    ]
  }

  @Test(arguments: Way.all)
  func `the policy comes nearer to its teacher`(way: Way) throws {
    let (folder, family) = (try TemporaryFolder(), try ModelFamily())
    let output = folder.url.appending(path: "policy")
    let teacher = try family.member("teacher", .full, seed: 3)
    var options = RunOptions.quiet
    options.heldOut = try prompts(folder)
    let trainer = OnlineTrainer.distill(way.method) {
      $0.teacher = teacher
      $0.teacherSystem = ""
      $0.tokens = way.tokens
      $0.discount = way.discount
    }
    let report = try trainer.train(
      prompts(folder), to: output, from: family.base, rewards: [], options: options
    ) {
      $0.rollout.rollouts = 25
      $0.rollout.samplesPerPrompt = 16
      $0.rollout.maxTokens = 4
      $0.rollout.evaluationSamples = 16
      $0.rollout.evaluationEvery = 25
      $0.training.optimiser.learningRate = 0.01
    }
    let lines = try metrics(output)
    let held = lines.compactMap { $0["held_out/teacher_kl"] }
    #expect(held.count == 2 && held[1] < way.leaves * held[0], "\(way.testDescription): \(held)")
    #expect(lines.compactMap { $0["held_out/length"] }.count == 2)
    // What stands for a reward is log T/π_ref: with the KL from the start it says that from the teacher.
    let own = lines.filter { $0["distillation/teacher_kl"] != nil }
    #expect(own.count == 25 && report.steps == 25 && report.stopped == "rollouts")
    for line in own where line["reward/policy_mean"] == nil {
      let from = (line["kl/sequence"] ?? .nan) - (line["reward/mean"] ?? .nan)
      #expect(abs(from - (line["distillation/teacher_kl"] ?? .nan)) < 1e-9)
    }
    let share = own.compactMap { $0["distillation/own_share"] }
    #expect(share.isEmpty == (report.method != "gkd"))
    #expect(share.isEmpty || share.contains { $0 > 0 } && share.contains { $0 < 1 })
    // Only what is told of the answers that were sampled knows the sampler.
    let drawn = report.method == "sequence" || report.method == "gkd"
    #expect(own.allSatisfy { ($0["reward/policy_mean"] == nil) || drawn })
  }

  @Test func `a reward is measured and not climbed`() throws {
    let folder = try TemporaryFolder()
    let trainer = OnlineTrainer.distill("reverse_kl")
    func numbers(_ name: String, _ rewards: [(source: any RewardSource, weight: Double)]) throws
      -> (Data?, [[String: Double]])
    {
      let output = folder.url.appending(path: name)
      _ = try trainer.train(prompts(folder), to: output, rewards: rewards) {
        $0.rollout.rollouts = 2
      }
      return (folder.bytes("\(name)/model.safetensors"), try metrics(output))
    }
    let (plain, told) = (
      try numbers("plain", []), try numbers("told", [(ShareOfOdd(), 3)])
    )
    #expect(plain.0 != nil && plain.0 == told.0)
    #expect(told.1.allSatisfy { (0...3).contains($0["reward/mean"] ?? -1) })
    #expect(plain.1[0]["distillation/teacher_kl"] == told.1[0]["distillation/teacher_kl"])
  }

  @Test func `another model teaches, and one of other tokens is refused with the reason`() throws {
    let family = try ModelFamily()
    let folder = try TemporaryFolder()
    let teacher = try family.member("teacher", .full, seed: 3)
    let data = try prompts(folder)
    func train(_ name: String, _ teacher: String, from start: LoadedModel) throws -> OnlineReport {
      try OnlineTrainer.distill("reverse_kl") {
        $0.teacher = teacher; $0.teacherSystem = ""
      }
      .train(data, to: folder.url.appending(path: name), from: start, rewards: []) {
        $0.rollout.rollouts = 8
        $0.training.optimiser.learningRate = 0.01
      }
    }
    _ = try train("run", teacher, from: family.base)
    let kl = try metrics(folder.url.appending(path: "run")).compactMap {
      $0["distillation/teacher_kl"]
    }
    #expect(kl.count == 8 && kl[0] > 0.01 && kl[7] < 0.6 * kl[0], "\(kl)")

    let itself = #expect(throws: TrainingError.self) {
      _ = try train("itself", family.base.name, from: family.base)
    }
    #expect(itself?.message.contains("nothing to learn from") == true)

    // The same architecture with a tokenizer of its own.
    let tokenizer = try Tokenizer.load(directory: Fixtures.url("tokenizers/nobytes"))
    var spec = family.base.model.spec
    spec.vocabularySize = max(spec.vocabularySize, tokenizer.vocabularySize)
    let other = try LoadedModel.random(spec, tokenizer: tokenizer, seed: 1, on: NativeEngine())
    let error = #expect(throws: TrainingError.self) { _ = try train("other", teacher, from: other) }
    let words = error?.message ?? ""
    #expect(words.contains("its tokens are others") && words.contains("token "), "\(words)")
    #expect(!folder.exists("other"))
  }

  @Test(arguments: ["forward_kl", "gkd", "sequence"])
  func `recorded answers are learned from too`(method: String) throws {
    let folder = try TemporaryFolder()
    var sampling = SampleSettings()
    sampling.n = 8
    sampling.maxTokens = 2
    let contents = try prompts(folder).prompts
    let family = try ModelFamily()
    let teacher = try family.member("teacher", .full, seed: 3)
    let rows = try Sampling.rows(
      family.base, prompts: contents, numbers: Array(contents.indices), settings: sampling)
    let data = try folder.rows("samples.jsonl", rows.map(\.json.text))
    let output = folder.url.appending(path: "run")
    let report = try OnlineTrainer.distill(method) {
      $0.teacher = teacher
      $0.teacherSystem = ""
      $0.rollout.maxTokens = 2
    }.train(data, to: output, from: family.base, rewards: []) {
      $0.rollout.rollouts = 12
      $0.rollout.samplesPerPrompt = RolloutSettings().samplesPerPrompt
      $0.training.optimiser.learningRate = 0.01
    }
    let lines = try metrics(output)
    #expect(report.rollouts == 12)
    let loss = lines.compactMap { $0["loss/distillation"] ?? $0["loss/supervised"] }
    #expect(loss.count == 12 && loss[11] < 0.8 * loss[0], "\(loss)")

    let refused = #expect(throws: TrainingError.self) {
      _ = try OnlineTrainer.distill("reverse_kl") { $0.tokens = .sampled }
        .train(data, to: folder.url.appending(path: "no"), from: family.base, rewards: []) {
          $0.rollout.samplesPerPrompt = RolloutSettings().samplesPerPrompt
        }
    }
    #expect(refused?.message.contains("tokens=all") == true && !folder.exists("no"))
  }

  @Test func `settings without effect or sense are refused`() {
    func message(_ flags: [(String, String)], system: String? = "\"x\"") -> String {
      let error = #expect(throws: TrainingError.self) {
        let settings = try ConfigFile.settings(
          DistillSettings(),
          flags: (flags + (system.map { [("teacher_system", $0)] } ?? [])).map {
            (knob: $0.0, json: $0.1)
          })
        try settings.validate()
      }
      return error?.message ?? ""
    }
    #expect(message([], system: nil).contains("teacher_system must be said where teacher is same"))
    #expect(message([("teacher", "\"\"")]).contains("teacher must be a model"))
    #expect(message([("beta", "2")]).contains("beta is set but not read: tokens is all"))
    #expect(message([("jsd_beta", "0.2")]).contains("gkd reads it"))
    #expect(
      message([("method", "\"gkd\""), ("tokens", "\"sampled\"")]).contains("reverse_kl reads it"))
    #expect(
      message([("tokens", "\"sampled\""), ("beta", "2")]).contains("discount must be 1"))
    #expect(
      message([("method", "\"sequence\""), ("samplers", "\"folder\"")]).contains("samplers must be")
    )
    #expect(message([("method", "\"gkd\""), ("jsd_beta", "1")]).contains("jsd_beta must be"))
  }
}
