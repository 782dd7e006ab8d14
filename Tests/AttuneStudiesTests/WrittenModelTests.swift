// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// What trainers write, as transformers and PEFT look for it. That they load it and say the same is
/// held by `Scripts/agreement/written_models.py`.
struct WrittenModelTests {
  static let small = [
    ("rollouts", "1"), ("prompts_per_rollout", "4"), ("samples_per_prompt", "2"),
    ("max_tokens", "4"), ("minibatches", "1"), ("show_every", "0"), ("rank", "4"),
  ]

  /// A trainer's default settings but for sizes; knobs that it does not have are left out.
  static func settings<S: Settings>(
    _ type: S.Type, _ knobs: [(String, String)] = small
  ) throws -> S {
    try ConfigFile.settings(
      S(), flags: knobs.filter { S.knobs.knob(at: $0.0) != nil }.map { (knob: $0.0, json: $0.1) })
  }

  static let trainers = ["sft", "reward"] + RLHF.Method.allCases.map(\.rawValue)

  /// Trains by a trainer's defaults.
  ///
  /// - Returns: The folder of what it wrote.
  static func train(
    _ name: String, _ start: LoadedModel, _ folder: TemporaryFolder
  ) throws -> String {
    let out = folder.url.appending(path: name)
    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(8))
    let short = small + [("max_steps", "1"), ("max_length", "0")]
    switch name {
    case "sft":
      _ = try SFT.train(
        start, data: folder.rows("rows.jsonl", TestRows.completions),
        settings: settings(SFTSettings.self, short.filter { $0.0 != "rank" }), output: out,
        options: .quiet)
    case "reward":
      _ = try RewardModel.train(
        start, data: pairs, settings: settings(RewardModelSettings.self, short), output: out,
        options: .quiet)
    default:
      let rounds = [
        ("rounds", "1"), ("max_tokens", "4"), ("samples_per_prompt", "2"), ("dpo.rank", "4"),
      ]
      func knobs<S: PolicyMethod>(_: S) throws -> S {
        // A teacher of another kind than the start itself.
        let words = name == "distill" ? [("teacher_system", #""Be brief.""#)] : []
        return try settings(S.self, (name == "iterate" ? rounds : short) + words)
      }
      let method = try #require(RLHF.Method(rawValue: name))
      _ = try knobs(MethodsSettings()[method]).trainPolicy(
        PolicyTask(
          start: start, prompts: folder.rows("prompts.jsonl", TestRows.prompts).url,
          rewards: [(ShareOfOdd(), 1)], rewardFingerprint: "odd", gold: nil,
          preferences: pairs.url, heldOutPreferences: nil, output: out, options: .quiet))
    }
    return out.path
  }

  static func json(_ url: URL) throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
  }

  /// Holds a folder against what transformers or PEFT look for.
  static func check(_ path: String, base: String, isReward: Bool) throws {
    let url = URL(filePath: path)
    let adapter = url.appending(path: "adapter_config.json")
    guard FileManager.default.fileExists(atPath: adapter.path) else {
      return try checkWhole(url, isReward: isReward)
    }
    let config = try json(adapter)
    #expect(config["peft_type"] as? String == "LORA")
    #expect(config["task_type"] as? String == (isReward ? "SEQ_CLS" : "CAUSAL_LM"))
    let named = try #require(config["base_model_name_or_path"] as? String)
    #expect(named.hasPrefix("/") && named == base)
    try checkWhole(URL(filePath: named), isReward: false)
    let spec = try Checkpoint.open(URL(filePath: named)).spec
    let rank = try #require(config["r"] as? Int)
    var expected: [String: [Int]] =
      isReward ? ["base_model.model.score.weight": [1, spec.width]] : [:]
    let targets = try #require(config["target_modules"] as? [String])
    for tensor in spec.tensors
    where targets.contains(where: { tensor.name.hasSuffix("\($0).weight") }) {
      let module = "base_model.model." + tensor.name.dropLast(".weight".count)
      expected[module + ".lora_A.weight"] = [rank, tensor.shape[1]]
      expected[module + ".lora_B.weight"] = [tensor.shape[0], rank]
    }
    let file = try Safetensors.File(url.appending(path: "adapter_model.safetensors"))
    #expect(Set(file.names) == Set(expected.keys))
    for name in file.names { #expect(file.shape(of: name) == expected[name], "\(name)") }
  }

  static func checkWhole(_ url: URL, isReward: Bool) throws {
    let config = try json(url.appending(path: "config.json"))
    let suffix = isReward ? "LlamaForSequenceClassification" : "LlamaForCausalLM"
    #expect(config["architectures"] as? [String] == [suffix])
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
      #expect(FileManager.default.fileExists(atPath: url.appending(path: name).path), "\(name)")
    }
    let spec = try Checkpoint.open(url).spec
    let file = try Safetensors.File(url.appending(path: "model.safetensors"))
    #expect(Set(file.names) == Set(spec.tensors.map(\.name) + (isReward ? ["score.weight"] : [])))
    for tensor in spec.tensors { #expect(file.shape(of: tensor.name) == tensor.shape) }
  }

  @Test(arguments: trainers)
  func `a trainer's default output is a folder that transformers or PEFT loads`(
    name: String
  ) throws {
    let family = try ModelFamily()
    let written = try Self.train(name, family.base, family.folder)
    let base = family.folder.url.appending(path: "base").standardizedFileURL.path
    try Self.check(written, base: base, isReward: name == "reward")
  }

  @Test func `the base of an adapter's adapter is written whole, once`() throws {
    let family = try ModelFamily()
    let adapter = try family.member("first", .lora(LoRASettings(rank: 4)), seed: 2)
    let start = try LoadedModel.open(adapter, on: NativeEngine())
    let cache = family.folder.url.appending(path: "cache")
    let bases = cache.appending(path: "bases")
    try Pull.$otherCache.withValue(cache) {
      let place = bases.appending(path: String(start.fingerprint.prefix(16))).standardizedFileURL
      for run in ["a", "b"] {
        let again = try TemporaryFolder()
        let written = try Self.train("dpo", start, again)
        try Self.check(written, base: place.path, isReward: false)
        #expect(
          try FileManager.default.contentsOfDirectory(atPath: bases.path).count == 1, "\(run)")
      }
      // Whole: the same numbers without the adapter's own base.
      let probe = [Segment([5, 9, 70, 3], scored: [1..<4])]
      let (ours, copy) = (
        try start.model.score(probe),
        try LoadedModel.open(place.path, on: NativeEngine()).model.score(probe)
      )
      #expect(ours.logProbabilities == copy.logProbabilities)
    }
  }

  @Test func `an export is whole, and goes into an empty folder alone`() throws {
    let family = try ModelFamily()
    let scale = RewardScale(mean: 1, deviation: 2)
    let reward = try family.member(
      "reward", .lora(LoRASettings(rank: 4)), seed: 2, isReward: true, scale: scale)
    let loaded = try LoadedModel.open(reward, on: NativeEngine(), rewardModels: true)
    let folder = family.folder.url.appending(path: "whole")
    try loaded.export(to: folder)
    try Self.checkWhole(folder, isReward: true)
    let again = try LoadedModel.open(folder.path, on: NativeEngine(), rewardModels: true)
    let probe = [Segment([5, 9, 70, 3], scalarsAfter: [3])]
    #expect(try loaded.model.score(probe).scalars == again.model.score(probe).scalars)
    #expect(again.reward == scale)
    let error = try #require(throws: TrainingError.self) { try loaded.export(to: folder) }
    #expect(error.message.contains("is not empty"))
  }

  @Test(arguments: [false, true])
  func `a reward model answers nothing, whole or as an adapter`(merging: Bool) throws {
    let family = try ModelFamily()
    let reward = try family.member(
      "reward", .lora(LoRASettings(rank: 4)), seed: 2, isReward: true, merging: merging)
    for neighbour in [nil, family.base] {
      let error = try #require(throws: TrainingError.self) {
        _ = try LoadedModel.open(reward, on: NativeEngine(), beside: neighbour)
      }
      #expect(
        error.message.contains("is a reward model (it has score.weight), which has no language"))
    }
    #expect(
      try LoadedModel.open(reward, on: NativeEngine(), rewardModels: true).model.hasScalarHead)
    let error = try #require(throws: TrainingError.self) { _ = try ModelReward(family.base) }
    #expect(error.message.contains("is no reward model (it has no scalar head score.weight)"))
  }

  @Test func `a scalar head and its configuration go together`() throws {
    let family = try ModelFamily()
    let reward = try family.member("reward", .full, seed: 2, isReward: true)
    let config = URL(filePath: reward).appending(path: "config.json")
    let text = try String(contentsOf: config, encoding: .utf8)
    func message(_ path: String) -> String {
      do {
        _ = try LoadedModel.open(path, on: NativeEngine(), rewardModels: true)
        return "no error"
      } catch { return "\(error)" }
    }
    try Data(text.replacing("ForSequenceClassification", with: "ForCausalLM").utf8).write(
      to: config)
    #expect(message(reward).contains("the tensor score.weight has no place in a LlamaForCausalLM"))
    let plain = family.folder.url.appending(path: "base").path
    try Data(text.utf8).write(to: URL(filePath: plain).appending(path: "config.json"))
    #expect(
      message(plain).contains("says LlamaForSequenceClassification, but the tensor score.weight"))
  }

  @Test func `a reward model goes on from its head, or anew`() throws {
    let family = try ModelFamily()
    let data = try family.folder.rows("pairs.jsonl", TestRows.pairs(16))
    for (name, training) in [("whole", Trainable.full), ("adapter", .lora(LoRASettings(rank: 4)))] {
      let start = try LoadedModel.open(
        try family.member(name, training, seed: 2, isReward: true), on: NativeEngine(),
        rewardModels: true)
      func head(_ head: RewardModelSettings.HeadStart) throws -> [Float] {
        var settings = RewardModelSettings.tiny()
        settings.maxSteps = 1
        settings.learningRate = 1e-6
        settings.head = head
        let out = family.folder.url.appending(path: "\(name)-\(head)")
        _ = try RewardModel.train(
          start, data: data, settings: settings, output: out, options: .quiet)
        let written = try LoadedModel.open(out.path, on: NativeEngine(), rewardModels: true)
        return try #require(written.model.scalarHeadWeights)
      }
      let before = try #require(start.model.scalarHeadWeights)
      let (kept, new) = (try head(.keep), try head(.new))
      #expect(
        zip(kept, before).allSatisfy { abs($0 - $1) < 1e-5 } && before.contains { abs($0) > 0.01 })
      #expect(new.allSatisfy { abs($0) < 1e-5 })
    }
  }

  @Test func `weights beyond all memory are an error at once`() throws {
    let folder = try TemporaryFolder()
    let config = folder.file(
      "config.json",
      """
      {"model_type":"llama","vocab_size":16777216,"hidden_size":1048576,"intermediate_size":4194304,
      "num_hidden_layers":4096,"num_attention_heads":8192,"max_position_embeddings":64}
      """)
    let error = try #require(throws: EngineError.self) {
      _ = try LoadedModel.random(configuration: config, seed: 1, on: NativeEngine())
    }
    #expect(error.message.contains("of memory, this process can have"))
  }
}
