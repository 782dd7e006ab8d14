// SPDX-License-Identifier: Apache-2.0

/// Types of GGUF tensors that are read. A quantised type holds blocks of elements, each with a
/// scale of its own; the layouts are ggml's (`ggml-common.h`).
package enum GGUFType: UInt32, Sendable, CaseIterable, CustomStringConvertible {
  case f32 = 0
  case f16 = 1
  case q4_0 = 2
  case q4_1 = 3
  case q5_0 = 6
  case q5_1 = 7
  case q8_0 = 8
  case q2K = 10
  case q3K = 11
  case q4K = 12
  case q5K = 13
  case q6K = 14
  case iq4NL = 20
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
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4NL: 32
    case .q2K, .q3K, .q4K, .q5K, .q6K: 256
    }
  }

  /// Bytes of a block.
  package var blockBytes: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .q4_0: 2 + 16
    case .q4_1: 2 + 2 + 16
    case .q5_0: 2 + 4 + 16
    case .q5_1: 2 + 2 + 4 + 16
    case .q8_0: 2 + 32
    case .iq4NL: 2 + 16
    case .q2K: 16 + 64 + 2 + 2
    case .q3K: 32 + 64 + 12 + 2
    case .q4K: 2 + 2 + 12 + 128
    case .q5K: 2 + 2 + 12 + 32 + 128
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
    case .q4_0: forEachBlock(base, output, count, Self.block4_0)
    case .q4_1: forEachBlock(base, output, count, Self.block4_1)
    case .q5_0: forEachBlock(base, output, count, Self.block5_0)
    case .q5_1: forEachBlock(base, output, count, Self.block5_1)
    case .q8_0: forEachBlock(base, output, count, Self.block8_0)
    case .iq4NL: forEachBlock(base, output, count, Self.block4NL)
    case .q2K: forEachBlock(base, output, count, Self.block2K)
    case .q3K: forEachBlock(base, output, count, Self.block3K)
    case .q4K: forEachBlock(base, output, count, Self.block4K)
    case .q5K: forEachBlock(base, output, count, Self.block5K)
    case .q6K: forEachBlock(base, output, count, Self.block6K)
    }
  }

  private func forEachBlock(
    _ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>, _ count: Int,
    _ body: (UnsafeRawPointer, UnsafeMutablePointer<Float>) -> Void
  ) {
    for index in 0..<count / blockElements {
      body(base + index * blockBytes, output + index * blockElements)
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

  /// d, 4 bytes of the codes' fifth bits, 16 bytes as above; d · (q − 16).
  private static func block5_0(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    for index in 0..<32 { output[index] = Float(Int32(code5(base + 2, index)) &- 16) * scale }
  }

  /// d, m, 4 and 16 bytes as above; d · q + m.
  private static func block5_1(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let minimum = half(base, 2)
    for index in 0..<32 { output[index] = Float(code5(base + 4, index)) * scale + minimum }
  }

  /// The code of one of 32 elements, of which element i has bit i of the first four bytes.
  @inline(__always)
  private static func code5(_ base: UnsafeRawPointer, _ element: Int) -> UInt8 {
    let fifth = base.loadUnaligned(as: UInt32.self) >> UInt32(element) & 1
    let byte = (base + 4).load(fromByteOffset: element % 16, as: UInt8.self)
    return byte >> UInt8(element / 16 * 4) & 15 | UInt8(fifth) << 4
  }

  /// d, 16 bytes as above that say which number of `levels`; d · level.
  private static func block4NL(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    for index in 0..<32 { output[index] = Float(code4NL(base, index)) * scale }
  }

  /// IQ4_NL's: closer together near zero, where most weights are.
  private static let levels: [Int8] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]

  @inline(__always)
  static func code4NL(_ base: UnsafeRawPointer, _ element: Int) -> Int8 {
    let byte = (base + 2).load(fromByteOffset: element % 16, as: UInt8.self)
    return levels[Int(byte >> UInt8(element / 16 * 4) & 15)]
  }

  /// d, 32 signed bytes; d · q.
  private static func block8_0(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    let scale = half(base, 0)
    let quants = (base + 2).assumingMemoryBound(to: Int8.self)
    for index in 0..<32 { output[index] = Float(Int32(quants[index])) * scale }
  }

  /// 16 bytes of scales (low halves) and minima (high ones), 64 of 2-bit codes, d, dmin; for each 16
  /// elements d · scale · q − dmin · minimum.
  private static func block2K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    for sixteen in 0..<16 {
      let (scale, minimum) = scales2K(base, sixteen)
      for index in sixteen * 16..<sixteen * 16 + 16 {
        output[index] = scale * Float(code2(base + 16, index)) - minimum
      }
    }
  }

  /// Scale and minimum of one of the sixteen groups of 16.
  static func scales2K(_ base: UnsafeRawPointer, _ group: Int) -> (scale: Float, minimum: Float) {
    let packed = base.load(fromByteOffset: group, as: UInt8.self)
    return (half(base, 80) * Float(packed & 15), half(base, 82) * Float(packed >> 4))
  }

  /// A code of two bits: of each half's 128 elements, each of its 32 bytes serves four, 32 apart.
  @inline(__always)
  static func code2(_ base: UnsafeRawPointer, _ element: Int) -> UInt8 {
    let (side, inside) = element.quotientAndRemainder(dividingBy: 128)
    let byte = base.load(fromByteOffset: side * 32 + inside % 32, as: UInt8.self)
    return byte >> UInt8(inside / 32 * 2) & 3
  }

  /// 32 bytes of third bits, 64 of 2-bit codes as above, 12 bytes with sixteen 6-bit scales, d; for each
  /// 16 elements d · (scale − 32) · (q − 4).
  private static func block3K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    for sixteen in 0..<16 {
      let scale = scale3K(base, sixteen)
      for index in sixteen * 16..<sixteen * 16 + 16 {
        output[index] = scale * Float(Int32(code3K(base, index)) &- 4)
      }
    }
  }

  /// The scale of one of the sixteen groups of 16: four bits of a half byte of the first eight bytes,
  /// two of the last four.
  static func scale3K(_ base: UnsafeRawPointer, _ group: Int) -> Float {
    let packed = (base + 96).assumingMemoryBound(to: UInt8.self)
    let low = packed[group % 8] >> UInt8(group / 8 * 4) & 15
    let upper = packed[8 + group % 4] >> UInt8(group / 4 * 2) & 3
    return half(base, 108) * Float(Int32(low | upper << 4) &- 32)
  }

  /// Each byte of third bits serves eight elements, 32 apart.
  @inline(__always)
  static func code3K(_ base: UnsafeRawPointer, _ element: Int) -> UInt8 {
    let third = base.load(fromByteOffset: element % 32, as: UInt8.self) >> UInt8(element / 32) & 1
    return code2(base + 32, element) | third << 2
  }

  /// As Q4_K, with 32 bytes of fifth bits in front of the 128.
  private static func block5K(_ base: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
    for group in 0..<8 {
      let (scale, minimum) = scales4K(base, group)
      for index in group * 32..<group * 32 + 32 {
        output[index] = scale * Float(code5K(base, index)) - minimum
      }
    }
  }

  /// Each byte of fifth bits serves eight elements, 32 apart.
  @inline(__always)
  static func code5K(_ base: UnsafeRawPointer, _ element: Int) -> UInt8 {
    let (group, inside) = element.quotientAndRemainder(dividingBy: 32)
    let quants = base.assumingMemoryBound(to: UInt8.self)
    let low = quants[48 + group / 2 * 32 + inside] >> UInt8(group % 2 * 4) & 15
    return low | (quants[16 + inside] >> UInt8(group) & 1) << 4
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
