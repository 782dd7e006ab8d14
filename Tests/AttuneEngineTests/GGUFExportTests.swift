// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Foundation
import Testing

struct GGUFExportTests {
  /// The blocks of rows of numbers.
  private static func blocks(_ values: [Float], _ type: GGUFType) -> [UInt8] {
    var bytes = [UInt8](
      repeating: 0, count: values.count / type.blockElements * type.blockBytes)
    bytes.withUnsafeMutableBytes { room in
      guard let base = room.baseAddress else { return }
      values.withUnsafeBufferPointer { from in
        guard let from = from.baseAddress else { return }
        type.quantise(from, into: base, count: values.count)
      }
    }
    return bytes
  }

  private static func numbers(_ bytes: [UInt8], _ type: GGUFType, _ count: Int) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { room, filled in
      bytes.withUnsafeBytes { source in
        guard let base = room.baseAddress else { return }
        type.dequantise(source, into: base, count: count)
      }
      filled = count
    }
  }

  private static func error(_ one: [Float], _ two: [Float]) -> Double {
    zip(one, two).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
  }

  @Test(arguments: ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
  func `blocks of 32 are gguf-py's, bit for bit`(name: String) throws {
    let url = Fixtures.url("gguf/types.gguf")
    let file = try GGUF(url)
    let tensor = try #require(file.tensors[name])
    let expected = try Array(Data(contentsOf: url)[tensor.range])
    #expect(try Self.blocks(file.read("f32"), tensor.type) == expected)
  }

  @Test(arguments: ["q4_k", "q5_k", "q6_k"])
  func `blocks of 256 lose no more than ggml's`(name: String) throws {
    let values = Array(try GGUF(Fixtures.url("gguf/types.gguf")).read("f32")[1024...])
    let theirs = try GGUF(Fixtures.url("gguf/ggml.gguf"))
    let type = try #require(theirs.tensors[name]).type
    let ours = Self.numbers(Self.blocks(values, type), type, values.count)
    let (own, reference) = (Self.error(ours, values), Self.error(try theirs.read(name), values))
    #expect(own <= reference * 1.02, "\(own), ggml's \(reference)")
    #expect(own > reference * 0.8)
  }

  @Test func `blocks of one number, of zeros and of the smallest numbers are read again`() {
    for type in GGUFType.written {
      for value: Float in [0, 1.5, -2.25, 1e-30] {
        let values = [Float](repeating: value, count: 256)
        let again = Self.numbers(Self.blocks(values, type), type, 256)
        #expect(
          again.allSatisfy { abs($0 - value) <= max(0.01 * abs(value), 1e-7) }, "\(type) \(value)")
      }
    }
  }

  private static func write(_ name: String, to url: URL, as weights: GGUFWeights) throws -> [String]
  {
    let checkpoint = try Checkpoint.open(Fixtures.url("models/\(name)"))
    return try GGUFModel.write(
      checkpoint.spec, to: url, as: weights, notes: [], values: { try checkpoint.tensors.read($0) })
  }

  @Test(arguments: [
    "gemma", "gpt2", "granite", "llama-tied", "llama-yarn", "mistral", "olmo2", "phi3", "phi4-mini",
    "pythia", "qwen2", "qwen3", "smollm3", "stablelm",
  ])
  func `a file holds what llama.cpp's converter writes`(name: String) throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("model.gguf")
      _ = try Self.write(name, to: url, as: .f16)
      let (ours, theirs) = (
        try GGUF(url), try GGUF(Fixtures.url("models/\(name)/model.gguf"))
      )
      #expect(ours.names == theirs.names)
      for tensor in theirs.names {
        #expect(ours.shape(of: tensor) == theirs.shape(of: tensor))
        let (found, expected) = (try ours.read(tensor), try theirs.read(tensor))
        // Its positions are float32 here, as llama.cpp's converter has them.
        let room: Float = tensor == "position_embd.weight" ? 1e-3 : 1e-6
        #expect(
          zip(found, expected).allSatisfy { abs($0 - $1) <= room * max(1, abs($1)) }, "\(tensor)")
      }
      for (key, value) in theirs.metadata
      where !key.hasPrefix("tokenizer") && !(name == "phi4-mini" && key.hasSuffix("context_length"))
      {
        let found = ours.metadata[key]
        if let number = value.double, let own = found?.double {
          #expect(abs(number - own) <= 1e-6 * abs(number), "\(key)")
        } else {
          #expect(found == value, "\(key)")
        }
      }
      // Nothing else lies there: the name is given last.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["model.gguf"])
    }
  }

  @Test(arguments: [
    ("granite4", "granite"), ("hunyuan", "hunyuan-dense"), ("gemma3", "gemma3"),
    ("llama-llama3", "llama"),
  ])
  func `other families are read again as they were`(name: String, family: String) throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("model.gguf")
      _ = try Self.write(name, to: url, as: .f32)
      let again = try Checkpoint.open(url)
      let before = try Checkpoint.open(Fixtures.url("models/\(name)"))
      #expect(again.ggufMetadata?["general.architecture"]?.string == family)
      for tensor in before.tensors.names {
        let (found, expected) = (try again.tensors.read(tensor), try before.tensors.read(tensor))
        #expect(
          zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-6 * max(1, abs($1)) }, "\(tensor)")
      }
    }
  }

  @Test(arguments: [
    ("helium", "llama.cpp has no name for Helium"), ("ministral", "layerAttention"),
    ("gemma2", "attentionScale"), ("olmo3", "layerAttention"), ("exaone4", "64 layers"),
    ("ernie", "biases of the feed-forward layer"),
  ])
  func `what llama.cpp has no place for is refused with the reason`(name: String, why: String)
    throws
  {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("model.gguf")
      let error = try #require(throws: EngineError.self) {
        _ = try Self.write(name, to: url, as: .f32)
      }
      #expect(error.message.contains(why), "\(error.message)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }
  }

  @Test(arguments: ["mistral", "phi3"])
  func `a window that llama.cpp does not apply is told`(name: String) throws {
    try withTemporaryFolder { folder in
      let remarks = try Self.write(name, to: folder.appendingPathComponent("m.gguf"), as: .f32)
      #expect(remarks.count == 1 && remarks[0].contains("sliding window"))
    }
  }

  @Test
  func `mixtures give the sensitive matrices more bits, and rows that don't fit another type`()
    throws
  {
    var spec = TransformerSpec(
      architecture: .llama, vocabularySize: 64, width: 256, layers: 16, heads: 4, mlpWidth: 288,
      maximumPositions: 64, tiedHead: true)
    func type(_ name: String, _ weights: GGUFWeights) throws -> String {
      let tensor = try #require(spec.tensors.first { $0.name.contains(name) })
      return "\(weights.type(of: tensor, in: spec))"
    }
    #expect(try type("embed_tokens", .q4_k_m) == "Q6_K")
    #expect(try type("layers.0.self_attn.q_proj", .q4_k_m) == "Q4_K")
    let values = try (0..<16).map { try type("layers.\($0).self_attn.v_proj", .q4_k_m) }
    #expect(values.indices.filter { values[$0] == "Q6_K" } == [0, 1, 4, 7, 10, 13, 14, 15])
    // 288 columns are no whole blocks of 256, 264 none of 32.
    #expect(try type("layers.0.mlp.down_proj", .q4_k_m) == "Q8_0")
    #expect(try type("layers.2.mlp.down_proj", .q4_k_m) == "Q5_0")
    spec.mlpWidth = 264
    #expect(try type("layers.2.mlp.down_proj", .q4_k_m) == "F16")
    #expect(try type("layers.0.mlp.up_proj", .q4_0) == "Q4_0")
    #expect(try type("input_layernorm", .q4_0) == "F32")
    spec.tiedHead = false
    #expect(try type("embed_tokens", .q4_k_m) == "Q4_K")
    #expect(try type("lm_head", .q8_0) == "Q8_0")
  }

  @Test func `weights that are not finite are refused`() throws {
    let checkpoint = try Checkpoint.open(Fixtures.url("models/llama-tied"))
    try withTemporaryFolder { folder in
      let error = try #require(throws: EngineError.self) {
        try GGUFModel.write(
          checkpoint.spec, to: folder.appendingPathComponent("m.gguf"), as: .q8_0, notes: [],
          values: { name in
            var values = try checkpoint.tensors.read(name)
            if name.contains("up_proj") { values[3] = .nan }
            return values
          })
      }
      #expect(error.message.contains("up_proj") && error.message.contains("finite"))
    }
  }
}
