// SPDX-License-Identifier: Apache-2.0

import CAttuneKernels

extension NativeModel {
  /// Calls `body` with the weights as plain matrices, adapters merged in, and rotary tables for as
  /// many positions as are asked for.
  package func withPlainWeights<R>(positions: Int, _ body: (ModelWeights) throws -> R) throws -> R {
    let layers = try (0..<spec.layers).map { try plainLayer($0) }
    let (cosine, sine) = rotary.tables(positions)
    let headBlock = spec.tiedHead ? embeddingBlock : finalBlock
    guard let embedding = embeddingBlock.matrix(.embedding),
      let head = headBlock.matrix(spec.tiedHead ? .embedding : .head),
      let finalNorm = finalBlock.vector(.finalNorm)
    else { throw EngineError(.badModel, "the model has no embeddings") }
    let weights = ModelWeights(
      spec: spec, embedding: embedding,
      positionEmbedding: embeddingBlock.matrix(.positionEmbedding), layers: layers,
      finalNorm: UnsafePointer(finalNorm),
      finalNormBias: finalBlock.vector(.finalNormBias).map { UnsafePointer($0) },
      head: head,
      ropeCosine: cosine, ropeSine: sine)
    return try withExtendedLifetime(self) { try body(weights) }
  }

  /// A layer's numbers with adapters merged in; merged copies are kept until weights change.
  func plainBlock(_ i: Int) -> ParameterBlock {
    let original = layerBlock(i)
    guard let adapters, let layer = adapters[layer: i], let arena else { return original }
    if let block = merged[i], block.version == version { return block.block }
    let block = merged[i]?.block ?? ParameterBlock(original.layout)
    merge(layer, of: adapters, arena: arena, from: original, into: block)
    merged[i] = (version, block)
    return block
  }

  private func plainLayer(_ i: Int) throws -> LayerWeights {
    let block = plainBlock(i)
    let size = LayerSizes(spec, rows: 1)
    let gate: ParameterRole = spec.mlp == .swiglu ? .gate : .up
    guard let norm1 = block.vector(.inputNorm), let norm2 = block.vector(.middleNorm),
      let qkv = block.matrix(.query, rows: size.fused), let out = block.matrix(.output),
      let gateUp = block.matrix(gate, rows: size.gates), let down = block.matrix(.down)
    else { throw EngineError(.badModel, "layer \(i) lacks a weight") }
    func vector(_ role: ParameterRole) -> UnsafePointer<Float>? {
      block.vector(role).map { UnsafePointer($0) }
    }
    return LayerWeights(
      norm1: norm1, norm1Bias: vector(.inputNormBias), qkv: qkv, qkvBias: vector(.queryBias),
      qNorm: vector(.queryNorm), kNorm: vector(.keyNorm), out: out, outBias: vector(.outputBias),
      norm2: norm2, norm2Bias: vector(.middleNormBias), gateUp: gateUp,
      gateUpBias: vector(spec.mlp == .swiglu ? .gateBias : .upBias), down: down,
      downBias: vector(.downBias))
  }

  /// W + scale·B·A of every adapted matrix of a layer, the rest copied.
  private func merge(
    _ layer: LoRALayout.Layer, of adapters: LoRALayout, arena: FloatBuffer,
    from original: ParameterBlock, into block: ParameterBlock
  ) {
    for tensor in original.layout.tensors {
      if let floats = block.floats(tensor) { original.copy(tensor, to: floats) }
    }
    let rank = adapters.settings.rank
    for adapter in layer.groups.flatMap(\.adapters) {
      guard let tensor = block.layout[adapter.projection.role], let floats = block.floats(tensor)
      else { continue }
      let scaled = workspace.take(.lowRank, adapter.outputs * rank)
      scaled.update(from: arena.pointer + adapter.b, count: adapter.outputs * rank)
      atk_scale(scaled, adapters.scale, adapter.outputs * rank)
      atk_linear_backward_input(
        floats, scaled, arena.pointer + adapter.a, adapter.outputs, rank, adapter.inputs,
        adapter.inputs, rank, 1)
    }
  }
}
