// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Zeroed, page-aligned memory for floats, given back when the last reference goes.
///
/// Pages come from the system when they are first touched, so a buffer for moments that are never
/// used costs nothing; large ones ask for huge pages, which the matrix products like.
package final class FloatBuffer {
  package let pointer: UnsafeMutablePointer<Float>
  package let count: Int
  private let bytes: Int

  /// - Parameter count: How many floats.
  /// - Throws: `EngineError` if the memory can't be had.
  package init(_ count: Int) throws {
    let page = 4096
    bytes = max(page, (count * MemoryLayout<Float>.stride + page - 1) / page * page)
    let memory = try ProcessMemory.map(bytes)
    #if os(Linux)
      if bytes >= 4 << 20 { madvise(memory, bytes, MADV_HUGEPAGE) }
    #endif
    pointer = memory.bindMemory(to: Float.self, capacity: max(1, count))
    self.count = count
  }

  deinit { munmap(pointer, bytes) }

  package var mutableBuffer: UnsafeMutableBufferPointer<Float> {
    .init(start: pointer, count: count)
  }
}

/// A part of a buffer, which lives as long as any part of it does.
struct FloatSlice {
  private let buffer: FloatBuffer
  private var range: Range<Int>

  init(_ buffer: FloatBuffer) {
    self.buffer = buffer
    range = 0..<buffer.count
  }

  var pointer: UnsafeMutablePointer<Float> { buffer.pointer + range.lowerBound }
  var count: Int { range.count }

  /// Its first `count` floats, which it then has no more. It must have as many.
  mutating func take(_ count: Int) -> FloatSlice {
    precondition(count <= range.count, "more floats are taken than there is room for")
    var taken = self
    taken.range = range.prefix(count)
    range = range.dropFirst(count)
    return taken
  }
}

/// Buffers by slot that grow and are used again: no allocation once the largest batch was seen.
final class Workspace {
  enum Slot: Hashable {
    case stream, streamGradient, normed, normedGradient, attention, attentionGradient
    case queryKeyValue, queryKeyValueGradient, gateUp, gateUpGradient
    case activated, activatedGradient, logSumExp, rstdQuery, rstdKey
    case lowRank, lowRankGradient
    case branch, branchGradient, parallelGradient
    case headRows, headNormed, headNormedGradient, headRowsGradient, headRstd, headMean
    case headLogProbability, headLogSumExp, headEntropy, headUntempered, headCandidates, headLogits
    case otherHeadNormed
    case layer(Int, Kept)
    /// The same in bfloat16.
    case halves(Int, Kept)
  }
  /// What a layer keeps for its backward pass.
  enum Kept: Hashable, CaseIterable {
    case input, rstd1, mean1, queryKeyValue, raw, rstdQuery, rstdKey, attention, logSumExp
    case middle, rstd2, mean2, gateUp, lowRankInput, lowRankOutput, lowRankGate, lowRankDown
    case attentionOutput, rstd3, mlpOutput, rstd4
  }

  private var buffers: [Slot: FloatBuffer] = [:]
  /// Counts passes: models of one origin share this memory, and what one of them kept is gone with
  /// the next pass of any.
  private(set) var pass = 0

  /// - Throws: `CancellationError` in a task that was cancelled.
  func beginPass() throws {
    try Task.checkCancellation()
    pass += 1
  }

  /// Memory for at least `count` floats; what it held is undefined.
  func take(_ slot: Slot, _ count: Int) throws -> UnsafeMutablePointer<Float> {
    if let buffer = buffers[slot], buffer.count >= count { return buffer.pointer }
    buffers[slot] = nil
    let buffer = try FloatBuffer(count)
    buffers[slot] = buffer
    return buffer.pointer
  }

  /// Memory of what all layers work in, one after another.
  func take(_ slot: Slot, _ size: LayerSizes) throws -> UnsafeMutablePointer<Float> {
    try take(slot, size.rows * size.columns(slot))
  }

  /// Bytes of all buffers.
  var bytes: Int { buffers.values.reduce(0) { $0 + 4 * $1.count } }

  /// Gives all memory back, and with it what a pass kept.
  func release() {
    buffers = [:]
    pass += 1
  }
}
