// SPDX-License-Identifier: Apache-2.0

/// Types of GGUF tensors that are read. A quantised type holds blocks of elements, each with a
/// scale of its own; the layouts are ggml's (`ggml-common.h`).
package enum GGUFType: UInt32, Sendable, CaseIterable, CustomStringConvertible {
  case f32 = 0
  case f16 = 1
  case q4_0 = 2
  case q4_1 = 3
  case q8_0 = 8
  case q4K = 12
  case q6K = 14
  case bf16 = 30

  /// The name of any of ggml's types.
  package static func name(_ number: UInt32) -> String {
    let names = [
      "F32", "F16", "Q4_0", "Q4_1", "type 4", "type 5", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K",
      "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL",
      "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16",
    ]
    return Int(number) < names.count ? names[Int(number)] : "type \(number)"
  }

  package var description: String { Self.name(rawValue) }

  /// Elements that share a block.
  package var blockElements: Int {
    switch self {
    case .f32, .f16, .bf16: 1
    case .q4_0, .q4_1, .q8_0: 32
    case .q4K, .q6K: 256
    }
  }

  /// Bytes of a block.
  package var blockBytes: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .q4_0: 2 + 16
    case .q4_1: 2 + 2 + 16
    case .q8_0: 2 + 32
    case .q4K: 2 + 2 + 12 + 128
    case .q6K: 128 + 64 + 16 + 2
    }
  }

  /// Writes the float32 values of whole blocks.
  ///
  /// - Parameters:
  ///   - bytes: The blocks, `count / blockElements · blockBytes` bytes.
  ///   - output: Room for `count` elements.
  ///   - count: A multiple of `blockElements`.
  package func dequantise(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutablePointer<Float>, count: Int
  ) {
    precondition(count % blockElements == 0, "\(self): \(count) elements are no whole blocks")
    precondition(bytes.count == count / blockElements * blockBytes, "\(self): blocks are missing")
    guard let base = bytes.baseAddress else { return }
    switch self {
    case .f32:
      UnsafeMutableRawPointer(output).copyMemory(from: base, byteCount: bytes.count)
    case .f16:
      for index in 0..<count { output[index] = Self.half(base, index * 2) }
    case .bf16:
      for index in 0..<count {
        let bits = base.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
        output[index] = ElementConversion.float(brain: bits)
      }
    case .q4_0, .q4_1, .q8_0, .q4K, .q6K:
      let block: (UnsafeRawPointer, UnsafeMutablePointer<Float>) -> Void =
        switch self {
        case .q4_0: Self.block4_0
        case .q4_1: Self.block4_1
        case .q8_0: Self.block8_0
        case .q4K: Self.block4K
        default: Self.block6K
        }
      for index in 0..<count / blockElements {
        block(base + index * blockBytes, output + index * blockElements)
      }
    }
  }

  @inline(__always)
  private static func half(_ base: UnsafeRawPointer, _ offset: Int) -> Float {
    ElementConversion.float(half: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  /// d, 16 bytes: element i is the low half of byte i, element i + 16 the high one; d · (q − 8).
  private static func block4_0(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let quants = (base + 2).assumingMemoryBound(to: UInt8.self)
    for index in 0..<16 {
      output[index] = Float(Int32(quants[index] & 15) &- 8) * scale
      output[index + 16] = Float(Int32(quants[index] >> 4) &- 8) * scale
    }
  }

  /// d, m, 16 bytes as above; d · q + m.
  private static func block4_1(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let minimum = half(base, 2)
    let quants = (base + 4).assumingMemoryBound(to: UInt8.self)
    for index in 0..<16 {
      output[index] = Float(Int32(quants[index] & 15)) * scale + minimum
      output[index + 16] = Float(Int32(quants[index] >> 4)) * scale + minimum
    }
  }

  /// d, 32 signed bytes; d · q.
  private static func block8_0(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let quants = (base + 2).assumingMemoryBound(to: Int8.self)
    for index in 0..<32 { output[index] = Float(Int32(quants[index])) * scale }
  }

  /// d, dmin, 12 bytes with eight 6-bit scales and minima, 128 bytes: groups of 32 elements, two in
  /// each 32 bytes; d · scale · q − dmin · minimum.
  private static func block4K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let minimumScale = half(base, 2)
    let packed = (base + 4).assumingMemoryBound(to: UInt8.self)
    func group(_ index: Int) -> (scale: Float, minimum: Float) {
      let (low, high): (UInt8, UInt8)
      if index < 4 {
        (low, high) = (packed[index] & 63, packed[index + 4] & 63)
      } else {
        low = (packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4)
        high = (packed[index + 4] >> 4) | ((packed[index] >> 6) << 4)
      }
      return (scale * Float(low), minimumScale * Float(high))
    }
    for pair in 0..<4 {
      let quants = (base + 16 + pair * 32).assumingMemoryBound(to: UInt8.self)
      let (scaleLow, minimumLow) = group(2 * pair)
      let (scaleHigh, minimumHigh) = group(2 * pair + 1)
      let place = output + pair * 64
      for index in 0..<32 {
        place[index] = scaleLow * Float(Int32(quants[index] & 15)) - minimumLow
        place[index + 32] = scaleHigh * Float(Int32(quants[index] >> 4)) - minimumHigh
      }
    }
  }

  /// 128 bytes of low halves, 64 of upper two bits, 16 signed scales, d; d · scale · (q − 32), each
  /// scale for 16 elements.
  private static func block6K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 208)
    for side in 0..<2 {
      let low = (base + side * 64).assumingMemoryBound(to: UInt8.self)
      let high = (base + 128 + side * 32).assumingMemoryBound(to: UInt8.self)
      let scales = (base + 192 + side * 8).assumingMemoryBound(to: Int8.self)
      let place = output + side * 128
      for sixteen in 0..<2 {
        let (s0, s1) = (scale * Float(scales[sixteen]), scale * Float(scales[sixteen + 2]))
        let (s2, s3) = (scale * Float(scales[sixteen + 4]), scale * Float(scales[sixteen + 6]))
        for index in sixteen * 16..<sixteen * 16 + 16 {
          let (a, b, upper) = (low[index], low[index + 32], high[index])
          place[index] = s0 * Float(Int32(a & 15 | (upper & 3) << 4) &- 32)
          place[index + 32] = s1 * Float(Int32(b & 15 | (upper >> 2 & 3) << 4) &- 32)
          place[index + 64] = s2 * Float(Int32(a >> 4 | (upper >> 4 & 3) << 4) &- 32)
          place[index + 96] = s3 * Float(Int32(b >> 4 | (upper >> 6 & 3) << 4) &- 32)
        }
      }
    }
  }
}
