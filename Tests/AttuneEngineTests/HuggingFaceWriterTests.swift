// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneFiles
import AttuneTestSupport
import Foundation
import Testing

struct HuggingFaceWriterTests {
  private static func json(_ url: URL) throws -> [String: Any] {
    let parsed = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
    return try #require(parsed as? [String: Any])
  }

  @Test(arguments: Fixtures.models)
  func `a model is written as it was read`(name: String) throws {
    let original = Fixtures.url("models/\(name)")
    let checkpoint = try Checkpoint.open(original)
    try withTemporaryFolder { parent in
      let folder = parent.appendingPathComponent("new/model")
      try HuggingFaceWriter.write(
        checkpoint.spec, to: folder, values: { try checkpoint.tensors.read($0) })
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
          == ["config.json", "generation_config.json", "model.safetensors"])
      let again = try Checkpoint.open(folder)
      #expect(again.spec == checkpoint.spec)
      #expect(again.tensors.names == checkpoint.tensors.names)
      for tensor in checkpoint.tensors.names {
        let (found, expected) = (
          try again.tensors.read(tensor), try checkpoint.tensors.read(tensor)
        )
        #expect(found == expected)
      }
      // The file itself is what transformers wrote: names, shapes, numbers.
      let theirs = try Safetensors.File(original.appendingPathComponent("model.safetensors"))
      let ours = try Safetensors.File(folder.appendingPathComponent("model.safetensors"))
      #expect(ours.names == theirs.names)
      #expect(ours.metadata == ["format": "pt"])
      for tensor in theirs.names {
        #expect(ours.shape(of: tensor) == theirs.shape(of: tensor))
        let (found, expected) = (try ours.read(tensor), try theirs.read(tensor))
        #expect(found == expected)
      }
      // Every field of theirs that describes the network is in ours, with the same value.
      let before = try Self.json(original.appendingPathComponent("config.json"))
      let after = try Self.json(folder.appendingPathComponent("config.json"))
      let described = [
        "architectures", "model_type", "vocab_size", "hidden_size", "head_dim", "n_embd", "n_inner",
        "num_key_value_heads", "tie_word_embeddings", "attention_bias", "mlp_bias", "rms_norm_eps",
        "layer_norm_epsilon", "bos_token_id", "eos_token_id", "dtype", "rope_theta",
      ]
      for key in described where before[key] != nil && !(before[key] is NSNull) {
        let (old, new) = (before[key] as? NSObject, after[key] as? NSObject)
        #expect(old == new, "\(key): \(String(describing: old)), \(String(describing: new))")
      }
      #expect(after["torch_dtype"] as? String == "float32")
    }
  }

  @Test func `both generations of transformers find the rotary settings`() throws {
    let spec = try Checkpoint.open(Fixtures.url("models/llama-llama3")).spec
    let fields = try HuggingFaceWriter.configuration(
      spec, head: .language, type: .bfloat16, path: "config.json")
    #expect(fields["rope_theta"] == .double(100))
    guard case .object(let older)? = fields["rope_scaling"],
      case .object(let newer)? = fields["rope_parameters"]
    else {
      Issue.record("no settings")
      return
    }
    #expect(older["rope_type"] == .string("llama3") && older["rope_theta"] == nil)
    #expect(newer["rope_theta"] == .double(100))
    for key in older.keys { #expect(older[key] == newer[key]) }
    // Python must see floats: transformers warns of a factor of 4 in place of 4.0.
    #expect(JSONTree.object(newer).text().contains("\"factor\": 4.0"))
    #expect(fields["dtype"] == .string("bfloat16"))
  }

  @Test(arguments: ["llama-llama3", "gpt2"], [Safetensors.ElementType.float32, .bfloat16])
  func `a reward model is a classifier of one label`(
    name: String, type: Safetensors.ElementType
  ) throws {
    let checkpoint = try Checkpoint.open(Fixtures.url("models/\(name)"))
    let score = (0..<32).map { Float($0) / 16 - 1 }
    try withTemporaryFolder { folder in
      try HuggingFaceWriter.write(
        checkpoint.spec, to: folder, head: .scalar, as: type,
        values: { $0 == "score.weight" ? score : try checkpoint.tensors.read($0) })
      let again = try Checkpoint.open(folder)
      #expect(again.hasScalarHead)
      #expect(again.tensors.shape(of: "score.weight") == [1, 32])
      let found = try again.tensors.read("score.weight")
      #expect(found == score)
      // It has no language head any more.
      #expect(again.spec.tiedHead && again.tensors.shape(of: "lm_head.weight") == nil)
      let config = try Self.json(folder.appendingPathComponent("config.json"))
      let className = name == "gpt2" ? "GPT2" : "Llama"
      #expect(config["architectures"] as? [String] == [className + "ForSequenceClassification"])
      #expect((config["id2label"] as? [String: String])?.count == 1)
      #expect(config["pad_token_id"] is NSNull)
    }
  }

  @Test func `several ends go to the generation config`() throws {
    var spec = try Checkpoint.open(Fixtures.url("models/llama-tied")).spec
    spec.endOfSequence = [7, 2]
    try withTemporaryFolder { folder in
      try HuggingFaceWriter.write(
        spec, to: folder,
        values: { name in
          spec.tensors.first { $0.name == name }.map { [Float](repeating: 1, count: $0.count) }
        })
      let config = try Self.json(folder.appendingPathComponent("config.json"))
      #expect(config["eos_token_id"] as? Int == 7)
      let generation = try Self.json(folder.appendingPathComponent("generation_config.json"))
      #expect(generation["eos_token_id"] as? [Int] == [7, 2])
      let again = try Checkpoint.open(folder).spec
      #expect(again == spec)
    }
  }

  @Test func `a missing weight or one of another size leaves no model behind`() throws {
    let checkpoint = try Checkpoint.open(Fixtures.url("models/qwen2"))
    let name = "model.layers.1.mlp.up_proj.weight"
    for wrong in [nil, [Float(1)]] {
      try withTemporaryFolder { folder in
        let error = try #require(throws: EngineError.self) {
          try HuggingFaceWriter.write(
            checkpoint.spec, to: folder,
            values: { $0 == name ? wrong : try checkpoint.tensors.read($0) })
        }
        #expect(error.message.contains(name))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
      }
    }
  }

  @Test func `a model that transformers has no class for is refused`() throws {
    var spec = try Checkpoint.open(Fixtures.url("models/llama-tied")).spec
    spec.queryKeyValueBias = true
    try withTemporaryFolder { folder in
      let error = try #require(throws: EngineError.self) {
        try HuggingFaceWriter.write(spec, to: folder, values: { _ in nil })
      }
      #expect(error.message.contains("Llama has no such model"))
    }
  }
}

struct CheckpointTests {
  /// Copies a model's folder to change it.
  private func changed(
    _ name: String, _ change: (URL) throws -> Void, then body: (URL) throws -> Void
  ) throws {
    try withTemporaryFolder { parent in
      let folder = parent.appendingPathComponent("model")
      try FileManager.default.copyItem(at: Fixtures.url("models/\(name)"), to: folder)
      try change(folder)
      try body(folder)
    }
  }

  /// Rewrites model.safetensors with other tensors.
  private func rewrite(
    _ folder: URL,
    _ change: (inout [(name: String, shape: [Int], values: [Float])]) -> Void
  ) throws {
    let url = folder.appendingPathComponent("model.safetensors")
    let file = try Safetensors.File(url)
    var tensors =
      try file.names.map { ($0, file.shape(of: $0) ?? [], try file.read($0)) }
      as [(name: String, shape: [Int], values: [Float])]
    change(&tensors)
    try Safetensors.write(tensors, to: url)
  }

  private func message(_ folder: URL) throws -> String {
    try #require(throws: EngineError.self) { _ = try Checkpoint.open(folder) }.message
  }

  @Test func `a missing tensor is named`() throws {
    let name = "model.layers.1.self_attn.o_proj.weight"
    try changed("llama-tied") { folder in
      try rewrite(folder) { $0.removeAll { $0.name == name } }
    } then: { folder in
      let text = try message(folder)
      #expect(text == "\(folder.path): the tensor \(name) is missing")
    }
  }

  @Test func `a tensor of another shape is named`() throws {
    try changed("llama-tied") { folder in
      try rewrite(folder) { tensors in
        let index = tensors.firstIndex { $0.name == "model.norm.weight" } ?? 0
        tensors[index] = ("model.norm.weight", [31], [Float](repeating: 1, count: 31))
      }
    } then: { folder in
      let text = try message(folder)
      #expect(
        text
          == "\(folder.path): the tensor model.norm.weight has the shape [31], the configuration "
          + "says [32]")
    }
  }

  @Test func `a weight that the model has no place for is named`() throws {
    try changed("llama-tied") { folder in
      try rewrite(folder) {
        $0.append(("model.layers.0.self_attn.q_proj.bias", [32], [Float](repeating: 1, count: 32)))
        $0.append(("model.layers.0.self_attn.rotary_emb.inv_freq", [4], [1, 1, 1, 1]))
      }
    } then: { folder in
      let text = try message(folder)
      #expect(
        text.contains(
          "model.layers.0.self_attn.q_proj.bias has no place in a llama"))
    }
  }

  @Test func `a cut file is an error`() throws {
    try changed("qwen2") { folder in
      let url = folder.appendingPathComponent("model.safetensors")
      let data = try Data(contentsOf: url)
      try data.prefix(data.count - 100).write(to: url)
    } then: { folder in
      let text = try message(folder)
      #expect(text.contains("truncated"))
    }
  }

  @Test func `shards are read by their index`() throws {
    let plain = try Checkpoint.open(Fixtures.url("models/qwen3"))
    try changed("qwen3") { folder in
      let url = folder.appendingPathComponent("model.safetensors")
      let file = try Safetensors.File(url)
      var map: [String: String] = [:]
      for (part, names) in [file.names.prefix(9), file.names.dropFirst(9)].enumerated() {
        let shard = "model-0000\(part + 1)-of-00002.safetensors"
        try Safetensors.write(
          try names.map { ($0, file.shape(of: $0) ?? [], try file.read($0)) },
          to: folder.appendingPathComponent(shard))
        for name in names { map[name] = shard }
      }
      try FileManager.default.removeItem(at: url)
      try JSONEncoder().encode(["weight_map": map]).write(
        to: folder.appendingPathComponent("model.safetensors.index.json"))
    } then: { folder in
      let sharded = try Checkpoint.open(folder)
      for name in plain.tensors.names {
        let (found, expected) = (try sharded.tensors.read(name), try plain.tensors.read(name))
        #expect(found == expected)
      }
      let second = folder.appendingPathComponent("model-00002-of-00002.safetensors")
      try FileManager.default.removeItem(at: second)
      #expect(try message(folder) == "\(second.path): No such file or directory")
      for (map, expected) in [
        ("{\"weight_map\":{\"a\":\"../a.safetensors\"}}", "no file of this folder"),
        ("{\"weight_map\":{\"a\":7}}", "weight_map.a is not a string"),
        ("{}", "weight_map is missing"),
        ("[", "is no JSON object"),
      ] {
        try Data(map.utf8).write(to: folder.appendingPathComponent("model.safetensors.index.json"))
        #expect(try message(folder).contains(expected))
      }
    }
  }

  @Test func `GPT-2's first release, without its prefix, is read`() throws {
    let plain = try Checkpoint.open(Fixtures.url("models/gpt2"))
    try changed("gpt2") { folder in
      try rewrite(folder) { tensors in
        tensors = tensors.map {
          ($0.name.replacingOccurrences(of: "transformer.", with: ""), $0.shape, $0.values)
        }
        tensors.append(("h.0.attn.bias", [1, 1, 2, 2], [1, 0, 1, 1]))
      }
    } then: { folder in
      let bare = try Checkpoint.open(folder)
      for name in plain.tensors.names {
        let (found, expected) = (try bare.tensors.read(name), try plain.tensors.read(name))
        #expect(found == expected)
      }
    }
  }

  @Test func `pickled weights and folders of something else are refused`() throws {
    try changed("qwen2") { folder in
      try FileManager.default.moveItem(
        at: folder.appendingPathComponent("model.safetensors"),
        to: folder.appendingPathComponent("pytorch_model.bin"))
    } then: { folder in
      #expect(try message(folder).contains("pickled weights"))
      try FileManager.default.removeItem(at: folder.appendingPathComponent("pytorch_model.bin"))
      #expect(try message(folder).contains("has no model.safetensors"))
      try FileManager.default.removeItem(at: folder.appendingPathComponent("config.json"))
      #expect(try message(folder).contains("has no config.json"))
      #expect(try message(folder.appendingPathComponent("none")).contains("no such file"))
      #expect(
        try message(folder.appendingPathComponent("reference.json")).contains("neither a model"))
    }
  }

  @Test func `a classifier of several labels is refused`() throws {
    try changed("qwen2") { folder in
      let url = folder.appendingPathComponent("config.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      try Data(text.replacingOccurrences(of: "ForCausalLM", with: "ForSequenceClassification").utf8)
        .write(to: url)
    } then: { folder in
      let text = try message(folder)
      #expect(text.contains("num_labels is 2"))
    }
  }
}
