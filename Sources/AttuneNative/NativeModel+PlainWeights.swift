// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension NativeModel {
  /// Calls `body` with the weights as plain matrices, adapters merged in, and rotary tables for as
  /// many positions as are asked for.
  ///
  /// - Parameters:
  ///   - positions: How many.
  ///   - sampler: Which numbers products will be computed with.
  ///   - body: Is lent the weights.
  package func withPlainWeights<R>(
    positions: Int, sampler: Sampler = .same, _ body: (ModelWeights) throws -> R
  ) throws -> R {
    let (cosine, sine) = try rotary.tables(positions)
    let layers = try (0..<spec.layers).map { try plainBlock($0) }
    if sampler == .int8 { try makeInt8(layers) }
    let weights = ModelWeights(
      spec: spec, embeddings: embeddingBlock, layers: layers, final: finalBlock,
      ropeCosine: cosine, ropeSine: sine, sampler: sampler)
    return try withExtendedLifetime(self) { try body(weights) }
  }

  /// Rounds the matrices of products to 8-bit codes: frozen ones once, for all models that share them,
  /// those that are trained or merged whenever they have changed.
  private func makeInt8(_ layers: [ParameterBlock]) throws {
    for (i, layer) in layers.enumerated() {
      let changes = layer !== layerBlock(i) || layer.lies(in: arena)
      try layer.makeInt8(version: changes ? version : 0)
    }
    let head = spec.tiedHead ? embeddingBlock : finalBlock
    try head.makeInt8(
      [spec.tiedHead ? .embedding : .head], version: head.lies(in: arena) ? version : 0)
  }

  /// A layer's numbers with adapters merged in: the matrices that have some in float32, all others as they
  /// are. Merged copies are kept until weights change.
  func plainBlock(_ i: Int) throws -> ParameterBlock {
    let original = layerBlock(i)
    guard let adapters, let layer = adapters[layer: i], let arena else { return original }
    if let block = merged[i], block.version == version { return block.block }
    let adapted = Set(
      layer.groups.flatMap(\.adapters).compactMap {
        original.layout.group($0.module.role)?.modules[0].role
      })
    let block: ParameterBlock
    if let stale = merged[i]?.block {
      stale.copyMatrices(adapted, from: original)
      block = stale
    } else {
      block = try ParameterBlock(sharing: original, apartFrom: adapted)
    }
    try merge(layer, of: adapters, arena: arena, into: block)
    merged[i] = (version, block)
    return block
  }

  /// W + scale·B·A of every adapted matrix of a layer, which holds W.
  private func merge(
    _ layer: LoRALayout.Layer, of adapters: LoRALayout, arena: FloatBuffer,
    into block: ParameterBlock
  ) throws {
    let rank = adapters.settings.rank
    for adapter in layer.groups.flatMap(\.adapters) {
      guard let floats = block.floats(adapter.module.weight) else { continue }
      let scaled = try workspace.take(.lowRank, adapter.outputs * rank)
      scaled.update(from: arena.pointer + adapter.b, count: adapter.outputs * rank)
      atk_scale(scaled, adapters.scale, adapter.outputs * rank)
      atk_linear_backward_input(
        floats, scaled, arena.pointer + adapter.a, adapter.outputs, rank, adapter.inputs,
        adapter.inputs, rank, 1, ATK_PRODUCTS_FLOAT32)
    }
  }
}
