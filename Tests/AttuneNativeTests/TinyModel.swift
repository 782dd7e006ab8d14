// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// Every axis of the architecture, tiny, on the CPU; and a table.
enum TinyModel: String, CaseIterable, Sendable {
  case llama, untied, qwen2, qwen3, gpt2, gemma, olmo, granite, neox, table

  /// Those of the CPU's engine.
  static let native = allCases.filter { $0 != .table }

  var spec: TransformerSpec {
    switch self {
    case .llama:
      TransformerSpec(
        architecture: .llama, vocabularySize: 41, width: 24, layers: 3, heads: 6, keyValueHeads: 2,
        mlpWidth: 40, maximumPositions: 64, tiedHead: true)
    case .untied:
      TransformerSpec(
        architecture: .llama, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 40,
        maximumPositions: 64, attentionOutputBias: true, mlpBias: true)
    case .qwen2:
      TransformerSpec(
        architecture: .qwen2, vocabularySize: 41, width: 24, layers: 3, heads: 6, keyValueHeads: 3,
        mlpWidth: 40, maximumPositions: 64, queryKeyValueBias: true, tiedHead: true)
    case .qwen3:
      TransformerSpec(
        architecture: .qwen3, vocabularySize: 41, width: 24, layers: 3, heads: 4, keyValueHeads: 2,
        headWidth: 8, mlpWidth: 40, maximumPositions: 64, queryKeyNorm: .head, tiedHead: true)
    case .gpt2:
      TransformerSpec(
        architecture: .gpt2, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 96,
        maximumPositions: 64, norm: .layer, positions: .learned, mlp: .gelu,
        queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true, tiedHead: true)
    case .gemma: Self.gemmaSpec
    case .olmo: Self.olmoSpec
    case .granite: Self.graniteSpec
    case .neox: Self.neoxSpec
    case .table: TabularEngine.spec(vocabulary: 41, columns: 24, layers: 3, positions: 64)
    }
  }

  /// Norms on both sides with 1 + weight, windows, a rotary base of their own, scales and caps.
  private static var gemmaSpec: TransformerSpec {
    var spec = TransformerSpec(
      architecture: .gemma3, vocabularySize: 41, width: 24, layers: 3, heads: 4, keyValueHeads: 2,
      headWidth: 8, mlpWidth: 40, maximumPositions: 64, mlp: .geglu, queryKeyNorm: .head,
      tiedHead: true)
    (spec.normPlacement, spec.normOffset) = (.around, 1)
    (spec.embeddingScale, spec.attentionScale) = (24.squareRoot(), 0.3)
    (spec.attentionCap, spec.logitsCap) = (4, 6)
    let local = TransformerSpec.LayerAttention(
      window: 5, positions: .rotary(theta: 100, scaling: .none))
    spec.layerAttention = [local, .init(positions: spec.positions), local]
    return spec
  }

  /// Norms behind the blocks, queries and keys normalised whole, a layer without rotation, a window.
  private static var olmoSpec: TransformerSpec {
    var spec = TransformerSpec(
      architecture: .olmo2, vocabularySize: 41, width: 24, layers: 3, heads: 4, keyValueHeads: 2,
      headWidth: 8, mlpWidth: 40, maximumPositions: 64, queryKeyNorm: .all)
    spec.normPlacement = .after
    spec.layerAttention = [
      .init(window: 7, positions: spec.positions), .init(positions: nil),
      .init(positions: spec.positions),
    ]
    return spec
  }

  /// Scales everywhere, and queries and keys normalised behind their rotation.
  private static var graniteSpec: TransformerSpec {
    var spec = TransformerSpec(
      architecture: .granite, vocabularySize: 41, width: 24, layers: 3, heads: 6,
      keyValueHeads: 2, mlpWidth: 40, maximumPositions: 64, tiedHead: true)
    (spec.embeddingScale, spec.attentionScale) = (3, 0.4)
    (spec.residualScale, spec.logitsDivisor) = (0.5, 1.5)
    spec.queryKeyNorm = .headAfterRotation
    return spec
  }

  /// Blocks side by side, LayerNorm, a part of each head rotated.
  private static var neoxSpec: TransformerSpec {
    var spec = TransformerSpec(
      architecture: .gptNeoX, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 96,
      maximumPositions: 64, norm: .layer, mlp: .exactGELU, queryKeyValueBias: true,
      attentionOutputBias: true, mlpBias: true)
    (spec.isParallel, spec.rotaryWidth) = (true, 4)
    return spec
  }

  var engine: any Engine {
    get throws { self == .table ? TabularEngine() : try NativeEngine() }
  }

  /// Random weights, norms and biases too, large enough that every path matters.
  func frozen() throws -> any LanguageModel {
    let start = try engine.random(spec, seed: 7)
    let trained = try start.copy(training: .full)
    var random = SplitMix(seed: 11)
    try trained.setTrainedParameters(
      trained.trainedParameters().map { tensor in
        var tensor = tensor
        let isNormWeight = tensor.name.contains("norm") && !tensor.name.hasSuffix("bias")
        for i in tensor.values.indices {
          tensor.values[i] = random.float() * 0.3 + (isNormWeight ? 1 : 0)
        }
        return tensor
      })
    return try start.frozenCopy(of: trained.weight)
  }

  /// The same as the CPU's class, computing in a precision.
  func native(_ precision: Precision = .float32) throws -> NativeModel {
    let exact = try #require(frozen() as? NativeModel)
    guard precision != .float32 else { return exact }
    let start = try NativeModel.random(spec, seed: 7, on: NativeEngine(precision: precision))
    return try start.frozenCopy(of: exact.weight)
  }
}
