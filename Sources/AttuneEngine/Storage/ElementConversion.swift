// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Conversions between float32 and what files hold. They are plain integer arithmetic, exact or
/// rounded to nearest even, and vectorise on every machine.
package enum ElementConversion {
  /// The float32 that a float16 is.
  @inline(__always)
  package static func float(half bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let magnitude = UInt32(bits & 0x7FFF) << 13
    // The exponent moves from bias 15 to bias 127 by a product, which serves subnormals too.
    let moved = (Float(bitPattern: magnitude) * 0x1p112).bitPattern
    let value = magnitude >= 0x0F80_0000 ? moved | 0x7F80_0000 : moved
    return Float(bitPattern: value | sign)
  }

  /// The float16 nearest to a float32.
  @inline(__always)
  package static func half(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
    if magnitude < 0x3880_0000 {
      // Below float16's normal numbers: adding ½ leaves the rounded subnormal in the low bits.
      let shifted = Float(bitPattern: magnitude) + 0.5
      return sign | UInt16(truncatingIfNeeded: shifted.bitPattern &- Float(0.5).bitPattern)
    }
    let odd = (magnitude >> 13) & 1
    let rounded = magnitude &+ 0xFFF &+ odd &- 0x3800_0000
    return sign | UInt16(truncatingIfNeeded: rounded >> 13)
  }

  /// The float32 that a bfloat16 is.
  @inline(__always)
  package static func float(brain bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

  /// The bfloat16 nearest to a float32.
  @inline(__always)
  package static func brain(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if bits & 0x7FFF_FFFF > 0x7F80_0000 { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
  }

  /// Runs `body` on parts of `0..<count`, on all cores if there are many; the first error is thrown.
  package static func parts(
    _ count: Int, of size: Int, _ body: @Sendable (Range<Int>) throws -> Void
  ) throws {
    guard count > 0 else { return }
    let pieces = (count - 1) / size + 1
    if pieces == 1 { return try body(0..<count) }
    let failure = Mutex<(any Error)?>(nil)
    DispatchQueue.concurrentPerform(iterations: pieces) { piece in
      do {
        try body(piece * size..<min(count, (piece + 1) * size))
      } catch {
        failure.withLock { $0 = $0 ?? error }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
  }
}
