// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// Which numbers of a model lie in the arena of a copy that is trained, and where: adapters, or blocks
/// one after another, then the scalar head.
struct TrainedLayout {
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
    let numbers = trained.reduce(adapters?.count ?? 0) { $0 + layouts[$1].count }
    self.adapters = adapters
    blocks = trained
    scalarHeadOffset = scalarHead ? numbers : nil
    count = numbers + (scalarHead ? spec.width : 0)
  }
}
