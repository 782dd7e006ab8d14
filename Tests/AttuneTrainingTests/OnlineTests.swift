// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// One number for every answer to a prompt that begins so; the share of odd tokens for others.
private struct EqualForSome: RewardSource {
  let name = "equal for some"
  var beginning = "say"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    zip(prompts, ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared))
      .map { $0.content.lastText.hasPrefix(beginning) ? 0.5 : $1 }
  }
}

/// What `ShareOfOdd` leaves.
private struct ShareOfEven: RewardSource {
  let name = "share of even"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared).map { 1 - $0 }
  }
}

/// A hundred times the share of tokens whose number has no second bit, which no odd number decides.
private struct WideShare: RewardSource {
  let name = "wide share"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    completions.map { 100 * Double($0.ids.count(where: { $0 & 2 == 0 })) / Double($0.ids.count) }
  }
}

struct OnlineTests {
  func prompts(_ folder: TemporaryFolder) throws -> DataFile {
    try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  @Test func `sources that are normalised one by one are both climbed`() throws {
    let folder = try TemporaryFolder()
    func odd(_ normalise: RewardNormalisation) throws -> Double {
      let output = folder.url.appending(path: normalise.rawValue)
      _ = try OnlineTrainer.grpo(.grpo).train(
        prompts(folder), to: output, rewards: [(ShareOfOdd(), 1), (WideShare(), 1)]
      ) {
        $0.rewards.normalise = normalise
        $0.rollout.rollouts = 16
      }
      let lines = try metrics(output)
      #expect((lines[15]["reward/source_mean[wide share]"] ?? 0) > 65)
      return lines[15]["reward/source_mean[share of odd]"] ?? .nan
    }
    let (summed, apart) = (try odd(.none), try odd(.sources))
    #expect(apart > 0.7 && apart > summed + 0.1, "\(summed) and \(apart)")
    let error = #expect(throws: TrainingError.self) {
      _ = try OnlineTrainer.reinforce("").train(
        prompts(folder), to: folder.url.appending(path: "x")
      ) {
        $0.rewards.normalise = .sources
        $0.rollout.samplesPerPrompt = 1
      }
    }
    #expect(error?.message.contains("at least 2 where normalise is sources") == true)
  }

  @Test(arguments: OnlineTrainer.climbing)
  func `the reward rises from KL 0 and ratio 1`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    let report = try trainer.train(prompts(folder), to: output)
    let lines = try metrics(output)
    #expect(lines.count == 12 && lines[0]["kl/sequence"] == 0)
    if report.method == "dapo" {
      // Most of a random model's answers run into the token limit, so it has that to unlearn too.
      let scores = lines.compactMap { $0["reward/normalised_mean"] }
      #expect(scores.count == 12 && scores[11] > scores[0] + 0.3)
    } else {
      #expect(report.firstReward < 0.6 && report.lastReward > 0.8, "\(report)")
    }
    #expect(report.kl > 0.1 && report.stopped == "rollouts" && report.rollouts == 12)
    #expect(report.steps == 12 * trainer.stepsPerRollout)
    for line in lines {
      #expect((line["ratio/sampler_gap"] ?? 1) < 1e-3)
      let hasValues = trainer.testDescription.contains("value")
      #expect((line["loss/value"] != nil) == hasValues)
      // One step on the policy that sampled has no second pass to hold the first against, unless for values.
      let gap = line["ratio/first_minibatch_gap"]
      let passesOnce = trainer.stepsPerRollout == 1 && !hasValues
      #expect(passesOnce ? gap == nil : (gap ?? 1) < 1e-4)
    }
    // What is written is the policy, without its value head.
    let opened = try LoadedModel.open(output.path, beside: try tableModel())
    #expect(!opened.model.hasScalarHead)
  }

  static let kept = [OnlineTrainer.Matching.dpg, .reverseKL, .brainKept, .rejection]

  @Test(arguments: OnlineTrainer.climbing + OnlineTrainer.distilling + kept.map(\.trainer))
  func `a stopped run goes on byte for byte`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let (data, start) = (try prompts(folder), try tinyModel())
    let isKept = trainer.testDescription == "dpg"
    // Asked once a sampled token and twice a rollout: some rollout is cut in its middle.
    let (one, two) = try folder.checkResume(
      stops: isKept ? [3, 250, 400, 200] : [3, 150, 190], weights: "adapter_model.safetensors"
    ) { output, options in
      // One prompt's answers are all of one reward, so that dapo draws more than once.
      try trainer.train(
        data, to: output, from: start, rewards: [(EqualForSome(beginning: "say 1"), 1)],
        options: options
      ) {
        $0.training.weights.train = .lora
        $0.rollout.rollouts = isKept ? 9 : 4
        $0.rollout.samplesPerPrompt = 4
      }
    }
    #expect(one.lastReward == two.lastReward && one.kl == two.kl && one.steps == two.steps)
    #expect(one.bestOfNBound == two.bestOfNBound && one.rollouts == (isKept ? 9 : 4))
    let lines = try metrics(folder.url.appending(path: "whole"))
    if isKept {
      // The proposal was kept for a while and replaced: both ways went through the checkpoint.
      let replaced = lines.map { $0["distribution/proposal_replaced"] }
      #expect(replaced[0] == 0 && replaced.contains(1), "\(replaced)")
    }
  }

  @Test(arguments: ["rloo", "grpo"])
  func `the pass of a rollout's only step says what a pass before it would`(method: String) throws {
    let folder = try TemporaryFolder()
    // Too low a rate to move a number: a second epoch finds the policy where the first did.
    func line(epochs: Int) throws -> [String: Double] {
      func change<Knobs: PassesOverRollouts>(_ knobs: inout Knobs) {
        knobs.learningRate = 1e-15
        knobs.epochs = epochs
        knobs.minibatches = 1
        knobs.pieceTokens = 40
      }
      let trainer: OnlineTrainer =
        method == "rloo"
        ? .rloo("") {
          change(&$0)
          $0.beta = 10
        }
        : .grpo(.grpo) {
          change(&$0)
          $0.beta = 10
        }
      let output = folder.url.appending(path: "\(epochs)")
      _ = try trainer.train(prompts(folder), to: output) { $0.rollout.rollouts = 1 }
      return try metrics(output)[0]
    }
    let (once, before) = (try line(epochs: 1), try line(epochs: 2))
    #expect(once["ratio/first_minibatch_gap"] == nil)
    #expect(before["ratio/first_minibatch_gap"] != nil)
    let keys = Set(once.keys).intersection(before.keys).filter { !$0.hasPrefix("loss/") }
    for key in ["policy/entropy", "kl/sequence", "ratio/sampler_gap", "optimizer/gradient_norm"] {
      #expect(keys.contains(key))
    }
    for key in keys {
      let (a, b) = (once[key] ?? .nan, before[key] ?? .nan)
      #expect(abs(a - b) <= 1e-4 * max(1, abs(b)), "\(key): \(a), \(b)")
    }
  }

  static let withMinibatches: [OnlineTrainer] = [
    .ppo("with an entropy bonus") { $0.entropyBonus = 0.01 },
    .grpo(.dapo) {
      $0.beta = 0.1
      $0.klEstimator = .k2
      $0.klPerSequence = true
    },
    OnlineTrainer.Matching.chiSquared.trainer, OnlineTrainer.Matching.brain.trainer,
    OnlineTrainer.Matching.raft.trainer, .distill("gkd"), .distill("sequence"),
  ]

  @Test(arguments: withMinibatches)
  func `any cut of a minibatch gives the same steps`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    func line(pieceTokens: Int) throws -> [String: Double] {
      let output = folder.url.appending(path: "\(pieceTokens)")
      _ = try trainer.train(
        prompts(folder), to: output, rewards: [(EqualForSome(beginning: "say 1"), 1)]
      ) {
        $0.training.weights.train = .lastLayers
        $0.training.weights.layers = 1
        $0.training.engine.pieceTokens = pieceTokens
        $0.rollout.rollouts = 1
      }
      return try metrics(output)[0]
    }
    try checkAgree([line(pieceTokens: 2048)], [line(pieceTokens: 1)])
  }

  @Test(arguments: ["ppo", "reinforce reward", "reinforce loss", "rloo", "grpo"])
  func `a large weight of the KL term holds the policy near its start`(method: String) throws {
    let folder = try TemporaryFolder()
    func kl(_ beta: Double) throws -> Double {
      let trainer: OnlineTrainer =
        switch method {
        case "ppo": .ppo("") { $0.beta = beta }
        case "rloo": .rloo("") { $0.beta = beta }
        case "grpo": .grpo(.grpo) { $0.beta = beta }
        default:
          .reinforce("") {
            $0.kl = method.hasSuffix("loss") ? .loss : .reward
            $0.beta = beta
          }
        }
      return try trainer.train(prompts(folder), to: folder.url.appending(path: "\(beta)")).kl
    }
    let (free, held) = (try kl(0), try kl(1))
    #expect(held < 0.5 * free, "\(held) and \(free)")
  }

  @Test func `dapo drops prompts that say nothing and draws others`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows(
      "prompts.jsonl", (0..<8).map { #"{"prompt": "\#($0 < 4 ? "say" : "ask") \#($0)"}"# })
    func run(
      _ name: String, _ variant: GRPOSettings.Variant, _ source: EqualForSome, draws: Int,
      maxTokens: Int = 12
    ) throws -> (OnlineReport, [[String: Double]]) {
      let trainer = OnlineTrainer.grpo(variant) {
        $0.maxDraws = draws
        if variant == .dapo { $0.overlongCache = 1 }
        $0.minibatches = 1
      }
      let output = folder.url.appending(path: name)
      // A table's answers end early now and then, which the penalty of long ones tells apart.
      let report = try trainer.train(data, to: output, from: tinyModel(), rewards: [(source, 1)]) {
        $0.rollout.rollouts = 3
        $0.rollout.samplesPerPrompt = 4
        $0.rollout.maxTokens = maxTokens
      }
      return (report, try metrics(output))
    }
    let (full, lines) = try run("dapo", .dapo, EqualForSome(), draws: 8)
    #expect(full.steps == 3 && full.method == "dapo")
    for line in lines {
      #expect((line["rollout/draws"] ?? 0) >= 2)
      #expect((line["reward/equal_share"] ?? 0) > 0 && (line["reward/equal_share"] ?? 1) < 1)
    }
    // grpo keeps them, and says how many they are.
    let (_, kept) = try run("grpo", .grpo, EqualForSome(), draws: 4)
    #expect(kept.allSatisfy { $0["rollout/draws"] == nil && $0["reward/equal_share"] != nil })

    // Where nothing can be told apart, nothing is learned, and that is said.
    let all = EqualForSome(beginning: "")
    let (none, empty) = try run("none", .dapo, all, draws: 2, maxTokens: 1)
    #expect(empty.allSatisfy { $0["rollout/draws"] == 2 && $0["reward/equal_share"] == 1 })
    #expect(none.steps == 0 && none.kl == 0)
    #expect(none.warnings.contains { $0.contains("nothing to tell apart") })
  }

  @Test func `dapo takes something off long answers`() throws {
    let folder = try TemporaryFolder()
    let trainer = OnlineTrainer.grpo(.dapo) { $0.overlongCache = 6 }
    let output = folder.url.appending(path: "run")
    _ = try trainer.train(prompts(folder), to: output) { $0.rollout.rollouts = 1 }
    let line = try metrics(output)[0]
    // With the cache as long as the limit an answer of n tokens loses n/6.
    let gap = (line["reward/mean"] ?? 0) - (line["reward/normalised_mean"] ?? 0)
    #expect(abs(gap - (line["response/length"] ?? 0) / 6) < 1e-9)
  }

  @Test func `a watched reward that the trained one leaves behind is said`() throws {
    let folder = try TemporaryFolder()
    func warnings(_ watched: any RewardSource) throws -> [String] {
      try OnlineTrainer.ppo("").train(
        prompts(folder), to: folder.url.appending(path: watched.name), watched: watched
      ).warnings
    }
    let said = "no longer say the same"
    #expect(try warnings(ShareOfEven()).contains { $0.contains(said) })
    #expect(try !warnings(ShareOfOdd()).contains { $0.contains(said) })
  }

  @Test func `wrong recipes are refused before any work`() throws {
    let folder = try TemporaryFolder()
    for trainer in [OnlineTrainer.rloo(""), .grpo(.grpo), .grpo(.dapo)] {
      let error = #expect(throws: TrainingError.self) {
        _ = try trainer.train(prompts(folder), to: folder.url.appending(path: "one")) {
          $0.rollout.samplesPerPrompt = 1
        }
      }
      #expect(error?.message.contains("samples_per_prompt must be at least 2") == true)
      #expect(!folder.exists("one"))
    }
    func refused<S: Settings>(
      _ defaults: S, _ knobs: [(knob: String, json: String)], _ words: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      let error = #expect(throws: TrainingError.self, sourceLocation: sourceLocation) {
        _ = try ConfigFile.settings(defaults, flags: knobs)
      }
      #expect(
        error?.message.contains(words) == true, "\(error?.message ?? "")",
        sourceLocation: sourceLocation)
    }
    let grpo = GRPOSettings()
    refused(
      grpo, [("fixed_length", "8")],
      "fixed_length is set but not read: grpo does not read it; dr_grpo")
    refused(
      grpo, [("variant", "\"dr_grpo\""), ("max_draws", "2")], "dr_grpo does not read it; dapo does")
    refused(grpo, [("overlong_cache", "2")], "overlong_cache is set but not read")
    refused(grpo, [("variant", "\"cispo\""), ("clip_low", "0.1")], "cispo cuts the ratio above")
    refused(
      grpo, [("variant", "\"dr_grpo\""), ("kl_estimator", "\"k2\"")],
      "kl_estimator is set but not read: beta is 0")
    refused(
      grpo, [("kl_estimator", "\"k2\""), ("kl_ratio_weighted", "true")],
      "kl_ratio_weighted must be false unless kl_estimator is k3")
    refused(grpo, [("minibatches", "9")], "minibatches must be")
    refused(
      RLOOSettings(), [("clip", "0.1")], "clip is set but not read: epochs and minibatches are 1")
    refused(RLOOSettings(), [("kl_target", "3")], "adaptive_kl is false")
    let reinforce = ReinforceSettings()
    refused(reinforce, [("kl_estimator", "\"k2\"")], "kl is reward")
    refused(reinforce, [("value_coefficient", "1")], "baseline is running_mean")
    refused(reinforce, [("baseline", "\"value\""), ("baseline_rate", "0.5")], "baseline is value")
    refused(reinforce, [("epochs", "2")], "there is no knob epochs")

    let dapo: GRPOSettings = try ConfigFile.settings(
      flags: [("variant", "\"dapo\""), ("clip_high", "0.3"), ("max_draws", "2")])
    #expect(dapo.clipHigh == 0.3 && dapo.beta == nil)
  }
}
