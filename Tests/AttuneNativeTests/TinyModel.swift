// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// Every axis of the architecture, tiny, on the CPU; and a table.
enum TinyModel: String, CaseIterable, Sendable {
  case llama, untied, qwen2, qwen3, gpt2, table

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
        headWidth: 8, mlpWidth: 40, maximumPositions: 64, queryKeyNorm: true, tiedHead: true)
    case .gpt2:
      TransformerSpec(
        architecture: .gpt2, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 96,
        maximumPositions: 64, norm: .layer, positions: .learned, mlp: .gelu,
        queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true, tiedHead: true)
    case .table: TabularEngine.spec(vocabulary: 41, columns: 24, layers: 3, positions: 64)
    }
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
