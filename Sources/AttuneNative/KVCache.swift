// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import Foundation

/// Keys and values of consecutive positions, for all layers: [layers][2][capacity, G·C].
///
/// The memory belongs to a `KVCache`, which hands blocks out and takes them back.
package struct KVBlock {
  let base: UnsafeMutablePointer<Float>
  /// How many positions there is room for.
  package let capacity: Int
  /// Floats of one position's keys, G·C.
  let stride: Int
  let slot: Int

  func keys(_ layer: Int) -> UnsafeMutablePointer<Float> {
    base + 2 * layer * capacity * stride
  }

  func values(_ layer: Int) -> UnsafeMutablePointer<Float> {
    base + (2 * layer + 1) * capacity * stride
  }
}

/// Blocks of one size for the sequences of one call, in one piece of memory.
///
/// Pages are the system's until they are first written, so room for longer texts than come costs
/// nothing.
package final class KVCache {
  private let memory: FloatBuffer
  private let capacity: Int
  private let stride: Int
  private let blockSize: Int
  private var free: [Int]

  /// - Parameters:
  ///   - spec: The model.
  ///   - blocks: How many blocks.
  ///   - capacity: Positions in each.
  /// - Throws: `EngineError` if the memory can't be had.
  package init(_ spec: TransformerSpec, blocks: Int, capacity: Int) throws {
    self.capacity = capacity
    stride = spec.keyValueHeads * spec.headWidth
    // Whole cache lines.
    blockSize = (2 * spec.layers * capacity * stride + 15) / 16 * 16
    memory = try FloatBuffer(blocks * blockSize)
    free = Array((0..<blocks).reversed())
  }

  /// Bytes that a cache would take; nil if that is beyond counting.
  static func bytes(_ spec: TransformerSpec, blocks: Int, capacity: Int) -> Int? {
    var total = 2 * MemoryLayout<Float>.stride
    for factor in [spec.layers, spec.keyValueHeads, spec.headWidth, capacity, blocks] {
      let (product, overflow) = total.multipliedReportingOverflow(by: factor)
      if overflow { return nil }
      total = product
    }
    return total
  }

  /// A free block; what it holds is undefined. There must be one.
  package func take() -> KVBlock {
    guard let slot = free.popLast() else {
      preconditionFailure("more sequences are alive than the cache was made for")
    }
    return KVBlock(
      base: memory.pointer + slot * blockSize, capacity: capacity, stride: stride, slot: slot)
  }

  /// Gives a block back.
  package func give(back block: KVBlock) { free.append(block.slot) }
}
