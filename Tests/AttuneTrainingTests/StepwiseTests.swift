// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// Answers in steps, of which a process reward model learns which are right.
struct StepwiseTests {
  /// A step is right where it says nothing of an ox.
  private func rows(_ count: Int, from first: Int = 0) -> [String] {
    (first..<first + count).map { i in
      let steps = (0..<3).map { k in (i * 5 + k * 3) % 4 == 0 ? "ox \(k)" : "a \(k) bee" }
      let labels = steps.map { !$0.hasPrefix("ox") }
      let texts = steps.map { "\"\($0)\"" }.joined(separator: ",")
      return "{\"prompt\":\"say \(i):\",\"completions\":[\(texts)],\"labels\":\(labels)}"
    }
  }

  private func settings(_ change: (inout RewardModelSettings) -> Void = { _ in })
    -> RewardModelSettings
  {
    var settings = RewardModelSettings()
    settings.loss = .pointwise
    settings.training.weights.train = .full
    settings.training.weights.layers = 0
    settings.training.optimiser.learningRate = 5e-3
    settings.rows.batchSize = 8
    settings.rows.epochs = 12
    change(&settings)
    return settings
  }

  @Test func `a step ends behind its separator, the last one with the answer`() throws {
    let encoder = try TextEncoder(tinyModel())
    func ends(_ text: String, ended: Bool = true) -> (ends: [Int], count: Int) {
      var ids = encoder.tokenizer.encode(text)
      if ended { ids.append(encoder.endOfSequence) }
      return (encoder.stepEnds(of: ids, separator: "\n"), ids.count)
    }
    for text in ["one\ntwo\nthree", "one\n\ntwo\nthree\n", "\n one\ntwo\nthree \n\n"] {
      for ended in [true, false] {
        let (places, count) = ends(text, ended: ended)
        #expect(places.count == 3 && places.last == count - 1, "\(text): \(places) of \(count)")
      }
    }
    #expect(ends("").ends == [0] && ends("one").ends.count == 1)
    // What ends before a separator says what its tokens say up to there.
    let ids = encoder.tokenizer.encode("one\ntwo")
    let first = try #require(encoder.stepEnds(of: ids, separator: "\n").first)
    #expect(encoder.tokenizer.decode(Array(ids[...first])).contains("\n"))
    #expect(!encoder.tokenizer.decode(Array(ids[..<first])).contains("\n"))
    // Of an answer that was cut the last step has no end.
    #expect(encoder.stepEnds(of: ids, separator: "\n", isCut: true) == [first])
  }

  @Test func `a process reward model finds the wrong steps of held-out answers`() throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    let report = try RewardModel.train(
      tinyModel(), data: folder.rows("steps.jsonl", rows(48)),
      heldOut: folder.rows("held.jsonl", rows(12, from: 48)), settings: settings(), output: output,
      options: .quiet)
    #expect(report.evalPairs == 36)
    #expect((report.evalAccuracy ?? 0) > 0.9, "\(report)")
    #expect((report.evalFirstWrong ?? 0) > 0.8, "\(report)")
    #expect(report.evalFirstWrongInterval?.count == 2)
    let lines = try String(contentsOf: output.appending(path: "evaluation.jsonl"), encoding: .utf8)
    #expect(lines.split(separator: "\n").count == 36 && lines.contains("\"step\":2,\"label\":"))
    let model = try LoadedModel.open(output.path, on: tinyModel().engine, rewardModels: true)
    #expect(model.reward?.stepSeparator == "\n")
  }

  @Test func `its gradient is that of the logistic loss of every step`() throws {
    let folder = try TemporaryFolder()
    // One step of training on one row moves each step's score to its label.
    func first(_ labels: String) throws -> [Double] {
      let row = "{\"prompt\":\"say:\",\"completions\":[\"a\",\"b c\"],\"labels\":\(labels)}"
      let data = try folder.rows("one.jsonl", [row])
      let output = folder.url.appending(path: "run\(labels)")
      let report = try RewardModel.train(
        tinyModel(), data: data, heldOut: data,
        settings: settings {
          $0.training.weights.train = .lora
          $0.training.weights.rank = 4
          $0.rows.epochs = 6
        }, output: output, options: .quiet)
      let text = try String(contentsOf: output.appending(path: "evaluation.jsonl"), encoding: .utf8)
      #expect(report.evalPairs == 2)
      return text.split(separator: "\n").compactMap { line in
        line.split(separator: ":").last.flatMap { Double($0.dropLast()) }
      }
    }
    for labels in ["[true,false]", "[false,true]"] {
      let margins = try first(labels)
      #expect(margins.count == 2 && margins.allSatisfy { $0 > 0 }, "\(labels): \(margins)")
    }
  }

  @Test func `a stopped run goes on byte for byte`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("steps.jsonl", rows(24))
    let start = try tinyModel()
    _ = try folder.checkResume(stops: [2], weights: "adapter_model.safetensors") {
      output, options in
      try RewardModel.train(
        start, data: data,
        settings: settings {
          $0.training.weights.train = .lora
          $0.training.weights.rank = 4
          $0.rows.epochs = 1
        }, output: output, options: options)
    }
  }

  @Test(arguments: [
    ("{\"prompt\":\"a\",\"completions\":[\"b\",\"c\"],\"labels\":[true]}", "2 steps but 1 labels"),
    (
      "{\"prompt\":\"a\",\"completions\":[\"b\"],\"labels\":[2]}",
      "labels[0] is neither true nor false"
    ),
    ("{\"prompt\":\"a\",\"completions\":[\" \"],\"labels\":[true]}", "completions[0] is blank"),
    ("{\"prompt\":\"a\",\"completions\":[],\"labels\":[]}", "is an empty list"),
    (
      "{\"prompt\":\"a\",\"completions\":[\"b\\nc\"],\"labels\":[true]}",
      "step 1 holds the separator"
    ),
  ])
  func `a row that can't be read is named`(row: String, says: String) throws {
    let folder = try TemporaryFolder()
    do {
      _ = try RewardModel.train(
        tinyModel(), data: folder.rows("steps.jsonl", [row]), settings: settings(),
        output: folder.url.appending(path: "run"), options: .quiet)
      Issue.record("was read")
    } catch {
      #expect(
        "\(error)".contains(says) && ["line 1", "jsonl:1:"].contains { "\(error)".contains($0) },
        "\(error)")
    }
  }

  @Test func `a separator that nobody reads, and another loss, are refused`() throws {
    let folder = try TemporaryFolder()
    func complaint(_ data: DataFile, _ settings: RewardModelSettings) -> String {
      do {
        _ = try RewardModel.train(
          tinyModel(), data: data, settings: settings, output: folder.url.appending(path: "run"),
          options: .quiet)
        return ""
      } catch { return "\(error)" }
    }
    let thumbs = try folder.rows(
      "thumbs.jsonl", ["{\"prompt\":\"a\",\"completion\":\"b\",\"label\":true}"])
    #expect(
      complaint(thumbs, settings { $0.stepSeparator = "|" }).contains("step_separator is set"))
    let steps = try folder.rows("steps.jsonl", rows(4))
    #expect(complaint(steps, settings { $0.loss = .bradleyTerry }).contains("set loss=pointwise"))
  }
}

/// One for an odd token where it stands, less where there are many tokens: what `ShareOfOdd` says, in parts.
private struct OddInParts: RewardSource {
  let name = "odd in parts"
  let hasParts = true

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) throws
    -> [Double]
  {
    ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared)
  }

  func parts(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) throws
    -> [[Double]]?
  {
    completions.map { answer in
      answer.ids.map { $0 % 2 == 1 ? 1 / Double(answer.ids.count) : 0 }
    }
  }
}

/// What an even token takes, the end of the answer gives back.
private struct OddShaping: RewardSource {
  let name = "odd shaping"
  let hasParts = true
  let isShaping = true

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) throws
    -> [Double]
  { completions.map { _ in 0 } }

  func parts(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) throws
    -> [[Double]]?
  {
    completions.map { answer in
      var parts = answer.ids.map { $0 % 2 == 1 ? 0 : -1.0 }
      parts[parts.count - 1] -= parts.reduce(0, +)
      return parts
    }
  }
}

struct StepRewardTests {
  private func run(
    _ folder: TemporaryFolder, _ name: String,
    _ rewards: [(source: any RewardSource, weight: Double)],
    _ change: @escaping (inout PPOSettings) -> Void
  ) throws -> [[String: Double]] {
    let output = folder.url.appending(path: name)
    _ = try OnlineTrainer.ppo(name, change).train(
      folder.rows("prompts.jsonl", TestRows.prompts), to: output, rewards: rewards)
    return try metrics(output)
  }

  @Test(arguments: PPOSettings.Variant.allCases)
  func `a reward in parts is climbed, and is the same reward`(variant: PPOSettings.Variant) throws {
    let folder = try TemporaryFolder()
    let lines = try run(folder, "parts", [(OddInParts(), 1)]) {
      $0.variant = variant
      $0.stepRewards = true
    }
    let whole = try run(folder, "whole", [(OddInParts(), 1)]) { $0.variant = variant }
    for key in ["reward/mean", "reward/normalised_mean", "reward/with_kl_mean"] {
      let (a, b) = (lines[0][key] ?? .nan, whole[0][key] ?? .nan)
      #expect(abs(a - b) < 1e-9, "\(key)")
    }
    #expect(lines[0]["advantage/sd"] != whole[0]["advantage/sd"])
    #expect((lines.last?["reward/mean"] ?? 0) > 0.8, "\(lines.last ?? [:])")
  }

  @Test func `shaping moves what tokens are credited with, and no answer's reward`() throws {
    let folder = try TemporaryFolder()
    let shaped = try run(folder, "shaped", [(ShareOfOdd(), 1), (OddShaping(), 0.5)]) {
      $0.stepRewards = true
    }
    let plain = try run(folder, "plain", [(ShareOfOdd(), 1)]) { _ in }
    for key in ["reward/mean", "reward/with_kl_mean"] {
      #expect(abs((shaped[0][key] ?? .nan) - (plain[0][key] ?? .nan)) < 1e-9, "\(key)")
    }
    #expect(shaped[0]["advantage/sd"] != plain[0]["advantage/sd"])
    #expect((shaped.last?["reward/mean"] ?? 0) > 0.8, "\(shaped.last ?? [:])")
  }

  @Test func `shaping that nobody hears, alone or discounted is refused`() throws {
    let folder = try TemporaryFolder()
    func complaint(
      _ rewards: [(source: any RewardSource, weight: Double)],
      _ change: @escaping (inout PPOSettings) -> Void
    ) -> String? {
      #expect(throws: TrainingError.self) { _ = try run(folder, "none", rewards, change) }?.message
    }
    let both: [(source: any RewardSource, weight: Double)] = [(ShareOfOdd(), 1), (OddShaping(), 1)]
    #expect(complaint(both) { _ in }?.contains("step_rewards=true") == true)
    #expect(
      complaint([(OddShaping(), 1)]) { $0.stepRewards = true }?.contains("the only reward") == true)
    let discounted = complaint(both) {
      $0.stepRewards = true
      $0.gamma = 0.9
    }
    #expect(discounted?.contains("gamma") == true)
  }

  @Test func `step rewards that nobody gives are refused`() throws {
    let folder = try TemporaryFolder()
    let error = #expect(throws: TrainingError.self) {
      _ = try run(folder, "none", [(ShareOfOdd(), 1)]) { $0.stepRewards = true }
    }
    #expect(error?.message.contains("step_rewards") == true)
  }
}
