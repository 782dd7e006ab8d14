// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// A number that no two answers share.
private struct MeanToken: RewardSource {
  let name = "mean token"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    completions.map { Double($0.ids.reduce(0, +)) / Double($0.ids.count) }
  }
}

struct PPOTests {
  func train(
    _ folder: TemporaryFolder, from start: LoadedModel? = nil,
    rewards: [(source: any RewardSource, weight: Double)] = [(ShareOfOdd(), 1)],
    _ change: (inout any OnlineSettings) -> Void
  ) throws -> (report: OnlineReport, lines: [[String: Double]]) {
    let output = folder.url.appending(path: "ppo")
    let report = try OnlineTrainer.ppo("").train(
      folder.rows("prompts.jsonl", TestRows.prompts), to: output, from: start, rewards: rewards,
      change)
    return (report, try metrics(output))
  }

  @Test(arguments: [TrainedPart.full, .lora, .lastLayers])
  func `KL is 0 at the start, exactly, and the first ratio 1`(part: TrainedPart) throws {
    let (_, lines) = try train(TemporaryFolder(), from: tinyModel()) {
      $0.training.weights.train = part
      $0.training.weights.layers = part == .full ? 0 : 1
      $0.rollout.rollouts = 2
    }
    #expect(lines.count == 2 && lines[0]["kl/sequence"] == 0 && lines[1]["kl/sequence"] != 0)
    for line in lines {
      #expect((line["ratio/first_minibatch_gap"] ?? 1) < 1e-4)
      #expect((line["ratio/sampler_gap"] ?? 1) < 1e-3)
    }
  }

  @Test func `several sources are added up, and each is in the metrics`() throws {
    let rewards: [(source: any RewardSource, weight: Double)] = [
      (ShareOfOdd(), 2), (MeanToken(), -0.5),
    ]
    let line = try train(TemporaryFolder(), rewards: rewards) { $0.rollout.rollouts = 1 }.lines[0]
    let odd = try #require(line["reward/source_mean[share of odd]"])
    let mean = try #require(line["reward/source_mean[mean token]"])
    #expect(abs((line["reward/mean"] ?? 0) - (2 * odd - 0.5 * mean)) < 1e-12)
    #expect((line["reward/source_sd[share of odd]"] ?? 0) > 0)
    #expect(abs(line["reward/source_correlation[share of odd|mean token]"] ?? 9) <= 1)
    let distinct = try #require(line["response/distinct_answers"])
    #expect(distinct > 0 && distinct <= 1 && line["response/self_bleu"] != nil)
  }

  @Test func `a KL budget ends the run`() throws {
    let (report, _) = try train(TemporaryFolder()) {
      $0.rollout.rollouts = 30
      $0.rollout.klBudget = 0.2
    }
    #expect(report.stopped == "kl_budget" && report.rollouts < 30 && report.kl > 0.2)
  }

  @Test func `mixed-in text is learned on the way`() throws {
    let folder = try TemporaryFolder()
    let mixed = try folder.rows("text.jsonl", [#"{"text": "zebra zebra"}"#])
    let trainer = OnlineTrainer.ppo("", mixed: mixed) { $0.ptxWeight = 1 }
    let output = folder.url.appending(path: "ppo")
    _ = try trainer.train(folder.rows("prompts.jsonl", TestRows.prompts), to: output) {
      $0.rollout.rollouts = 4
    }
    let lines = try metrics(output)
    #expect((lines.last?["loss/ptx"] ?? 9) < (lines.first?["loss/ptx"] ?? 0))
  }

  @Test func `the weight of KL follows its target as fast as kl_rate says`() throws {
    let folder = try TemporaryFolder()
    let trainer = OnlineTrainer.ppo("") { ($0.adaptiveKl, $0.klTarget, $0.klRate) = (true, 100, 1) }
    let output = folder.url.appending(path: "ppo")
    _ = try trainer.train(folder.rows("prompts.jsonl", TestRows.prompts), to: output) {
      $0.rollout.rollouts = 2
    }
    let betas = try metrics(output).compactMap { $0["kl/beta"] }
    try #require(betas.count == 2)
    #expect(abs(betas[1] - 0.8 * betas[0]) < 1e-12)
  }

  @Test func `settings without effect are refused`() throws {
    for (flag, json, word) in [
      ("kl_target", "3", "kl_target is set but not read: adaptive_kl is false"),
      ("kl_rate", "0.5", "kl_rate is set but not read: adaptive_kl is false"),
      ("value_learning_rate", "1", "value_learning_rate is set but not read"),
    ] {
      let error = #expect(throws: TrainingError.self) {
        _ = try ConfigFile.settings(
          PPOSettings(), flags: [("adaptive_kl", "false"), (flag, json)])
      }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
    for knob in ["value", "value_clip", "lambda", "whiten"] {
      let error = #expect(throws: TrainingError.self) {
        _ = try ConfigFile.settings(
          PPOSettings(),
          flags: [
            ("variant", "\"reinforce++\""),
            (knob, knob == "value" ? "\"separate\"" : knob == "whiten" ? "true" : "0.5"),
          ])
      }
      #expect(error?.message.contains("\(knob) is set but not read: reinforce++") == true)
    }
    var settings = PPOSettings()
    settings.minibatches = 99
    #expect(throws: TrainingError.self) { try settings.validate() }
  }
}
