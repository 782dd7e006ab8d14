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

/// The largest workspace of a run, looked at after each step.
private final class Largest: @unchecked Sendable {
  private let model: NativeModel
  var bytes = 0

  init(_ start: LoadedModel) throws { model = try #require(start.model as? NativeModel) }

  var options: RunOptions {
    var options = RunOptions.quiet
    options.shouldStop = {
      self.bytes = max(self.bytes, self.model.workspaceBytes)
      return false
    }
    return options
  }
}

struct PlanTests {
  /// What the workspace of a plan is.
  private func workspace<S: PlansRuns>(
    _ settings: S, _ rows: PlannedRows, _ start: LoadedModel
  ) throws -> Int {
    let work = settings.work(on: rows, start.model.spec, asks: false)
    let said = try NativeEngine().workspaceBytes(for: work.memory, of: start.model.spec)
    return said.logits + said.activations
  }

  @Test(arguments: [TrainedPart.lora, .lastLayers])
  func `a run of sft takes the bytes that its plan says`(part: TrainedPart) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    let start = try tinyModel()
    var settings = SFTSettings.tiny(epochs: 2)
    settings.train = part
    settings.layers = 1
    settings.pieceTokens = 30
    let largest = try Largest(start)
    let report = try SFT.train(
      start, data: data, settings: settings, output: folder.url.appending(path: "out"),
      options: largest.options)
    let rows = try settings.plannedRows(data, heldOut: nil, of: start)
    #expect(try workspace(settings, rows, start) == largest.bytes)
    let work = settings.work(on: rows, start.model.spec, asks: false)
    #expect(work.units == report.steps && report.steps > 1)
    #expect(work.memory.passesPerStep > 1)
  }

  @Test(arguments: [TrainedPart.lora, .lastLayers], [true, false])
  func `a run of dpo takes the bytes that its plan says`(
    part: TrainedPart, precompute: Bool
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    let start = try tinyModel()
    var settings = DPOSettings.tiny()
    settings.train = part
    settings.layers = 1
    settings.precomputeReference = precompute
    // A pass of all rows, in whatever order they come.
    settings.pieceTokens = 100_000
    let largest = try Largest(start)
    let report = try DPO.train(
      start, data: data, settings: settings, output: folder.url.appending(path: "out"),
      options: largest.options)
    let rows = try settings.plannedRows(data, heldOut: nil, of: start)
    #expect(rows.heldOut.count == report.evalRows && rows.training.count == report.rows)
    // Held-out rows are scored after the last look.
    var seen = rows
    seen.heldOut = precompute ? rows.heldOut : []
    #expect(try workspace(settings, seen, start) == largest.bytes)
    #expect(settings.work(on: rows, start.model.spec, asks: false).units == report.steps)
  }

  @Test func `a dry run of every kind of trainer writes nothing and trains nothing`() throws {
    let folder = try TemporaryFolder()
    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    let texts = try folder.rows("texts.jsonl", TestRows.completions)
    let before = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
    let output = folder.url.appending(path: "out")
    var options = RunOptions.quiet
    options.isDryRun = true
    for start in [try tableModel(), try tinyModel()] {
      func plan(_ train: () throws -> Void) throws -> RunPlan {
        try #require(throws: DryRun.self) { try train() }.plans[0]
      }
      let sft = try plan {
        _ = try SFT.train(
          start, data: texts, settings: .tiny(), output: output, options: options)
      }
      let dpo = try plan {
        _ = try DPO.train(
          start, data: pairs, settings: .tiny(), output: output, options: options)
      }
      let reward = try plan {
        _ = try RewardModel.train(
          start, data: pairs, settings: .tiny(), output: output, options: options)
      }
      let kto = try plan {
        _ = try KTO.train(
          start, data: pairs, settings: .tiny(.kto), output: output, options: options)
      }
      for plan in [sft, dpo, reward, kto] {
        #expect(plan.fits && plan.bytes == plan.memory.reduce(0) { $0 + $1.bytes })
        #expect(plan.work.count ?? 0 > 0 && plan.work.unit == "step")
        let time = try #require(plan.time)
        #expect(time.perUnit > 0 && time.run ?? 0 > 0 && time.sampling == nil)
      }
      #expect([sft, dpo, reward, kto].map(\.trainer) == ["sft", "dpo", "reward", "kto"])
    }
    let after = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
    #expect(before == after)
  }

  @Test func `an online run's plan holds the answers at their longest`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows(
      "prompts.jsonl", ["{\"prompt\":\"abc\"}", "{\"prompt\":\"defgh\"}", "{\"prompt\":\"i\"}"])
    let start = try tinyModel()
    var settings = GRPOSettings()
    (settings.rollout.rollouts, settings.rollout.promptsPerRollout) = (3, 2)
    (settings.rollout.samplesPerPrompt, settings.rollout.maxTokens) = (4, 6)
    let rows = try settings.plannedRows(data, heldOut: nil, of: start)
    #expect(rows.training.map(\.prompt) == [3, 5, 1])
    let work = settings.work(on: rows, start.model.spec, asks: true)
    // A prompt of five tokens with four answers of six; a minibatch is one prompt.
    #expect(work.largestPass?.rows == 29 && work.largestPass?.scored == 24)
    #expect(work.units == 3 && work.answers == 8 && work.optimiserSteps == 2)
    var options = RunOptions.quiet
    options.isDryRun = true
    let plan = try #require(throws: DryRun.self) {
      _ = try GRPO.train(
        start, data: data, rewards: [(ShareOfOdd(), 1)], rewardFingerprint: "odd",
        settings: settings, output: folder.url.appending(path: "out"), options: options)
    }.plans[0]
    #expect(plan.work.largestPass == 29 && plan.work.answers == 8)
    let time = try #require(plan.time)
    #expect(time.sampling ?? 0 > 0 && time.perUnit > time.sampling ?? 0)
    #expect(plan.memory.contains { $0.part == "cache" })
  }

  @Test func `codes of the base are proposed where frozen weights are what it takes`() throws {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 4000, width: 256, layers: 8, heads: 4, mlpWidth: 1024,
      maximumPositions: 2048, tiedHead: true)
    var settings = SFTSettings()
    settings.train = .lora
    let rows = PlannedRows(all: RowShape(prompt: 10, answers: [10], scored: 10), count: 100)
    func changes(_ base: BasePrecision, _ spec: TransformerSpec) throws -> [String: Int] {
      let engine = try NativeEngine(basePrecision: base)
      let plan = try RunPlan(
        settings, rows: rows, spec, name: "m", memory: { try engine.memory(for: $0, of: spec) },
        prefix: "sft.")
      return Dictionary(
        uniqueKeysWithValues: plan.changes.filter { $0.change.hasPrefix("--base") }
          .map { ($0.change, plan.bytes - $0.bytes) })
    }
    let names = ["bf16", "q8", "q4"].map { "--base-precision \($0)" }
    let wide = try changes(.asIs, spec)
    #expect(Set(wide.keys) == Set(names))
    // The matrices are the weights but for norms: they lose half of their bytes, or two thirds and more.
    let whole = try NativeEngine().memory(for: ModelWork(.frozen), of: spec)[.base]
    #expect(abs(Double(wide[names[0]] ?? 0) / Double(whole) - 0.5) < 0.01)
    #expect(wide[names[2]] ?? 0 > wide[names[1]] ?? 0)
    #expect(try Set(changes(.q8, spec).keys) == [names[2]])
    #expect(try changes(.q4, spec).isEmpty)
    // Codes are of groups of 32.
    var odd = spec
    (odd.width, odd.heads) = (240, 4)
    #expect(try Set(changes(.asIs, odd).keys) == [names[0]])
  }

  @Test func `a model that is not there is planned in the type that its configuration has`() throws
  {
    let folder = try TemporaryFolder()
    func base(_ type: String, _ precision: BasePrecision = .asIs) throws -> Int? {
      let config = """
        {"model_type": "llama", "vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4,
         "num_attention_heads": 4, "intermediate_size": 512, "max_position_embeddings": 256,
         "rms_norm_eps": 1e-5, "tie_word_embeddings": true\(type)}
        """
      let url = folder.file("\(type.count).json", config)
      var settings = SFTSettings()
      settings.train = .lora
      return try RunPlan.of(
        settings, model: url.path, data: nil, shape: nil,
        on: NativeEngine(basePrecision: precision)
      ).memory.first { $0.part == "base" }?.bytes
    }
    let wide = try #require(try base(""))
    for type in [#", "dtype": "bfloat16""#, #", "torch_dtype": "bfloat16""#] {
      let half = try #require(try base(type))
      #expect(half < wide * 51 / 100 && half > wide / 2)
      #expect(try base(type, .q4) == base("", .q4))
    }
    #expect(try base(#", "dtype": "float32""#) == wide)
  }

  @Test func `a teacher of another size is planned as it is`() throws {
    let own = TransformerSpec(
      architecture: .llama, vocabularySize: 400, width: 32, layers: 2, heads: 4, mlpWidth: 64,
      maximumPositions: 256, tiedHead: true)
    var (wide, deep) = (own, own)
    (wide.width, deep.layers) = (96, 12)
    var settings = DistillSettings()
    (settings.method, settings.tokens) = (.reverseKL, .all)
    let rows = PlannedRows(all: RowShape(prompt: 10, answers: [], scored: 0), count: 100)
    func work(_ other: TransformerSpec?) -> RunWork {
      settings.work(on: rows, own, beside: other, asks: false)
    }
    func widths(_ work: RunWork) -> Set<Int> { Set(work.memory.passes.map(\.teacherWidth)) }
    let same = work(own)
    #expect(work(nil).scores.tokens == same.scores.tokens && widths(work(nil)) == widths(same))
    #expect(
      widths(same) == [0, 32] && widths(work(wide)) == [0, 96] && widths(work(deep)) == [0, 32])
    // The more weights, the longer its passes take; the policy's stay.
    func more(_ other: TransformerSpec) -> Double {
      (work(other).scores.tokens - same.scores.tokens)
        / Double(other.parameterCount - own.parameterCount)
    }
    #expect(more(wide) > 0 && abs(more(wide) / more(deep) - 1) < 1e-9)
    #expect(work(wide).gradients.tokens == same.gradients.tokens)
  }

  @Test func `what would take less does take less, and nothing is named that does not`() throws {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 4000, width: 256, layers: 8, heads: 4, mlpWidth: 1024,
      maximumPositions: 2048, tiedHead: true)
    let rows = PlannedRows(
      all: RowShape(prompt: 100, answers: [400], scored: 400), count: 1000)
    // Of more pieces a step the tree of their gradients would be as large as the model's.
    var settings = SFTSettings()
    settings.rows.batchSize = 2
    let plan = try RunPlan(
      settings, rows: rows, spec, name: "m",
      memory: { try NativeEngine().memory(for: $0, of: spec) })
    #expect(plan.changes.map(\.bytes) == plan.changes.map(\.bytes).sorted())
    #expect(plan.changes.allSatisfy { $0.bytes < plan.bytes })
    let changes = plan.changes.map(\.change)
    for change in [
      "train=lora", "recompute=true", "train=last_layers layers=4",
      "train=lora --base-precision q4", "train=lora recompute=true --base-precision q4",
    ] {
      #expect(changes.contains(change), "\(changes)")
    }
    // In a larger job they are called as they are there.
    let stage = try RunPlan(
      settings, rows: rows, spec, name: "m",
      memory: { try NativeEngine().memory(for: $0, of: spec) }, prefix: "reward.")
    #expect(
      stage.changes.map { $0.change.replacing("reward.", with: "") } == changes
        && stage.changes.allSatisfy {
          // Knobs have the prefix; an option of the command has none.
          $0.change.split(separator: " ").filter { $0.contains("=") }
            .allSatisfy { $0.hasPrefix("reward.") }
        })
    // One row is a pass of its own, so smaller pieces bring nothing; of shorter rows a pass holds two.
    #expect(!changes.contains { $0.hasPrefix("max_length") })
    #expect(!changes.contains { $0.hasPrefix("piece_tokens") })
    #expect(plan.work.count == 500 && plan.time == nil && plan.refusal == nil)
    var short = plan
    short.limit = plan.bytes / 2
    short.fits = false
    for i in short.changes.indices { short.changes[i].fits = short.changes[i].bytes <= short.limit }
    let refusal = try #require(short.refusal)
    #expect(refusal.code == .unavailable && refusal.message.contains("train=lora"))
    #expect(refusal.message.contains("AdamW's moments "))
  }
}
