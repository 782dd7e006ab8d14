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

/// Trainers whose answers are drawn with other numbers than the trainer's.
struct SamplerTests {
  private static let gapMetrics = ["ratio/sampler_kl", "ratio/sampler_effective_share"]
  private static let cutShare = "ratio/importance_cut_share"

  private static func prompts(_ folder: TemporaryFolder) throws -> DataFile {
    try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  @Test(arguments: OnlineTrainer.climbing)
  func `the reward rises with a rounded sampler, and what it is off by is logged`(
    trainer: OnlineTrainer
  ) throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    let report = try trainer.train(Self.prompts(folder), to: output) {
      $0.rollout.sampler = .int8
    }
    let lines = try metrics(output)
    // What dapo takes off for length is in its scores alone.
    let scores = lines.compactMap { $0["reward/normalised_mean"] }
    #expect(scores.count == 12 && scores[11] > scores[0] + 0.15, "\(report)")
    #expect(lines[0]["kl/sequence"] == 0)
    for line in lines {
      let (kl, share) = (line[Self.gapMetrics[0]] ?? .nan, line[Self.gapMetrics[1]] ?? .nan)
      #expect(kl > 0 && kl < 0.01 && share > 0.98 && share < 1, "\(kl), \(share)")
      #expect((line[Self.cutShare] ?? .nan) < 0.01)
      #expect((line["ratio/sampler_gap"] ?? 1) < 0.3)
      // The trainer's own passes still agree with one another.
      #expect((line["ratio/first_minibatch_gap"] ?? 0) < 1e-4)
    }
  }

  @Test(arguments: [OnlineTrainer.rloo(""), .reinforce(""), .grpo(.grpo)])
  func `what is in the advantages is the trainer's own`(trainer: OnlineTrainer) throws {
    // Of the first rollout the policy is the reference, so a KL term in the reward is exactly 0.
    let folder = try TemporaryFolder()
    func line(_ beta: String, sampler: Sampler) throws -> [String: Double] {
      let output = folder.url.appending(path: "\(beta) \(sampler)")
      _ = try trainer.train(Self.prompts(folder), to: output) {
        $0.rollout.rollouts = 1
        $0.rollout.sampler = sampler
        if var steered = $0 as? any SteersKL {
          steered.steering.beta = beta == "large" ? 50 : 0
          $0 = steered
        }
      }
      return try metrics(output)[0]
    }
    let (none, large) = (try line("none", sampler: .int8), try line("large", sampler: .int8))
    #expect(none["advantage/sd"] == large["advantage/sd"])
    #expect((large["advantage/sd"] ?? 0) > 0.01)
  }

  @Test func `weights are used as they are asked for`() throws {
    let folder = try TemporaryFolder()
    func norm(_ name: String, _ change: @escaping (inout RLOOSettings) -> Void) throws -> [Double] {
      let trainer = OnlineTrainer.rloo(name) {
        $0.rollout.rollouts = 3
        change(&$0)
      }
      let output = folder.url.appending(path: name)
      _ = try trainer.train(Self.prompts(folder), to: output) { $0.rollout.sampler = .int8 }
      let lines = try metrics(output)
      #expect(lines.allSatisfy { ($0[Self.cutShare] != nil) == (name != "none") })
      if name == "mask" { #expect(lines.contains { ($0[Self.cutShare] ?? 0) > 0.1 }) }
      return lines.compactMap { $0["optimizer/gradient_norm"] }
    }
    let norms = try [
      norm("none") { $0.importanceWeights = .none },
      norm("truncate") { _ in },
      norm("mask") {
        $0.importanceWeights = .mask
        $0.importanceCap = 1
      },
    ]
    #expect(Set(norms).count == 3 && norms.allSatisfy { $0.count == 3 })
  }

  @Test(arguments: [OnlineTrainer.ppo(""), OnlineTrainer.Matching.dpg.trainer])
  func `a stopped run goes on byte for byte`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let (data, start) = (try Self.prompts(folder), try tinyModel())
    _ = try folder.checkResume(stops: [3, 150, 190], weights: "adapter_model.safetensors") {
      output, options in
      try trainer.train(data, to: output, from: start, options: options) {
        $0.training.weights.train = .lora
        $0.rollout.rollouts = 4
        $0.rollout.samplesPerPrompt = 4
        $0.rollout.sampler = .int8
      }
    }
  }

  @Test(arguments: OnlineTrainer.climbing.prefix(1) + [OnlineTrainer.grpo(.grpo)])
  func `with the model's own numbers nothing is weighted or logged`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    _ = try trainer.train(Self.prompts(folder), to: output) { $0.rollout.rollouts = 1 }
    let line = try metrics(output)[0]
    #expect((Self.gapMetrics + [Self.cutShare]).allSatisfy { line[$0] == nil })
  }

  @Test func `knobs of weights that nothing reads are refused`() throws {
    func refused(_ knobs: [(knob: String, json: String)], _ words: String) {
      let error = #expect(throws: TrainingError.self) {
        let _: GRPOSettings = try ConfigFile.settings(flags: knobs)
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    refused(
      [("sampler", "\"int8\""), ("importance_weights", "\"none\""), ("importance_cap", "3")],
      "importance_weights is none")
    refused([("sampler", "\"int8\""), ("importance_cap", "0.5")], "importance_cap must be")
    refused([("sampler", "\"int4\"")], "sampler must be one of same, int8")
  }

  @Test func `weights are refused where the sampler's numbers are the trainer's`() throws {
    let folder = try TemporaryFolder()
    func complaint(_ change: @escaping (inout SamplerCorrection) -> Void) throws -> String? {
      let trainer = OnlineTrainer.rloo("refused") { change(&$0.correction) }
      return #expect(throws: TrainingError.self) {
        _ = try trainer.train(Self.prompts(folder), to: folder.url.appending(path: "run"))
      }?.message
    }
    let cap = try complaint { $0.importanceCap = 3 }
    #expect(cap?.contains("importance_cap is set but not read: sampler is same") == true)
    #expect(cap?.contains("float32") == true)
    #expect(try complaint { $0.importanceWeights = .mask }?.contains("importance_weights") == true)
  }

  @Test(.enabled(if: NativeEngine.fastest == .bf16))
  func `weights can be chosen where passes are in bfloat16`() throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    let trainer = OnlineTrainer.rloo("bf16") {
      $0.rollout.rollouts = 1
      $0.correction.importanceWeights = .mask
    }
    _ = try trainer.train(
      Self.prompts(folder), to: output, from: tinyModel(on: NativeEngine(precision: .bf16)))
    #expect(try metrics(output)[0][Self.cutShare] != nil)
  }
}
