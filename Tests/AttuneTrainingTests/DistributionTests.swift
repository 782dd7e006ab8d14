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

/// The trainers that learn from weighted or chosen answers: dpg, gdc++, fdpg, brain, raft.
struct DistributionTests {
  /// A trainer with its variant.
  enum Trainer: String, CaseIterable, Sendable {
    case dpg
    case gdcPlusPlus = "gdc++"
    case forwardKL = "fdpg forward_kl"
    case reverseKL = "fdpg reverse_kl"
    case jensenShannon = "fdpg js"
    case totalVariation = "fdpg tv"
    case chiSquared = "fdpg chi2"
    case brain
    case brainKept = "brain refresh_every 3"
    case raft
    case rejection = "raft rejection"

    var isOnPolicy: Bool { self != .dpg && self != .brainKept }
    var matches: Bool { self != .raft && self != .rejection }
  }

  /// What tests change of the settings that all of them share.
  struct Knobs {
    var train = TrainedPart.full
    var layers = 0
    var rollouts = 6
    var samples = 4
    var epochs = 1
    var minibatches = 1
    var learningRate = 3e-3
    var beta = 0.5
    var pieceTokens = 2048
    var promptsPerRollout = 4
    var penaliseMissingEnd = false
    var normalise = RewardNormalisation.start
  }

  func train(
    _ trainer: Trainer, _ data: DataFile, _ output: URL, _ knobs: Knobs,
    options: RunOptions = .quiet
  ) throws -> OnlineReport {
    let rewards: [(source: any RewardSource, weight: Double)] = [(ShareOfASCII(), 1)]
    switch trainer {
    case .brain, .brainKept:
      var settings = BRAInSettings()
      settings.train = knobs.train
      settings.layers = knobs.layers
      settings.rank = 4
      settings.rollouts = knobs.rollouts
      settings.promptsPerRollout = knobs.promptsPerRollout
      settings.samplesPerPrompt = knobs.samples
      settings.maxTokens = 6
      settings.epochs = knobs.epochs
      settings.minibatches = knobs.minibatches
      settings.learningRate = knobs.learningRate
      settings.beta = knobs.beta
      settings.penaliseMissingEnd = knobs.penaliseMissingEnd
      settings.normalise = knobs.normalise
      settings.pieceTokens = knobs.pieceTokens
      settings.showEvery = 0
      if trainer == .brainKept { settings.refreshEvery = 3 }
      return try BRAIn.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    case .raft, .rejection:
      var settings = RAFTSettings()
      settings.train = knobs.train
      settings.layers = knobs.layers
      settings.rank = 4
      settings.rollouts = knobs.rollouts
      settings.promptsPerRollout = knobs.promptsPerRollout
      settings.samplesPerPrompt = knobs.samples
      settings.maxTokens = 6
      settings.epochs = knobs.epochs
      settings.minibatches = knobs.minibatches
      settings.learningRate = knobs.learningRate
      settings.beta = knobs.beta
      settings.penaliseMissingEnd = knobs.penaliseMissingEnd
      settings.normalise = knobs.normalise
      settings.pieceTokens = knobs.pieceTokens
      settings.showEvery = 0
      if trainer == .rejection { settings.selection = .rejection }
      return try RAFT.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    default:
      var settings = DPGSettings()
      settings.train = knobs.train
      settings.layers = knobs.layers
      settings.rank = 4
      settings.rollouts = knobs.rollouts
      settings.promptsPerRollout = knobs.promptsPerRollout
      settings.samplesPerPrompt = knobs.samples
      settings.maxTokens = 6
      settings.epochs = knobs.epochs
      settings.minibatches = knobs.minibatches
      settings.learningRate = knobs.learningRate
      settings.beta = knobs.beta
      settings.penaliseMissingEnd = knobs.penaliseMissingEnd
      settings.normalise = knobs.normalise
      settings.pieceTokens = knobs.pieceTokens
      settings.showEvery = 0
      let parts = trainer.rawValue.split(separator: " ").map(String.init)
      settings.method = DPGSettings.Method(rawValue: parts[0]) ?? .dpg
      if parts.count > 1 {
        settings.divergence = TargetDivergence(rawValue: parts[1]) ?? .forwardKL
      }
      return try DPG.train(
        tinyModel(), data: data, rewards: rewards, rewardFingerprint: "ascii", settings: settings,
        output: output, options: options)
    }
  }

  func prompts(_ folder: TemporaryFolder) throws -> DataFile {
    try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  /// Answers of the tiny model, as `attune sample` writes them.
  func samples(
    _ folder: TemporaryFolder, n: Int = 8, change: (inout SampleSettings) -> Void = { _ in }
  ) throws -> DataFile {
    var settings = SampleSettings()
    settings.n = n
    settings.maxTokens = 6
    settings.seed = 5
    change(&settings)
    let prompts = try prompts(folder).prompts
    let rows = try Sampling.rows(
      tinyModel(), prompts: prompts, numbers: Array(prompts.indices), settings: settings)
    return try folder.rows("samples-\(UUID().uuidString).jsonl", rows.map(\.json.text))
  }

  @Test(arguments: Trainer.allCases)
  func `the reward rises, and the policy comes nearer to the target`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "policy")
    var knobs = Knobs()
    knobs.rollouts = 40
    knobs.samples = 8
    knobs.learningRate = 1e-2
    let report = try train(trainer, prompts(folder), out, knobs)
    #expect(report.firstReward < 0.58, "\(report)")
    #expect(report.kl > 0.1 && report.steps == 40 && report.stopped == "rollouts")
    let lines = try metrics(out)
    #expect(lines.count == 40 && lines[0]["kl/sequence"] == 0)
    func mean(_ name: String, _ part: ArraySlice<[String: Double]>) -> Double {
      part.reduce(0) { $0 + ($1[name] ?? .nan) } / Double(part.count)
    }
    let reward = mean(
      trainer.isOnPolicy ? "reward/mean" : "reward/policy_mean", lines.suffix(5))
    #expect(reward > 0.64, "\(reward)")
    if trainer.matches {
      let name = "distribution/kl_target_policy"
      #expect(mean(name, lines.suffix(5)) < mean(name, lines.prefix(5)), "\(trainer)")
    } else {
      #expect(lines.allSatisfy { ($0["reward/kept_mean"] ?? 0) > ($0["reward/mean"] ?? 1) })
      for bound in [report.bestOfNBound, lines[3]["kl/best_of_n"]] {
        if trainer == .raft {
          #expect(abs((bound ?? 0) - (log(8) - 7.0 / 8)) < 1e-12)
        } else {
          #expect(bound == nil)
        }
      }
    }
    #expect(lines.allSatisfy { ($0["reward/policy_mean"] != nil) == !trainer.isOnPolicy })
    #expect(lines.allSatisfy { ($0["ratio/sampler_gap"] != nil) == trainer.isOnPolicy })
    if trainer == .brainKept {
      // Right after a refresh proposal and policy are one, on every third rollout.
      for (i, line) in lines.enumerated() {
        let gap = abs((line["reward/policy_mean"] ?? 0) - (line["reward/mean"] ?? 1))
        #expect((gap < 1e-6) == (i % 3 == 0), "rollout \(i): \(gap)")
      }
    }
    let opened = try LoadedModel.open(out.path, on: NativeEngine())
    #expect(!opened.model.hasScalarHead)
  }

  @Test(arguments: [Trainer.dpg, .reverseKL, .brainKept, .rejection])
  func `a stopped run goes on byte for byte`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    var knobs = Knobs()
    knobs.train = .lora
    knobs.rollouts = 9
    knobs.learningRate = 1e-2
    knobs.penaliseMissingEnd = true
    let whole = folder.url.appending(path: "whole")
    let parts = folder.url.appending(path: "parts")
    let one = try train(trainer, prompts(folder), whole, knobs)
    for count in [3, 250, 400, 200] {
      let error = #expect(throws: TrainingError.self) {
        _ = try train(
          trainer, prompts(folder), parts, knobs, options: .stopping(after: count))
      }
      #expect(error?.code == .interrupted)
    }
    let two = try train(trainer, prompts(folder), parts, knobs)
    #expect(one.lastReward == two.lastReward && one.kl == two.kl)
    #expect(one.bestOfNBound == two.bestOfNBound)
    let weights = "adapter_model.safetensors"
    #expect(folder.bytes("whole/\(weights)") != nil)
    #expect(folder.bytes("whole/\(weights)") == folder.bytes("parts/\(weights)"))
    let lines = try metrics(whole)
    #expect(try lines == metrics(parts))
    if trainer == .dpg {
      // The proposal was kept for a while and replaced: both ways went through the checkpoint.
      let replaced = lines.map { $0["distribution/proposal_replaced"] }
      #expect(replaced[0] == 0 && replaced.contains(1), "\(replaced)")
    }
  }

  @Test(arguments: [Trainer.chiSquared, .brain, .raft])
  func `any cut of a minibatch gives the same steps`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    var knobs = Knobs()
    knobs.train = .lastLayers
    knobs.layers = 1
    knobs.rollouts = 1
    knobs.epochs = 2
    knobs.minibatches = 2
    let whole = folder.url.appending(path: "whole")
    let cut = folder.url.appending(path: "cut")
    _ = try train(trainer, prompts(folder), whole, knobs)
    knobs.pieceTokens = 1
    _ = try train(trainer, prompts(folder), cut, knobs)
    let (a, b) = (try metrics(whole)[0], try metrics(cut)[0])
    #expect(a.keys == b.keys)
    for (key, value) in a {
      #expect(abs(value - (b[key] ?? .nan)) < 1e-3 * max(1, abs(value)), "\(key)")
    }
  }

  @Test(arguments: Trainer.allCases.filter { $0 != .brainKept })
  func `recorded answers raise the reward too`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    var knobs = Knobs()
    knobs.rollouts = 30
    knobs.samples = trainer == .brain ? BRAInSettings().samplesPerPrompt : 8
    let out = folder.url.appending(path: "policy")
    let report = try train(trainer, samples(folder, n: 16), out, knobs)
    #expect(report.lastReward > report.firstReward + 0.05, "\(report)")
    let lines = try metrics(out)
    // The same answers in every rollout.
    let means = lines.map { $0["reward/mean"] ?? 0 }
    #expect((means.max() ?? 1) - (means.min() ?? 0) < 1e-12)
    #expect(lines.allSatisfy { $0["speed/sampled_tokens_per_second"] == nil })
    if trainer == .raft {
      #expect(abs((report.bestOfNBound ?? 0) - (log(16) - 15.0 / 16)) < 1e-12)
    }
  }

  @Test func `the proposal of recorded answers is what they record`() throws {
    let folder = try TemporaryFolder()
    let data = try samples(folder)
    var knobs = Knobs()
    knobs.rollouts = 1
    knobs.samples = DPGSettings().samplesPerPrompt
    knobs.normalise = .none
    knobs.beta = 0.25
    let start = try tinyModel()
    func expected(_ file: DataFile) throws -> Double {
      var total = 0.0
      for row in file.rows {
        guard case .samples(let sample) = row.example else { continue }
        let encoder = try TextEncoder(start)
        let prompt = try encoder.prompt(sample.prompt)
        let segments =
          [Segment(prompt)]
          + (sample.ids ?? []).map { Segment($0, parent: 0, scored: [0..<$0.count]) }
        let scores = try start.model.score(segments).logProbabilities.dropFirst()
        let rewards = ShareOfASCII().scores(
          prompts: [],
          completions: sample.completions.map {
            Completion(ids: $0.ids ?? [], text: $0.text, endedByItself: true)
          }, shared: nil)
        let weights = zip(sample.completions, zip(scores, rewards)).map { completion, of in
          let target = of.0.reduce(0, +) + of.1 / 0.25
          return exp(target - (completion.logProbability ?? .nan))
        }
        total += log(weights.reduce(0, +) / Double(weights.count))
      }
      return total / Double(file.rows.count)
    }
    let plain = folder.url.appending(path: "plain")
    _ = try train(.dpg, data, plain, knobs)
    let found = try #require(try metrics(plain)[0]["distribution/log_partition"])
    #expect(abs(found - (try expected(data))) < 1e-4)

    // Another record of the same answers is another proposal.
    let text = try String(contentsOf: data.url, encoding: .utf8)
    let shifted = text.split(separator: "\n").map { line in
      var first = true
      return String(line).replacing(/"logprob":(-?[0-9.e-]+)/) { match -> String in
        defer { first = false }
        return first
          ? "\"logprob\":\((Double(match.1) ?? 0) - 2)" : String(match.0)
      }
    }
    let other = try folder.rows("shifted.jsonl", shifted)
    let moved = folder.url.appending(path: "moved")
    _ = try train(.dpg, other, moved, knobs)
    let after = try #require(try metrics(moved)[0]["distribution/log_partition"])
    #expect(abs(after - (try expected(other))) < 1e-4 && abs(after - found) > 0.1)
  }

  @Test func `recorded answers that nothing can be learned from are refused by their line`() throws
  {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "policy")
    var knobs = Knobs()
    knobs.samples = DPGSettings().samplesPerPrompt
    func refusal(
      _ trainer: Trainer, _ knobs: Knobs, n: Int = 3,
      _ change: (inout SampleSettings) -> Void = { _ in }
    ) throws -> String {
      let data = try samples(folder, n: n, change: change)
      let error = #expect(throws: (any Error).self) {
        _ = try train(trainer, data, out, knobs)
      }
      #expect(!folder.exists("policy"), "nothing is done before")
      return (error as? TrainingError)?.message ?? (error as? DataError)?.message ?? ""
    }
    for (knob, change) in [
      ("top_p 0.9", { $0.topP = 0.9 }), ("top_k 5", { $0.topK = 5 }),
      ("min_p 0.1", { $0.minP = 0.1 }), ("temperature 0)", { $0.temperature = 0 }),
      ("repetition_penalty 1.2", { $0.repetitionPenalty = 1.2 }),
    ] as [(String, (inout SampleSettings) -> Void)] {
      for trainer in [Trainer.gdcPlusPlus, .brain, .raft] {
        let message = try refusal(trainer, knobs, change)
        #expect(message.contains(":1: ") && message.contains(knob), "\(message)")
      }
    }
    let one = try refusal(.dpg, knobs, n: 1)
    #expect(one.contains("line 1: answers to the prompt: 1; give at least 2"), "\(one)")
    knobs.samples += 1
    let set = try refusal(.dpg, knobs)
    #expect(set.contains("samples_per_prompt is set but not read"), "\(set)")
    knobs.samples -= 1
    let refresh = try refusal(.brainKept, knobs)
    #expect(refresh.contains("refresh_every"), "\(refresh)")
    let text = try String(contentsOf: samples(folder, n: 3).url, encoding: .utf8)
    let error = #expect(throws: DataError.self) {
      _ = try folder.rows(
        "without.jsonl",
        text.split(separator: "\n").map { String($0).replacing(/"logprob":-?[0-9.e-]+,/, with: "") }
      )
    }
    #expect(error?.message.contains("logprob is missing") == true, "\(String(describing: error))")
  }

  @Test func `settings without effect or out of range are refused`() throws {
    func message<S: Settings>(_ defaults: S, _ flags: [(String, String)]) -> String {
      let error = #expect(throws: TrainingError.self) {
        _ = try ConfigFile.settings(defaults, flags: flags.map { (knob: $0.0, json: $0.1) })
      }
      return error?.message ?? ""
    }
    for method in ["dpg", "gdc++"] {
      #expect(
        message(DPGSettings(), [("method", "\"\(method)\""), ("divergence", "\"js\"")])
          .contains("divergence is set but not read: \(method) has one of its own"))
    }
    #expect(message(DPGSettings(), [("method", "\"brain\"")]).contains("method"))
    #expect(message(RAFTSettings(), [("beta", "1")]).contains("beta is set but not read"))
    #expect(
      message(RAFTSettings(), [("selection", "\"rejection\""), ("keep", "2")])
        .contains("keep is set but not read"))
    #expect(message(RAFTSettings(), [("keep", "8")]).contains("keep must be"))
    for beta in ["0", "-1"] {
      #expect(message(DPGSettings(), [("beta", beta)]).contains("beta must be above 0"))
      #expect(message(BRAInSettings(), [("beta", beta)]).contains("beta must be above 0"))
    }
    let one = [("samples_per_prompt", "1")]
    for text in [
      message(DPGSettings(), one), message(BRAInSettings(), one), message(RAFTSettings(), one),
    ] {
      #expect(text.contains("samples_per_prompt must be at least 2"), "\(text)")
    }
    #expect(message(BRAInSettings(), [("refresh_every", "0")]).contains("refresh_every must be"))
  }

  @Test func `raft keeps the best, and rejection keeps each as often as it is worth`() {
    let random = { CounterRandom(seed: 1, $0) }
    var settings = RAFTSettings()
    #expect(settings.kept(of: [1, 3, 3, 2], random(0)) == [1])
    settings.keep = 3
    #expect(settings.kept(of: [1, 3, 3, 2], random(0)) == [1, 2, 3])
    settings.selection = .rejection
    settings.beta = 2
    var counts = [0, 0, 0]
    for stream in 0..<20_000 {
      for i in settings.kept(of: [1, 2, 0], random(UInt64(stream))) { counts[i] += 1 }
    }
    for (count, score) in zip(counts, [1.0, 2, 0]) {
      // Five standard errors of a share are at most 0.018.
      #expect(abs(Double(count) / 20_000 - exp((score - 2) / 2)) < 0.018)
    }
    #expect(counts[1] == 20_000)
  }
}
