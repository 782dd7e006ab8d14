// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// How a run's products are computed and its frozen weights kept.
struct RunNumbers: Sendable, CustomTestStringConvertible {
  var precision = Precision.float32
  var base = BasePrecision.asIs
  var optimizer = OptimizerName.adamw

  var testDescription: String {
    "\(precision.rawValue), \(base.rawValue), \(optimizer.rawValue)"
  }

  /// Those that this processor computes with.
  static let all: [RunNumbers] =
    [
      RunNumbers(precision: .high), RunNumbers(base: .q4), RunNumbers(base: .q8),
      RunNumbers(base: .q4, optimizer: .adamw8bit),
    ]
    + (NativeEngine.fastest == .bf16
      ? [
        RunNumbers(precision: .bf16), RunNumbers(precision: .bf16, base: .q4),
        RunNumbers(precision: .bf16, base: .bf16, optimizer: .adamw8bit),
      ] : [])

  func open(_ path: String) throws -> LoadedModel {
    try LoadedModel.open(path, on: NativeEngine(precision: precision, basePrecision: base))
  }
}

/// What is promised of a run, whatever numbers it computes with.
struct PrecisionRunTests {
  @Test(arguments: RunNumbers.all)
  func `a policy begins as its reference, and a stopped run goes on byte for byte`(
    numbers: RunNumbers
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    let family = try ModelFamily()
    let start = try numbers.open(family.base.name)
    let trainer = OnlineTrainer.ppo("") { $0.passes.epochs = 2 }
    _ = try folder.checkResume(stops: [3, 60], weights: "adapter_model.safetensors") {
      output, options in
      try trainer.train(data, to: output, from: start, options: options) {
        $0.training.weights.train = .lora
        $0.training.optimiser.optimizer = numbers.optimizer
        $0.rollout.rollouts = 3
        $0.rollout.samplesPerPrompt = 2
      }
    }
    let lines = try metrics(folder.url.appending(path: "whole"))
    #expect(lines.count == 3 && lines[0]["kl/sequence"] == 0)
    #expect(lines.dropFirst().allSatisfy { $0["kl/sequence"] != 0 })
    #expect(lines.allSatisfy { ($0["ratio/first_minibatch_gap"] ?? 1) < 1e-4 })
  }

  @Test(arguments: RunNumbers.all)
  func `a run over rows goes on byte for byte`(numbers: RunNumbers) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(12))
    let family = try ModelFamily()
    let start = try numbers.open(family.base.name)
    _ = try folder.checkResume(stops: [4], weights: "adapter_model.safetensors") {
      output, options in
      var settings = DPOSettings.tiny()
      settings.training.weights.train = .lora
      settings.training.optimiser.optimizer = numbers.optimizer
      return try DPO.train(start, data: data, settings: settings, output: output, options: options)
    }
    let first = try metrics(folder.url.appending(path: "whole"))[0]
    #expect(abs((first["loss"] ?? first["loss/total"] ?? .nan) - log(2)) < 1e-6, "\(first)")
  }
}
