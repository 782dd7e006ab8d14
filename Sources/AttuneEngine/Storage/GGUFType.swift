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
  static func half(_ base: UnsafeRawPointer, _ offset: Int) -> Float {
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
    for pair in 0..<4 {
      let quants = (base + 16 + pair * 32).assumingMemoryBound(to: UInt8.self)
      let (scaleLow, minimumLow) = scales4K(base, 2 * pair)
      let (scaleHigh, minimumHigh) = scales4K(base, 2 * pair + 1)
      let place = output + pair * 64
      for index in 0..<32 {
        place[index] = scaleLow * Float(Int32(quants[index] & 15)) - minimumLow
        place[index + 32] = scaleHigh * Float(Int32(quants[index] >> 4)) - minimumHigh
      }
    }
  }

  /// Scale and minimum of one of the eight groups of 32.
  static func scales4K(_ base: UnsafeRawPointer, _ group: Int) -> (scale: Float, minimum: Float) {
    let packed = (base + 4).assumingMemoryBound(to: UInt8.self)
    let (low, high): (UInt8, UInt8)
    if group < 4 {
      (low, high) = (packed[group] & 63, packed[group + 4] & 63)
    } else {
      low = (packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4)
      high = (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4)
    }
    return (half(base, 0) * Float(low), half(base, 2) * Float(high))
  }

  /// 128 bytes of low halves, 64 of upper two bits, 16 signed scales, d; d · scale · (q − 32), each
  /// scale for 16 elements.
  private static func block6K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    for sixteen in 0..<16 {
      let scale = scale6K(base, sixteen)
      for index in sixteen * 16..<sixteen * 16 + 16 {
        output[index] = scale * Float(code6K(base, index))
      }
    }
  }

  /// The scale of one of the sixteen groups of 16.
  static func scale6K(_ base: UnsafeRawPointer, _ group: Int) -> Float {
    half(base, 208) * Float((base + 192).load(fromByteOffset: group, as: Int8.self))
  }

  /// q − 32 of an element: of each half's 128, elements 0 ..< 64 have the low halves of its 64
  /// bytes, the others the high ones, and each byte of upper bits serves four elements, 32 apart.
  @inline(__always)
  static func code6K(_ base: UnsafeRawPointer, _ element: Int) -> Int8 {
    let (side, inside) = element.quotientAndRemainder(dividingBy: 128)
    let quants = base.assumingMemoryBound(to: UInt8.self)
    let byte = quants[side * 64 + inside % 64]
    let low = inside < 64 ? byte & 15 : byte >> 4
    let upper = quants[128 + side * 32 + inside % 32] >> UInt8(inside / 32 * 2) & 3
    return Int8(bitPattern: low | upper << 4) &- 32
  }
}
