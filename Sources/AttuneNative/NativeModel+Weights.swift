// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension NativeModel {
  /// Calls `body` with the weights as matrices, adapters beside them, and rotary tables for as many
  /// positions as are asked for.
  ///
  /// - Parameters:
  ///   - positions: How many.
  ///   - sampler: Which numbers products will be computed with.
  ///   - body: Is lent the weights.
  package func withWeights<R>(
    positions: Int, sampler: Sampler = .same, _ body: (ModelWeights) throws -> R
  ) throws -> R {
    let copies = SamplerCopy(sampler, origin.engine.precision)
    if let copies { try make(copies) }
    let weights = ModelWeights(
      spec: spec, embeddings: embeddingBlock, layers: (0..<spec.layers).map(layerBlock),
      final: finalBlock,
      adapters: adapters.flatMap { layout in
        arena.map { Adapters(layout: layout, arena: UnsafePointer($0.pointer)) }
      }, rotary: try (0..<spec.layers).map { try rotary.tables($0, positions) }, copies: copies)
    return try withExtendedLifetime(self) { try body(weights) }
  }

  /// Makes a sampler's copies of the matrices of products: of frozen ones once, for all models that share
  /// them, of those that are trained whenever they have changed. Each of the two kinds lies in one piece of
  /// memory, which is large enough for large pages: frozen ones must not hold those of a model that is gone.
  private func make(_ copy: SamplerCopy) throws {
    var parts: [(block: ParameterBlock, roles: [ModuleRole]?)] =
      (0..<spec.layers).map { (layerBlock($0), nil) }
    parts.append(spec.tiedHead ? (embeddingBlock, [.embedding]) : (finalBlock, [.head]))
    for areTrained in [false, true] {
      let parts = parts.filter { $0.block.lies(in: arena) == areTrained }
      let room = parts.reduce(0) { $0 + $1.block.room(for: copy, of: $1.roles) }
      var memory = room > 0 ? FloatSlice(try FloatBuffer(room)) : nil
      for (block, roles) in parts {
        block.make(copy, of: roles, version: areTrained ? version : 0, in: &memory)
      }
    }
  }

  /// W += scale·B·A, where a layer's matrix has an adapter.
  func mergeAdapter(
    of tensor: TransformerSpec.Tensor, ofLayer i: Int, into floats: UnsafeMutablePointer<Float>
  ) throws {
    guard let adapters, let arena,
      let adapter = adapters[layer: i]?.groups.flatMap(\.adapters)
        .first(where: { $0.module.weight.name == tensor.name })
    else { return }
    let rank = adapters.settings.rank
    let scaled = try workspace.take(.lowRank, adapter.outputs * rank)
    scaled.update(from: arena.pointer + adapter.b, count: adapter.outputs * rank)
    atk_scale(scaled, adapters.scale, adapter.outputs * rank)
    atk_linear_backward_input(
      floats, scaled, arena.pointer + adapter.a, adapter.outputs, rank, adapter.inputs,
      adapter.inputs, rank, 1, ATK_PRODUCTS_FLOAT32)
  }
}
