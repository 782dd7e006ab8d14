// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

extension NativeEngine {
  /// Refuses a model whose weights alone, as they are kept, are more than this process can have: the
  /// system would stop it in the middle, or not for a long time.
  ///
  /// - Parameters:
  ///   - spec: The model.
  ///   - source: Its file; nil of random weights.
  ///   - place: Where the model comes from, for the error.
  /// - Throws: `EngineError` with both sizes, or where it can't be kept as `--base-precision` says.
  func requireMemory(
    for spec: TransformerSpec, in source: (any TensorSource)?, at place: String
  ) throws {
    var needed = 0
    for group in spec.blocks.joined() {
      let form = try group.isMatrix ? form(of: group, in: source, at: place) : .float32
      for tensor in group.tensors {
        needed += (tensor.isMatrix ? form : .float32).bytes(tensor.count)
      }
    }
    let room = ProcessMemory.limit
    guard needed <= room else {
      func gigabytes(_ bytes: Int) -> String {
        let tenths = bytes / (1 << 20) * 10 / 1024
        return "\(tenths / 10).\(tenths % 10) GB"
      }
      throw EngineError(
        .unavailable,
        "\(place): the weights need \(gigabytes(needed)) of memory, this process can have "
          + "\(gigabytes(room)); take a smaller model, or keep it in fewer bits (--base-precision)")
    }
  }
}
