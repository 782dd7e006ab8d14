// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

/// Rare configurations against what transformers makes of them
/// (`Scripts/fixtures/variant_models.py`).
struct VariantParityTests {
  struct Reference: Decodable {
    let input_ids: [Int32]
    let token_log_probabilities: [Double]
    let global_gradient_norm: Double
  }

  static let names = [
    "qwen2-yarn-beyond", "llama-yarn-scales", "llama-dynamic", "mistral-window", "qwen2-window",
    "gpt2-gelu", "gpt2-relu", "llama-own-head", "llama-float64",
  ]

  static func reference(_ name: String) throws -> Reference {
    try JSONDecoder().decode(
      Reference.self, from: Data(contentsOf: Fixtures.url("variants/\(name)/reference.json")))
  }

  /// How far log-probabilities and the gradient's norm are from transformers'.
  static func compare(_ checkpoint: Checkpoint, _ reference: Reference) throws {
    let model = try NativeModel.load(checkpoint, on: NativeEngine()).copy(training: .full)
    let ids = reference.input_ids
    let count = Double(ids.count - 1)
    model.zeroGradients()
    let scores = try model.supervise(
      [Segment(ids, scored: [1..<ids.count])],
      weights: [[Double](repeating: 1 / count, count: ids.count - 1)])
    for (ours, theirs) in zip(scores.logProbabilities[0], reference.token_log_probabilities) {
      #expect(abs(ours - theirs) < 2e-4)
    }
    #expect(abs(model.gradientNorm() / reference.global_gradient_norm - 1) < 1e-3)
  }

  @Test(arguments: names)
  func `scores and gradients are those of transformers, also when written again`(
    name: String
  ) throws {
    let checkpoint = try Checkpoint.open(Fixtures.url("variants/\(name)"))
    let reference = try Self.reference(name)
    try Self.compare(checkpoint, reference)
    try withTemporaryFolder { folder in
      try NativeModel.load(checkpoint, on: NativeEngine()).write(to: folder)
      let again = try Checkpoint.open(folder)
      #expect(again.spec.positions == checkpoint.spec.positions)
      #expect(again.spec.mlp == checkpoint.spec.mlp)
      #expect(again.spec.maximumPositions == checkpoint.spec.maximumPositions)
      try Self.compare(again, reference)
    }
  }

  @Test func `the longest text is what the configuration reaches`() throws {
    func spec(_ name: String) throws -> TransformerSpec {
      try Checkpoint.open(Fixtures.url("variants/\(name)")).spec
    }
    #expect(try spec("qwen2-yarn-beyond").maximumPositions == 64)
    #expect(try spec("llama-dynamic").maximumPositions == 24)
    #expect(try !spec("llama-own-head").tiedHead)
    #expect(try spec("llama-float64").tiedHead)
    let mistral = try spec("mistral-window")
    #expect(mistral.maximumPositions == 64 && mistral.architecture == .mistral)
    #expect(mistral.layerAttention.map(\.window) == [20, 20])
    #expect(try spec("qwen2-window").layerAttention.map(\.window) == [nil, 20])
  }

  @Test func `a tied head's equal copy is the embedding`() throws {
    try withTemporaryFolder { folder in
      let source = Fixtures.url("variants/llama-float64")
      let file = try Safetensors.File(source.appending(path: "model.safetensors"))
      var tensors = try file.names.map { ($0, file.shape(of: $0) ?? [], try file.read($0)) }
      tensors.append(
        ("lm_head.weight", [64, 16], try file.read("model.embed_tokens.weight")))
      try Safetensors.write(tensors, to: folder.appending(path: "model.safetensors"))
      try FileManager.default.copyItem(
        at: source.appending(path: "config.json"), to: folder.appending(path: "config.json"))
      #expect(try Checkpoint.open(folder).spec.tiedHead)
    }
  }
}
