// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// Which numbers of a model lie in the arena of a copy that is trained, and where: adapters, or blocks
/// one after another, then the scalar head.
struct TrainedLayout {
  private let spec: TransformerSpec
  private let layouts: [BlockLayout]
  let adapters: LoRALayout?
  /// The blocks that are trained whole, by their index.
  let blocks: [Int]
  let scalarHeadOffset: Int?
  let count: Int

  /// - Parameters:
  ///   - trainable: Which numbers are trained.
  ///   - spec: The model.
  ///   - layouts: Its blocks.
  ///   - scalarHead: Whether there is a scalar head.
  /// - Throws: `EngineError` if what is to be trained does not fit the model.
  init(
    _ trainable: Trainable, spec: TransformerSpec, blocks layouts: [BlockLayout], scalarHead: Bool
  ) throws {
    var adapters: LoRALayout?
    var trained: [Int] = []
    switch trainable {
    case .frozen: break
    case .full: trained = Array(layouts.indices)
    case .lastLayers(let k):
      guard (1...spec.layers).contains(k) else {
        throw EngineError(
          .badRequest, "training the last \(k) layers: the model has \(spec.layers)")
      }
      trained = Array(layouts.count - 1 - k..<layouts.count)
      // An untied head is a frozen part of the last block, which then stays frozen whole.
      if !spec.tiedHead { trained.removeLast() }
    case .lora(let settings): adapters = try LoRALayout(settings, spec: spec)
    }
    self.spec = spec
    self.layouts = layouts
    let numbers = trained.reduce(adapters?.count ?? 0) { $0 + layouts[$1].count }
    self.adapters = adapters
    blocks = trained
    scalarHeadOffset = scalarHead ? numbers : nil
    count = numbers + (scalarHead ? spec.width : 0)
  }

  /// The arena's tensors.
  var tensors: [ArenaTensor] {
    var list: [ArenaTensor] = []
    func add(_ name: String, _ shape: [Int], at offset: Int) {
      list.append(ArenaTensor(name: name, shape: shape, offset: offset))
    }
    var start = 0
    for layout in blocks.map({ layouts[$0] }) {
      for tensor in layout.tensors {
        if let place = layout.place(tensor) {
          add(tensor.name, tensor.shape, at: start + place.offset)
        }
      }
      start += layout.count
    }
    for adapter in adapters?.layers.flatMap(\.groups).flatMap(\.adapters) ?? [] {
      let (name, rank) = (adapter.module.name, adapters?.settings.rank ?? 0)
      add(name + ".lora_A.weight", [rank, adapter.inputs], at: adapter.a)
      add(name + ".lora_B.weight", [adapter.outputs, rank], at: adapter.b)
    }
    if let scalarHeadOffset { add("score.weight", [1, spec.width], at: scalarHeadOffset) }
    return list
  }
}

/// A trained tensor, as it lies in a model's arena.
struct ArenaTensor {
  let name: String
  let shape: [Int]
  /// Where it begins.
  let offset: Int

  var count: Int { shape.reduce(1, *) }
}

extension Trainable {
  /// Whether gradients of passes are kept apart and summed by a tree, so that many processes have the bits of
  /// one; where all weights are trained each of its buffers would be as large as the model.
  var sumsByTree: Bool { self != .full }
}
