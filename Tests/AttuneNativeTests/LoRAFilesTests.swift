// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

struct LoRAFilesTests {
  private static let spec = TransformerSpec(
    architecture: .llama, vocabularySize: 64, width: 16, layers: 3, heads: 4, keyValueHeads: 2,
    mlpWidth: 24, maximumPositions: 32)

  private static func adapters(_ settings: LoRASettings, score: Bool = false) throws -> LoRAFiles {
    let model = try NativeModel.random(spec, seed: 1, on: NativeEngine())
      .copy(training: .lora(settings), scalarHead: score ? .normal(seed: 4) : nil)
    return LoRAFiles(settings: settings, tensors: model.trainedParameters(), baseModel: "base")
  }

  @Test(
    arguments: [
      LoRASettings(rank: 4, alpha: 6),
      LoRASettings(rank: 2, alpha: 0.5, lastLayers: 2, projections: [.q, .v, .down]),
    ], [false, true])
  func `what is written is read again`(settings: LoRASettings, score: Bool) throws {
    let adapters = try Self.adapters(settings, score: score)
    try withTemporaryFolder { folder in
      #expect(!LoRAFiles.isPresent(in: folder))
      try adapters.write(to: folder, spec: Self.spec)
      #expect(LoRAFiles.isPresent(in: folder))
      let again = try LoRAFiles(folder, spec: Self.spec)
      #expect(again.settings == settings)
      #expect(again.baseModel == "base")
      #expect(
        again.tensors.sorted { $0.name < $1.name } == adapters.tensors.sorted { $0.name < $1.name })
      // A model with the same settings takes them as they are.
      let model = try NativeModel.random(Self.spec, seed: 1, on: NativeEngine())
        .copy(training: .lora(settings), scalarHead: score ? .zero : nil)
      try model.setTrainedParameters(again.tensors)
      let file = try Safetensors.File(folder.appendingPathComponent("adapter_model.safetensors"))
      #expect(
        file.shape(of: "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight")
          == [settings.rank, 16])
    }
  }

  @Test func `what does not fit the model is refused by name`() throws {
    let adapters = try Self.adapters(LoRASettings(rank: 2))
    try withTemporaryFolder { folder in
      try adapters.write(to: folder, spec: Self.spec)
      var wider = Self.spec
      wider.mlpWidth = 32
      let shape = try #require(throws: EngineError.self) {
        _ = try LoRAFiles(folder, spec: wider)
      }
      #expect(
        shape.message.contains("mlp.gate_proj.lora_B.weight has the shape [24, 2], not [32, 2]"))
      var deeper = Self.spec
      deeper.layers = 4
      let missing = try #require(throws: EngineError.self) {
        _ = try LoRAFiles(folder, spec: deeper)
      }
      #expect(missing.message.contains("layers.3.self_attn.q_proj.lora_A.weight is missing"))
      var shallower = Self.spec
      shallower.layers = 2
      let stray = try #require(throws: EngineError.self) {
        _ = try LoRAFiles(folder, spec: shallower)
      }
      #expect(stray.message.contains("has no place"))
    }
  }

  @Test func `settings that are not supported are refused by name`() throws {
    let adapters = try Self.adapters(LoRASettings(rank: 2))
    try withTemporaryFolder { folder in
      try adapters.write(to: folder, spec: Self.spec)
      let url = folder.appendingPathComponent("adapter_config.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      for (old, new, expected) in [
        ("\"LORA\"", "\"IA3\"", "peft_type: 'IA3'"),
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"r\": 2", "\"r\": 0", "r: 0"), ("\"r\": 2", "\"r\": 3", "not [3, 16]"),
        ("\"none\"", "\"all\"", "bias: 'all'"), ("q_proj", "x_proj", "target_modules"),
        ("\"lora_alpha\": 32.0,", "", "lora_alpha is missing"), ("{", "[", "no JSON object"),
      ] {
        try #require(text.contains(old), "\(old)")
        try Data(text.replacingOccurrences(of: old, with: new).utf8).write(to: url)
        let error = try #require(throws: EngineError.self, "\(new)") {
          _ = try LoRAFiles(folder, spec: Self.spec)
        }
        #expect(error.message.contains(expected), "\(error.message)")
      }
      // rsLoRA scales by √rank more.
      try Data(
        text.replacingOccurrences(of: "\"use_rslora\": false", with: "\"use_rslora\": true").utf8
      ).write(to: url)
      let alpha = try LoRAFiles(folder, spec: Self.spec).settings.alpha
      #expect(abs(alpha - 32 * 2.0.squareRoot()) < 1e-12)
    }
  }

  @Test func `GPT-2's adapters are refused`() throws {
    let spec = try Checkpoint.open(Fixtures.url("models/gpt2")).spec
    try withTemporaryFolder { folder in
      #expect(throws: EngineError.self) {
        try LoRAFiles(settings: LoRASettings(), tensors: []).write(to: folder, spec: spec)
      }
    }
  }
}
