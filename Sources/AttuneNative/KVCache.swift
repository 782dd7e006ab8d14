// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

/// Keys and values of consecutive positions, for all layers: [layers][2][capacity, G·C].
///
/// The memory belongs to a `KVCache`, which hands blocks out and takes them back.
package struct KVBlock {
  let base: UnsafeMutableRawPointer
  /// How many positions there is room for.
  package let capacity: Int
  /// Bytes of one position's keys, G·C numbers.
  let stride: Int
  let slot: Int

  func keys(_ layer: Int) -> UnsafeMutableRawPointer {
    base + 2 * layer * capacity * stride
  }

  func values(_ layer: Int) -> UnsafeMutableRawPointer {
    base + (2 * layer + 1) * capacity * stride
  }
}

/// Blocks of one size for the sequences of one call, in one piece of memory.
///
/// Numbers are in float32 where products read the matrices themselves, else in bfloat16: most of attention's
/// time is reading them. A pass in bfloat16 rounds them too, and beside 8-bit codes it is the smaller rounding.
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
  ///   - weights: The model that keys and values are of.
  ///   - blocks: How many blocks.
  ///   - capacity: Positions in each.
  /// - Throws: `EngineError` if the memory can't be had.
  package convenience init(_ weights: ModelWeights, blocks: Int, capacity: Int) throws {
    try self.init(weights.spec, weights.copies, blocks: blocks, capacity: capacity)
  }

  /// - Parameters:
  ///   - spec: The model that keys and values are of.
  ///   - copies: Which copies of its matrices products read.
  ///   - blocks: How many blocks.
  ///   - capacity: Positions in each.
  /// - Throws: `EngineError` if the memory can't be had.
  init(_ spec: TransformerSpec, _ copies: SamplerCopy?, blocks: Int, capacity: Int) throws {
    self.capacity = capacity
    stride = SamplerCopy.cacheForm(beside: copies).bytes(spec.keyValueHeads * spec.headWidth)
    // Whole cache lines.
    blockSize = (2 * spec.layers * capacity * stride + 63) / 64 * 64
    memory = try FloatBuffer(blocks * blockSize / MemoryLayout<Float>.stride)
    free = Array((0..<blocks).reversed())
  }

  /// Bytes that a cache would take; nil if that is beyond counting.
  ///
  /// - Parameters:
  ///   - spec: The model.
  ///   - copies: Which copies of its matrices products read.
  ///   - blocks: How many blocks.
  ///   - capacity: Positions in each.
  static func bytes(
    _ spec: TransformerSpec, _ copies: SamplerCopy?, blocks: Int, capacity: Int
  ) -> Int? {
    var total = 2 * SamplerCopy.cacheForm(beside: copies).bytes(1)
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
      base: UnsafeMutableRawPointer(memory.pointer) + slot * blockSize, capacity: capacity,
      stride: stride, slot: slot)
  }

  /// Gives a block back.
  package func give(back block: KVBlock) { free.append(block.slot) }
}
