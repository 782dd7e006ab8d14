// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// An engine of tables, for tests of what stands on the engine's protocol: exact in a few operations.
///
/// The logits of a context are two columns of a table: the first, which every context has, and one
/// that follows from all tokens so far. Each layer has such a table, its `mlp.up_proj` [V, D], and
/// they are summed, so that layers can be frozen, adapted and run apart as a network's are. The
/// scalar head reads the same two columns. Other weights are there to be written and read.
public struct TabularEngine: Engine {
  /// Whether it gives trunks; an engine need not.
  public var hasTrunks: Bool
  /// What logits are of the numbers of tables: AdamW moves a number by the learning rate a step,
  /// and a network's logits by many times that.
  public var gain: Double

  /// Makes an engine.
  public init(hasTrunks: Bool = true, gain: Double = 1) {
    self.hasTrunks = hasTrunks
    self.gain = gain
  }

  /// A model's sizes: V rows of tables, D columns.
  public static func spec(
    vocabulary: Int, columns: Int = 17, layers: Int = 2, positions: Int = 128
  ) -> TransformerSpec {
    TransformerSpec(
      architecture: .llama, vocabularySize: vocabulary, width: columns, layers: layers, heads: 1,
      headWidth: 2, mlpWidth: vocabulary, maximumPositions: positions, tiedHead: true)
  }

  /// Always the same: nothing of the machine changes a number.
  public var record: EngineRecord {
    EngineRecord(library: "tables", threads: 1, precision: .float32)
  }

  /// A table has no activations to compute again, and too few numbers to keep their moments as codes.
  public var unreadKnobs: [(knob: String, why: String)] {
    [
      ("recompute", "a table has no activations"),
      ("optimizer", "a table keeps its moments in float32"),
    ]
  }

  /// Tables are small.
  public func requireMemory(for checkpoint: Checkpoint) {}

  /// The tables, twice where they are trained: passes take next to nothing.
  public func memory(for work: ModelWork, of spec: TransformerSpec) -> MemoryEstimate {
    var estimate = MemoryEstimate()
    estimate[.base] = 4 * spec.parameterCount
    if work.trainable != .frozen { estimate[.weights] = 4 * spec.parameterCount }
    return estimate
  }

  /// Reads a model that `spec` describes.
  public func load(_ checkpoint: Checkpoint) throws -> any LanguageModel {
    var numbers: [String: [Float]] = [:]
    for name in checkpoint.tensors.names { numbers[name] = try checkpoint.tensors.read(name) }
    return try TabularModel(checkpoint.spec, numbers, on: self)
  }

  /// Normal numbers of deviation 0.02; norms 1.
  public func random(_ spec: TransformerSpec, seed: UInt64) throws -> any LanguageModel {
    var numbers: [String: [Float]] = [:]
    for (stream, tensor) in spec.tensors.enumerated() {
      var random = SplitMix(seed: seed &* 1000 &+ UInt64(stream))
      numbers[tensor.name] = (0..<tensor.count).map { _ in
        // A sum of twelve uniform numbers in ±1 has the variance 4.
        tensor.shape.count == 1 ? 1 : 0.01 * (0..<12).reduce(0) { sum, _ in sum + random.float() }
      }
    }
    return try TabularModel(spec, numbers, on: self)
  }

  /// None to speak of.
  public func matrixProductRate(of spec: TransformerSpec) -> Double { 1 }
}
