// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// A trainer with the settings of a test, as one function.
struct OnlineTrainer: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let train:
    @Sendable (
      _ rewards: [(source: any RewardSource, weight: Double)], _ data: DataFile,
      _ rollouts: Int, _ samples: Int, _ output: URL, _ options: RunOptions
    ) throws -> OnlineReport

  static func reinforce(
    _ name: String, _ change: @escaping @Sendable (inout ReinforceSettings) -> Void = { _ in }
  ) -> OnlineTrainer {
    OnlineTrainer(testDescription: "reinforce \(name)") {
      rewards, data, rollouts, n, output, options in
      var settings = ReinforceSettings()
      settings.train = .full
      settings.layers = 0
      settings.rollouts = rollouts
      settings.promptsPerRollout = 4
      settings.samplesPerPrompt = n
      settings.maxTokens = 6
      settings.learningRate = 1e-2
      settings.penaliseMissingEnd = false
      settings.beta = 0.01
      settings.showEvery = 0
      change(&settings)
      return try Reinforce.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    }
  }

  static func rloo(
    _ name: String, _ change: @escaping @Sendable (inout RLOOSettings) -> Void = { _ in }
  ) -> OnlineTrainer {
    OnlineTrainer(testDescription: "rloo \(name)") { rewards, data, rollouts, n, output, options in
      var settings = RLOOSettings()
      settings.train = .full
      settings.layers = 0
      settings.rollouts = rollouts
      settings.promptsPerRollout = 4
      settings.samplesPerPrompt = n
      settings.maxTokens = 6
      settings.learningRate = 1e-2
      settings.penaliseMissingEnd = false
      settings.beta = 0.01
      settings.showEvery = 0
      change(&settings)
      return try RLOO.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    }
  }

  static func grpo(
    _ variant: GRPOSettings.Variant,
    _ change: @escaping @Sendable (inout GRPOSettings) -> Void = { _ in }
  ) -> OnlineTrainer {
    OnlineTrainer(testDescription: variant.rawValue) {
      rewards, data, rollouts, n, output, options in
      var settings = GRPOSettings()
      settings.variant = variant
      settings.train = .full
      settings.layers = 0
      settings.rollouts = rollouts
      settings.promptsPerRollout = 4
      settings.samplesPerPrompt = n
      settings.maxTokens = 6
      settings.learningRate = 5e-3
      settings.showEvery = 0
      change(&settings)
      return try GRPO.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    }
  }

  static let all: [OnlineTrainer] =
    [
      .reinforce("with a running mean"),
      .reinforce("with a value head") { $0.baseline = .value },
      .reinforce("with KL in the loss") {
        $0.kl = .loss
        $0.adaptiveKl = true
        $0.klTarget = 1
      },
      .rloo("in one step"),
      .rloo("in four clipped steps") {
        $0.epochs = 2
        $0.minibatches = 2
        $0.learningRate = 3e-3
      },
    ] + GRPOSettings.Variant.allCases.map { .grpo($0) }
}

/// One number for every answer to a prompt that begins so; the share of ASCII for others.
struct EqualForSome: RewardSource {
  let name = "equal for some"
  var beginning = "say"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    zip(prompts, ShareOfASCII().scores(prompts: prompts, completions: completions, shared: shared))
      .map { $0.content.lastText.hasPrefix(beginning) ? 0.5 : $1 }
  }
}

/// What `ShareOfASCII` leaves.
struct ShareOfOthers: RewardSource {
  let name = "share of others"

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    ShareOfASCII().scores(prompts: prompts, completions: completions, shared: shared).map { 1 - $0 }
  }
}

struct OnlineTests {
  static let prompts = TestRows.prompts
  static let passesOnce = [
    "reinforce with a running mean", "reinforce with KL in the loss", "rloo in one step",
  ]

  @Test(arguments: OnlineTrainer.all)
  func `the reward rises from KL 0 and ratio 1`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let output = folder.url.appending(path: "run")
    let report = try trainer.train(
      [(ShareOfASCII(), 1)], folder.rows("prompts.jsonl", Self.prompts), 40, 8, output, .quiet)
    let lines = try metrics(output)
    #expect(lines.count == 40 && lines[0]["kl/sequence"] == 0)
    if report.method == "dapo" {
      // A random model's answers run into the token limit, so it has that to unlearn too.
      let scores = lines.compactMap { $0["reward/normalised_mean"] }
      #expect(scores.count == 40 && scores[39] > scores[0] + 0.3)
    } else {
      #expect(report.firstReward < 0.6 && report.lastReward > 0.8, "\(report)")
    }
    #expect(report.kl > 0.1 && report.stopped == "rollouts" && report.rollouts == 40)
    for line in lines {
      #expect((line["ratio/sampler_gap"] ?? 1) < 1e-3)
      // One step on the policy that sampled has no second pass to hold the first against.
      let gap = line["ratio/first_minibatch_gap"]
      #expect(Self.passesOnce.contains(trainer.testDescription) ? gap == nil : (gap ?? 1) < 1e-4)
    }
    // What is written is the policy, without its value head.
    let opened = try LoadedModel.open(output.path, beside: try tinyModel())
    #expect(!opened.model.hasScalarHead)
  }

  @Test(arguments: OnlineTrainer.all)
  func `a stopped run goes on byte for byte`(trainer: OnlineTrainer) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    func run(_ name: String, _ options: RunOptions) throws -> OnlineReport {
      // One prompt's answers are all of one reward, so that dapo draws more than once.
      try trainer.train(
        [(EqualForSome(beginning: "say 1"), 1)], data, 4, 4, folder.url.appending(path: name),
        options)
    }
    let one = try run("whole", .quiet)
    // Asked once a sampled token and twice a rollout: some rollout is cut in its middle.
    for count in [3, 150, 190] {
      let error = #expect(throws: TrainingError.self) {
        _ = try run("parts", .stopping(after: count))
      }
      #expect(error?.code == .interrupted)
    }
    let two = try run("parts", .quiet)
    #expect(one.lastReward == two.lastReward && one.kl == two.kl && one.steps == two.steps)
    let weights = "model.safetensors"
    #expect(folder.bytes("whole/\(weights)") != nil)
    #expect(folder.bytes("whole/\(weights)") == folder.bytes("parts/\(weights)"))
    let (a, b) = (
      try metrics(folder.url.appending(path: "whole")),
      try metrics(folder.url.appending(path: "parts"))
    )
    #expect(a == b && a.count == 4)
  }

  @Test(arguments: ["rloo", "grpo"])
  func `the pass of a rollout's only step says what a pass before it would`(method: String) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    // Too low a rate to move a number: a second epoch finds the policy where the first did.
    func line(epochs: Int) throws -> [String: Double] {
      let trainer =
        method == "rloo"
        ? OnlineTrainer.rloo("") {
          $0.learningRate = 1e-15
          $0.epochs = epochs
          $0.beta = 10
          $0.pieceTokens = 40
        }
        : .grpo(.grpo) {
          $0.learningRate = 1e-15
          $0.epochs = epochs
          $0.minibatches = 1
          $0.beta = 10
          $0.pieceTokens = 40
        }
      let output = folder.url.appending(path: "\(epochs)")
      _ = try trainer.train([(ShareOfASCII(), 1)], data, 1, 4, output, .quiet)
      return try metrics(output)[0]
    }
    let (once, before) = (try line(epochs: 1), try line(epochs: 2))
    #expect(once["ratio/first_minibatch_gap"] == nil)
    #expect(before["ratio/first_minibatch_gap"] != nil)
    let keys = Set(once.keys).intersection(before.keys).filter {
      !$0.hasPrefix("seconds/") && !$0.hasPrefix("speed/") && !$0.hasPrefix("memory/")
        && !$0.hasPrefix("loss/")
    }
    for key in ["policy/entropy", "kl/sequence", "ratio/sampler_gap", "optimizer/gradient_norm"] {
      #expect(keys.contains(key))
    }
    for key in keys {
      let (a, b) = (once[key] ?? .nan, before[key] ?? .nan)
      #expect(abs(a - b) <= 1e-4 * max(1, abs(b)), "\(key): \(a), \(b)")
    }
  }

  @Test func `pieces and shared layers change nothing`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    func line(_ name: String, pieceTokens: Int, _ change: (inout GRPOSettings) -> Void = { _ in })
      throws -> [String: Double]
    {
      var settings = GRPOSettings()
      settings.variant = .dapo
      settings.beta = 0.1
      settings.klEstimator = .k2
      settings.klPerSequence = true
      settings.layers = 1
      settings.rank = 4
      settings.rollouts = 1
      settings.promptsPerRollout = 3
      settings.samplesPerPrompt = 3
      settings.maxTokens = 6
      settings.showEvery = 0
      settings.pieceTokens = pieceTokens
      change(&settings)
      let output = folder.url.appending(path: name)
      _ = try GRPO.train(
        tinyModel(), data: data, rewards: [(EqualForSome(beginning: "say 1"), 1)],
        rewardFingerprint: "r", settings: settings, output: output, options: .quiet)
      return try metrics(output)[0]
    }
    let whole = try line("whole", pieceTokens: 2048)
    let cut = try line("cut", pieceTokens: 1)
    #expect(whole.keys == cut.keys && whole["loss/kl"] != nil)
    for (key, value) in whole { #expect(abs(value - (cut[key] ?? .nan)) < 1e-4, "\(key)") }
  }

  @Test(arguments: [ReinforceSettings.KLPlace.reward, .loss])
  func `a large weight of the KL term holds the policy near its start`(
    place: ReinforceSettings.KLPlace
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    func kl(_ beta: Double) throws -> Double {
      let trainer = OnlineTrainer.reinforce("") {
        $0.kl = place
        $0.beta = beta
      }
      return try trainer.train(
        [(ShareOfASCII(), 1)], data, 20, 8, folder.url.appending(path: "\(beta)"), .quiet
      ).kl
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
        $0.maxTokens = maxTokens
        $0.minibatches = 1
      }
      let output = folder.url.appending(path: name)
      let report = try trainer.train([(source, 1)], data, 3, 4, output, .quiet)
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
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    let trainer = OnlineTrainer.grpo(.dapo) { $0.overlongCache = 6 }
    let output = folder.url.appending(path: "run")
    _ = try trainer.train([(ShareOfASCII(), 1)], data, 1, 8, output, .quiet)
    let line = try metrics(output)[0]
    // With the cache as long as the limit an answer of n tokens loses n/6.
    let gap = (line["reward/mean"] ?? 0) - (line["reward/normalised_mean"] ?? 0)
    #expect(abs(gap - (line["response/length"] ?? 0) / 6) < 1e-9)
  }

  @Test func `a watched reward that the trained one leaves behind is said`() throws {
    let folder = try TemporaryFolder()
    var settings = PPOTests.settings()
    settings.rollouts = 24
    settings.samplesPerPrompt = 8
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    func warnings(_ name: String, _ watched: any RewardSource) throws -> [String] {
      try PPO.train(
        tinyModel(), data: data, rewards: [(ShareOfASCII(), 1)], rewardFingerprint: "ascii",
        watched: watched, settings: settings, output: folder.url.appending(path: name),
        options: .quiet
      ).warnings
    }
    let said = "no longer say the same"
    #expect(try warnings("gamed", ShareOfOthers()).contains { $0.contains(said) })
    #expect(try !warnings("honest", ShareOfASCII()).contains { $0.contains(said) })
  }

  @Test func `several sources are added up with their weights`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    let trainer = OnlineTrainer.rloo("")
    func first(_ name: String, _ rewards: [(source: any RewardSource, weight: Double)]) throws
      -> Double
    {
      try trainer.train(rewards, data, 1, 4, folder.url.appending(path: name), .quiet).firstReward
    }
    let one = try first("one", [(ShareOfASCII(), 1)])
    let both = try first("both", [(ShareOfASCII(), 2), (EqualForSome(beginning: ""), -3)])
    #expect(abs(both - (2 * one - 1.5)) < 1e-12)
  }

  @Test func `wrong recipes are refused before any work`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", Self.prompts)
    for trainer in [OnlineTrainer.rloo(""), .grpo(.grpo), .grpo(.dapo)] {
      let error = #expect(throws: TrainingError.self) {
        _ = try trainer.train(
          [(ShareOfASCII(), 1)], data, 1, 1, folder.url.appending(path: "one"), .quiet)
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
