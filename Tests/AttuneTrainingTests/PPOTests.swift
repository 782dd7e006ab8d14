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
  static func settings() -> PPOSettings {
    var settings = PPOSettings()
    settings.train = .full
    settings.layers = 0
    settings.rollouts = 6
    settings.promptsPerRollout = 4
    settings.samplesPerPrompt = 4
    settings.maxTokens = 6
    settings.learningRate = 3e-3
    settings.penaliseMissingEnd = false
    settings.beta = 0.01
    settings.adaptiveKl = false
    settings.showEvery = 0
    return settings
  }

  func train(
    _ settings: PPOSettings, _ folder: TemporaryFolder, _ name: String,
    options: RunOptions = .quiet, start: LoadedModel? = nil, mixed: DataFile? = nil
  ) throws -> OnlineReport {
    try PPO.train(
      start ?? tinyModel(), data: folder.rows("prompts.jsonl", TestRows.prompts),
      rewards: [(ShareOfASCII(), 1)], rewardFingerprint: "ascii", mixed: mixed, settings: settings,
      output: folder.url.appending(path: name), options: options)
  }

  @Test(arguments: [PPOSettings.Value.shared, .separate])
  func `the reward rises`(value: PPOSettings.Value) throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.value = value
    settings.rollouts = 30
    settings.samplesPerPrompt = 8
    let report = try train(settings, folder, "ppo")
    #expect(report.firstReward < 0.65 && report.lastReward > 0.85, "\(report)")
    #expect(report.kl > 0.1 && report.steps == 120 && report.stopped == "rollouts")
  }

  @Test func `reinforce++ raises the reward without a value head`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.variant = .reinforcePlusPlus
    settings.rollouts = 30
    settings.samplesPerPrompt = 8
    let report = try train(settings, folder, "ppo")
    #expect(report.method == "reinforce++" && report.steps == 120)
    #expect(report.firstReward < 0.65 && report.lastReward > 0.85, "\(report)")
    let lines = try metrics(folder.url.appending(path: "ppo"))
    #expect(lines.allSatisfy { $0["value/mean"] == nil && $0["loss/value"] == nil })
  }

  @Test(arguments: [TrainedPart.full, .lora, .lastLayers])
  func `KL is 0 at the start, exactly, and the first ratio 1`(part: TrainedPart) throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.train = part
    settings.layers = part == .full ? 0 : 1
    settings.rank = 4
    settings.rollouts = 2
    _ = try train(settings, folder, "ppo")
    let lines = try metrics(folder.url.appending(path: "ppo"))
    #expect(lines.count == 2 && lines[0]["kl/sequence"] == 0 && lines[1]["kl/sequence"] != 0)
    for line in lines {
      #expect((line["ratio/first_minibatch_gap"] ?? 1) < 1e-4)
      #expect((line["ratio/sampler_gap"] ?? 1) < 1e-3)
    }
  }

  @Test func `a stopped run goes on byte for byte`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.adaptiveKl = true
    settings.klTarget = 1
    settings.penaliseMissingEnd = true
    settings.train = .lora
    settings.rank = 4
    let start = try tinyModel()
    let one = try train(settings, folder, "whole", start: start)
    // Asked once a sampled token and twice a rollout: some rollout is cut in its middle.
    for count in [3, 150, 250] {
      let error = #expect(throws: TrainingError.self) {
        _ = try train(
          settings, folder, "parts", options: .stopping(after: count), start: start)
      }
      #expect(error?.code == .interrupted)
    }
    let two = try train(settings, folder, "parts", start: start)
    #expect(one.lastReward == two.lastReward && one.kl == two.kl)
    let weights = "adapter_model.safetensors"
    #expect(folder.bytes("whole/\(weights)") != nil)
    #expect(folder.bytes("whole/\(weights)") == folder.bytes("parts/\(weights)"))
    let (a, b) = (
      try metrics(folder.url.appending(path: "whole")),
      try metrics(folder.url.appending(path: "parts"))
    )
    #expect(a == b)
  }

  @Test func `any cut of a minibatch gives the same steps`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.rollouts = 1
    settings.entropyBonus = 0.01
    _ = try train(settings, folder, "whole")
    settings.pieceTokens = 1
    _ = try train(settings, folder, "cut")
    let (a, b) = (
      try metrics(folder.url.appending(path: "whole"))[0],
      try metrics(folder.url.appending(path: "cut"))[0]
    )
    #expect(a.keys == b.keys)
    for (key, value) in a { #expect(abs(value - (b[key] ?? .nan)) < 1e-4, "\(key)") }
  }

  @Test func `several sources are added up, and each is in the metrics`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.rollouts = 1
    _ = try PPO.train(
      tinyModel(), data: folder.rows("prompts.jsonl", TestRows.prompts),
      rewards: [(ShareOfASCII(), 2), (MeanToken(), -0.5)], rewardFingerprint: "two",
      settings: settings, output: folder.url.appending(path: "ppo"), options: .quiet)
    let line = try metrics(folder.url.appending(path: "ppo"))[0]
    let ascii = try #require(line["reward/source_mean[share of ASCII]"])
    let mean = try #require(line["reward/source_mean[mean token]"])
    #expect(abs((line["reward/mean"] ?? 0) - (2 * ascii - 0.5 * mean)) < 1e-12)
    #expect((line["reward/source_sd[share of ASCII]"] ?? 0) > 0)
    #expect(abs(line["reward/source_correlation[share of ASCII|mean token]"] ?? 9) <= 1)
    let distinct = try #require(line["response/distinct_answers"])
    #expect(distinct > 0 && distinct <= 1 && line["response/self_bleu"] != nil)
  }

  @Test func `a KL budget ends the run`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.rollouts = 30
    settings.klBudget = 0.2
    let report = try train(settings, folder, "ppo")
    #expect(report.stopped == "kl_budget" && report.rollouts < 30 && report.kl > 0.2)
  }

  @Test func `mixed-in text is learned on the way`() throws {
    let folder = try TemporaryFolder()
    let mixed = try folder.rows("text.jsonl", [#"{"text": "zebra zebra"}"#])
    var settings = Self.settings()
    settings.ptxWeight = 1
    settings.rollouts = 4
    _ = try train(settings, folder, "ppo", mixed: mixed)
    let lines = try metrics(folder.url.appending(path: "ppo"))
    #expect((lines.last?["loss/ptx"] ?? 9) < (lines.first?["loss/ptx"] ?? 0))
  }

  @Test func `settings without effect are refused`() throws {
    for (flag, json, word) in [
      ("kl_target", "3", "kl_target is set but not read: adaptive_kl is false"),
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
