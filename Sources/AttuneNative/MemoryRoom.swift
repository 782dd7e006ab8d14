// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

extension TransformerSpec {
  /// Refuses a model whose weights alone are more than this process can have: the system would
  /// stop it in the middle, or not for a long time.
  ///
  /// - Parameters:
  ///   - place: Where the model comes from, for the error.
  ///   - precision: How its layers are kept.
  /// - Throws: `EngineError` with both sizes.
  func requireMemory(_ place: String, precision: FrozenPrecision) throws {
    let layers = tensors.reduce(0) { $0 + ($1.layer == nil ? 0 : $1.count) }
    let saved = precision == .bfloat16 ? 2 * layers : 0
    let needed = 4 * parameterCount - saved
    let room = ProcessMemory.limit
    guard needed <= room else {
      func gigabytes(_ bytes: Int) -> String {
        let tenths = bytes / (1 << 20) * 10 / 1024
        return "\(tenths / 10).\(tenths % 10) GB"
      }
      throw EngineError(
        .unavailable,
        "\(place): the weights need \(gigabytes(needed)) of memory, this process can have "
          + "\(gigabytes(room)); take a smaller model")
    }
  }
}
