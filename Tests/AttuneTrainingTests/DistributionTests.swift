// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// The trainers that learn from weighted or chosen answers: dpg, gdc++, fdpg, brain, raft.
struct DistributionTests {
  typealias Trainer = OnlineTrainer.Matching

  func prompts(_ folder: TemporaryFolder) throws -> DataFile {
    try folder.rows("prompts.jsonl", TestRows.prompts)
  }

  /// Answers of a table, as `attune sample` writes them.
  func samples(_ folder: TemporaryFolder, n: Int) throws -> DataFile {
    var settings = SampleSettings()
    settings.n = n
    settings.maxTokens = 6
    settings.seed = 5
    let prompts = try prompts(folder).prompts
    let rows = try Sampling.rows(
      tableModel(), prompts: prompts, numbers: Array(prompts.indices), settings: settings)
    return try folder.rows("samples.jsonl", rows.map(\.json.text))
  }

  /// KL(p ‖ π) of the next token, summed over the prompts: p ∝ ρ·e^{r/β} with the reward 1 of odd tokens
  /// and β = 0.5.
  func distance(of policy: LoadedModel, from start: LoadedModel) throws -> Double {
    let all = HeadRequest(candidates: Array(0..<Int32(start.model.spec.vocabularySize)))
    let encoder = try TextEncoder(start)
    return try (0..<4).reduce(0) { sum, i in
      let ids = try encoder.prompt(.text("say \(i)")) + [0]
      let last = [Segment(ids, scored: [ids.count - 1..<ids.count])]
      func logs(_ model: LoadedModel) throws -> [Double] {
        try model.model.score(last, all).candidates[0][0]
      }
      let target = try logs(start).enumerated().map { $1 + ($0 % 2 == 1 ? 2 : 0) }
      let partition = log(target.reduce(0) { $0 + exp($1) })
      return try sum
        + zip(target, logs(policy)).reduce(0) {
          $0 + exp($1.0 - partition) * ($1.0 - partition - $1.1)
        }
    }
  }

  @Test(arguments: Trainer.allCases)
  func `the reward rises, and the policy comes nearer to the target`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "policy")
    // Answers of one token, so that the target is as many numbers.
    let report = try trainer.trainer.train(prompts(folder), to: out) {
      $0.rollout.rollouts = 15
      $0.rollout.samplesPerPrompt = 32
      $0.rollout.maxTokens = 1
      $0.rewards.normalise = .none
      $0.training.optimiser.learningRate = 7e-3
    }
    #expect(report.firstReward < 0.58, "\(report)")
    #expect(report.kl > 0.1 && report.steps == 15 && report.stopped == "rollouts")
    let lines = try metrics(out)
    #expect(lines.count == 15 && lines[0]["kl/sequence"] == 0)
    func mean(_ name: String, _ part: ArraySlice<[String: Double]>) -> Double {
      part.reduce(0) { $0 + ($1[name] ?? .nan) } / Double(part.count)
    }
    let reward = mean(
      trainer.isOnPolicy ? "reward/mean" : "reward/policy_mean", lines.suffix(5))
    #expect(reward > 0.75, "\(reward)")
    if trainer.matches {
      #expect(lines.allSatisfy { $0["distribution/kl_target_policy"] != nil })
      let start = try tableModel()
      let before = try distance(of: start, from: start)
      let after = try distance(of: LoadedModel.open(out.path, beside: start), from: start)
      #expect(after < 0.15 * before, "\(before) to \(after)")
    } else {
      #expect(lines.allSatisfy { ($0["reward/kept_mean"] ?? 0) > ($0["reward/mean"] ?? 1) })
      for bound in [report.bestOfNBound, lines[3]["kl/best_of_n"]] {
        if trainer == .raft {
          #expect(abs((bound ?? 0) - (log(32) - 31.0 / 32)) < 1e-12)
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
  }

  @Test(arguments: Trainer.allCases.filter { $0 != .brainKept })
  func `recorded answers raise the reward too`(trainer: Trainer) throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "policy")
    let report = try trainer.trainer.train(samples(folder, n: 16), to: out)
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

  /// Every answer of one token, some four times as often: samples of a proposal without their noise,
  /// with which Z is exact.
  func everyToken(_ folder: TemporaryFolder, of vocabulary: Int) throws -> DataFile {
    let often = (0..<vocabulary).map { $0 % 5 == 0 ? 4 : 1 }
    let all = Double(often.reduce(0, +))
    let answers = often.enumerated().flatMap { id, count in
      let logProbability = log(Double(count) / all)
      return Array(
        repeating:
          #"{"text":"","ids":[\#(id)],"logprob":\#(logProbability),"finish_reason":"length"}"#,
        count: count)
    }.joined(separator: ",")
    return try folder.rows(
      "samples.jsonl",
      (0..<4).map {
        #"{"prompt":"say \#($0)","completions":[\#(answers)],"sampling":{"temperature":1}}"#
      })
  }

  @Test(arguments: Trainer.allCases.filter { $0 != .brainKept && $0 != .rejection })
  func `a proposal that is never renewed leads to the target, and raft elsewhere`(
    trainer: Trainer
  ) throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "policy")
    let start = try tableModel()
    _ = try trainer.trainer.train(everyToken(folder, of: start.model.spec.vocabularySize), to: out)
    {
      $0.rollout.rollouts = 100
      $0.rewards.normalise = .none
      $0.training.optimiser.learningRate = 0.02
    }
    let before = try distance(of: start, from: start)
    let after = try distance(of: LoadedModel.open(out.path, beside: start), from: start)
    if trainer.matches {
      #expect(after < 5e-3 * before, "\(before) to \(after)")
    } else {
      #expect(after > 0.1 * before, "\(before) to \(after)")
    }
  }

  @Test func `the proposal of recorded answers is what they record`() throws {
    let folder = try TemporaryFolder()
    let data = try samples(folder, n: 8)
    let start = try tableModel()
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
        let rewards = ShareOfOdd().scores(
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
    func found(_ file: DataFile, _ name: String) throws -> Double {
      let output = folder.url.appending(path: name)
      _ = try OnlineTrainer(name, DPGSettings(), by: DPG.train) {
        $0.method = .dpg
        $0.beta = 0.25
        $0.normalise = .none
        $0.rollouts = 1
        $0.minibatches = 1
      }.train(file, to: output)
      return try #require(try metrics(output)[0]["distribution/log_partition"])
    }
    let plain = try found(data, "plain")
    #expect(abs(plain - (try expected(data))) < 1e-4)

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
    let moved = try found(other, "moved")
    #expect(abs(moved - (try expected(other))) < 1e-4 && abs(moved - plain) > 0.1)
  }

  @Test func `recorded answers that nothing can be learned from are refused by their line`() throws
  {
    let folder = try TemporaryFolder()
    func row(_ n: Int, drawn sampling: String = #"{"temperature":1}"#) -> String {
      let answer = #"{"text":"a","ids":[0],"logprob":-1,"finish_reason":"length"}"#
      let answers = Array(repeating: answer, count: n).joined(separator: ",")
      return #"{"prompt":"say","completions":[\#(answers)],"sampling":\#(sampling)}"#
    }
    func refusal(_ trainer: Trainer, _ row: String, samples: Int = 8) throws -> String {
      let data = try folder.rows("samples.jsonl", [row, row, row, row])
      let error = #expect(throws: (any Error).self) {
        _ = try trainer.trainer.train(data, to: folder.url.appending(path: "policy")) {
          $0.rollout.samplesPerPrompt = samples
        }
      }
      #expect(!folder.exists("policy"), "nothing is done before")
      return (error as? TrainingError)?.message ?? (error as? DataError)?.message ?? ""
    }
    for (sampling, words) in [
      (#"{"top_p":0.9}"#, "top_p 0.9"), (#"{"top_k":5}"#, "top_k 5"),
      (#"{"min_p":0.1}"#, "min_p 0.1"), (#"{"temperature":0}"#, "temperature 0)"),
      (#"{"repetition_penalty":1.2}"#, "repetition_penalty 1.2"),
    ] {
      for trainer in [Trainer.gdcPlusPlus, .brain, .raft] {
        let message = try refusal(trainer, row(3, drawn: sampling))
        #expect(message.contains(":1: ") && message.contains(words), "\(message)")
      }
    }
    let one = try refusal(.dpg, row(1))
    #expect(one.contains("line 1: answers to the prompt: 1; give at least 2"), "\(one)")
    let set = try refusal(.dpg, row(3), samples: 9)
    #expect(set.contains("samples_per_prompt is set but not read"), "\(set)")
    let refresh = try refusal(.brainKept, row(3))
    #expect(refresh.contains("refresh_every"), "\(refresh)")
    let error = #expect(throws: DataError.self) {
      _ = try folder.rows("without.jsonl", [row(3).replacing(#""logprob":-1,"#, with: "")])
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
