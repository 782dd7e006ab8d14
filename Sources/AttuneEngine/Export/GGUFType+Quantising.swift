// SPDX-License-Identifier: Apache-2.0

// The reverse of `GGUFType.dequantise`: numbers to blocks. The types of 32 elements take the scale that
// the largest element asks for, as ggml does, to the same bits. The K types search for the scale and the
// minimum of each group whose squared error is least, elements weighted by their size.

extension GGUFType {
  /// The types that can be written.
  package static let written: [GGUFType] = [
    .f32, .f16, .bf16, .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q4K, .q5K, .q6K,
  ]

  /// Writes whole blocks.
  ///
  /// - Parameters:
  ///   - values: `count` elements, finite.
  ///   - output: Room for `count / blockElements · blockBytes` bytes.
  ///   - count: A multiple of `blockElements`.
  package func quantise(
    _ values: UnsafePointer<Float>, into output: UnsafeMutableRawPointer, count: Int
  ) {
    precondition(count % blockElements == 0, "\(self): \(count) elements are no whole blocks")
    func eachBlock(_ body: (UnsafePointer<Float>, UnsafeMutableRawPointer) -> Void) {
      for index in 0..<count / blockElements {
        body(values + index * blockElements, output + index * blockBytes)
      }
    }
    switch self {
    case .f32: output.copyMemory(from: values, byteCount: 4 * count)
    case .f16: eachBlock { Self.store(ElementConversion.half($0[0]), $1, 0) }
    case .bf16: eachBlock { Self.store(ElementConversion.brain($0[0]), $1, 0) }
    case .q4_0: eachBlock { Self.code4($0, $1, Self.signedCodes($0, $1, steps: 8), at: 2) }
    case .q4_1: eachBlock { Self.code4($0, $1, Self.offsetCodes($0, $1, steps: 15), at: 4) }
    case .q5_0: eachBlock { Self.code5($0, $1, Self.signedCodes($0, $1, steps: 16), at: 2) }
    case .q5_1: eachBlock { Self.code5($0, $1, Self.offsetCodes($0, $1, steps: 31), at: 4) }
    case .q8_0: eachBlock(Self.quantise8_0)
    case .q4K: eachBlock(Self.quantise4K)
    case .q5K: eachBlock(Self.quantise5K)
    case .q6K: eachBlock(Self.quantise6K)
    case .q2K, .q3K, .iq4NL: preconditionFailure("\(self) is not written")
    }
  }

  private static func store(_ bits: UInt16, _ base: UnsafeMutableRawPointer, _ offset: Int) {
    base.storeBytes(of: bits.littleEndian, toByteOffset: offset, as: UInt16.self)
  }

  /// Stores a scale, and gives it back as readers will see it.
  private static func storeScale(
    _ value: Float, _ base: UnsafeMutableRawPointer, _ offset: Int
  ) -> Float {
    let bits = ElementConversion.half(value)
    store(bits, base, offset)
    return ElementConversion.float(half: bits)
  }

  // MARK: - Blocks of 32

  /// The code of an element.
  private typealias Code = (Float) -> UInt8

  /// Codes 0 ..< 2·steps of d · (q − steps), d such that the largest element is −steps of it.
  private static func signedCodes(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer, steps: Int
  ) -> Code {
    var largest: Float = 0
    for index in 0..<32 where abs(values[index]) > abs(largest) { largest = values[index] }
    let scale = largest / Float(-steps)
    store(ElementConversion.half(scale), base, 0)
    let inverse = scale == 0 ? 0 : 1 / scale
    return { UInt8(min(Float(2 * steps - 1), ($0 * inverse + Float(steps) + 0.5).rounded(.down))) }
  }

  /// Codes 0 ... steps of d · q + m, from the least element to the greatest.
  private static func offsetCodes(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer, steps: Int
  ) -> Code {
    let block = UnsafeBufferPointer(start: values, count: 32)
    let (least, greatest) = (block.min() ?? 0, block.max() ?? 0)
    let scale = (greatest - least) / Float(steps)
    store(ElementConversion.half(scale), base, 0)
    store(ElementConversion.half(least), base, 2)
    let inverse = scale == 0 ? 0 : 1 / scale
    return { UInt8(min(Float(steps), (($0 - least) * inverse + 0.5).rounded(.down))) }
  }

  /// Byte i holds the codes of elements i (low) and i + 16 (high).
  private static func code4(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer, _ code: Code, at place: Int
  ) {
    for index in 0..<16 {
      base.storeBytes(
        of: code(values[index]) | code(values[index + 16]) << 4, toByteOffset: place + index,
        as: UInt8.self)
    }
  }

  /// The same of the codes' low four bits, their fifth ones before.
  private static func code5(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer, _ code: Code, at place: Int
  ) {
    var fifths: UInt32 = 0
    for index in 0..<32 where code(values[index]) > 15 { fifths |= 1 << UInt32(index) }
    base.storeBytes(of: fifths.littleEndian, toByteOffset: place, as: UInt32.self)
    code4(values, base, { code($0) & 15 }, at: place + 4)
  }

  private static func quantise8_0(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer
  ) {
    var largest: Float = 0
    for index in 0..<32 { largest = max(largest, abs(values[index])) }
    let scale = largest / 127
    store(ElementConversion.half(scale), base, 0)
    let inverse = scale == 0 ? 0 : 1 / scale
    for index in 0..<32 {
      base.storeBytes(
        of: Int8((values[index] * inverse).rounded()), toByteOffset: 2 + index, as: Int8.self)
    }
  }

  // MARK: - Blocks of 256

  private static func quantise4K(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer
  ) {
    let codes = codesK(values, base, steps: 15, search: stride(from: 14, through: 16, by: 0.1))
    for pair in 0..<4 {
      let (low, high) = (codes[2 * pair], codes[2 * pair + 1])
      for index in 0..<32 {
        base.storeBytes(
          of: UInt8(low[index]) | UInt8(high[index]) << 4, toByteOffset: 16 + pair * 32 + index,
          as: UInt8.self)
      }
    }
  }

  private static func quantise5K(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer
  ) {
    let codes = codesK(values, base, steps: 31, search: stride(from: 30.5, through: 32, by: 0.1))
    for index in 0..<32 {
      var fifths: UInt8 = 0
      for group in 0..<8 where codes[group][index] > 15 { fifths |= 1 << UInt8(group) }
      base.storeBytes(of: fifths, toByteOffset: 16 + index, as: UInt8.self)
      for pair in 0..<4 {
        let (low, high) = (UInt8(codes[2 * pair][index]), UInt8(codes[2 * pair + 1][index]))
        base.storeBytes(
          of: low & 15 | (high & 15) << 4, toByteOffset: 48 + pair * 32 + index, as: UInt8.self)
      }
    }
  }

  /// Chooses scale and minimum of each group of 32 and stores them: d, dmin, and eight of six bits
  /// each in twelve bytes.
  ///
  /// - Returns: The codes of each group, with the scales as they are stored.
  private static func codesK(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer, steps: Float,
    search: StrideThrough<Float>
  ) -> [SIMD32<Float>] {
    let groups = (0..<8).map { group in
      UnsafeRawPointer(values + group * 32).loadUnaligned(as: SIMD32<Float>.self)
    }
    let fits = groups.map { fitK($0, steps: steps, search: search) }
    let (scale, minimum) = (fits.map(\.scale).max() ?? 0, fits.map(\.minimum).max() ?? 0)
    let storedScale = storeScale(scale / 63, base, 0)
    let storedMinimum = storeScale(minimum / 63, base, 2)
    func sixBits(_ value: Float, of largest: Float) -> UInt8 {
      largest > 0
        ? UInt8(max(0, min(63, (63 / largest * value).rounded(.toNearestOrEven)))) : 0
    }
    var packed = [UInt8](repeating: 0, count: 12)
    var codes: [SIMD32<Float>] = []
    for (group, fit) in fits.enumerated() {
      let (low, high) = (sixBits(fit.scale, of: scale), sixBits(fit.minimum, of: minimum))
      if group < 4 {
        packed[group] |= low
        packed[group + 4] |= high
      } else {
        packed[group + 4] = low & 15 | (high & 15) << 4
        packed[group - 4] |= (low >> 4) << 6
        packed[group] |= (high >> 4) << 6
      }
      let step = storedScale * Float(low)
      // Without a scale all that is left is the minimum: any code will do.
      codes.append(
        step == 0
          ? SIMD32(repeating: 0)
          : nearest((groups[group] + storedMinimum * Float(high)) / step)
            .clamped(lowerBound: SIMD32(repeating: 0), upperBound: SIMD32(repeating: steps)))
    }
    for (index, byte) in packed.enumerated() {
      base.storeBytes(of: byte, toByteOffset: 4 + index, as: UInt8.self)
    }
    return codes
  }

  /// Scale and minimum of `scale · q − minimum`, neither negative, by weighted least squares on the codes
  /// that each of several scales gives.
  private static func fitK(
    _ x: SIMD32<Float>, steps: Float, search: StrideThrough<Float>
  ) -> (scale: Float, minimum: Float) {
    let least = min(x.min(), 0)
    let greatest = x.max()
    guard greatest > least else { return (0, -least) }
    let mean = ((x * x).sum() / 32).squareRoot()
    let weights = x.replacing(with: -x, where: x .< 0) + mean
    let weightSum = weights.sum()
    let xSum = (weights * x).sum()
    let (bottom, top) = (SIMD32<Float>(repeating: 0), SIMD32(repeating: steps))
    func codes(_ inverse: Float) -> SIMD32<Float> {
      nearest((x - least) * inverse).clamped(lowerBound: bottom, upperBound: top)
    }
    func error(_ codes: SIMD32<Float>, _ scale: Float, _ offset: Float) -> Float {
      let apart = codes * scale + offset - x
      return (weights * apart * apart).sum()
    }
    var scale = (greatest - least) / steps
    var offset = least
    var smallest = error(codes(1 / scale), scale, offset)
    for range in search {
      let found = codes(range / (greatest - least))
      let weighted = weights * found
      let (sum, squares, products) = (
        weighted.sum(), (weighted * found).sum(), (weighted * x).sum()
      )
      let determinant = weightSum * squares - sum * sum
      guard determinant > 0 else { continue }
      var newScale = (weightSum * products - xSum * sum) / determinant
      var newOffset = (squares * xSum - sum * products) / determinant
      if newOffset > 0 { (newScale, newOffset) = (products / squares, 0) }
      let newError = error(found, newScale, newOffset)
      if newError < smallest { (scale, offset, smallest) = (newScale, newOffset, newError) }
    }
    return (max(scale, 0), -offset)
  }

  private static func quantise6K(
    _ values: UnsafePointer<Float>, _ base: UnsafeMutableRawPointer
  ) {
    base.initializeMemory(as: UInt8.self, repeating: 0, count: 210)
    let groups = (0..<16).map { group in
      UnsafeRawPointer(values + group * 16).loadUnaligned(as: SIMD16<Float>.self)
    }
    let scales = groups.map(fit6K)
    let largest = scales.max { abs($0) < abs($1) } ?? 0
    guard abs(largest) > 1e-15 else { return }
    let step = storeScale(largest / -128, base, 208)
    for (group, x) in groups.enumerated() {
      let code = max(
        -128, min(127, (-128 / largest * scales[group]).rounded(.toNearestOrEven)))
      base.storeBytes(of: Int8(code), toByteOffset: 192 + group, as: Int8.self)
      guard step * code != 0 else {
        place6K(SIMD16(repeating: 32), group, base)
        continue
      }
      let codes = nearest16(x / (step * code)).clamped(
        lowerBound: SIMD16(repeating: -32), upperBound: SIMD16(repeating: 31))
      place6K(codes + 32, group, base)
    }
  }

  /// Stores the codes of sixteen elements: four bits in a half of `low`, two in a quarter of `upper`.
  private static func place6K(
    _ codes: SIMD16<Float>, _ group: Int, _ base: UnsafeMutableRawPointer
  ) {
    let bytes = base.assumingMemoryBound(to: UInt8.self)
    for index in 0..<16 {
      let (side, inside) = (group * 16 + index).quotientAndRemainder(dividingBy: 128)
      let code = UInt8(codes[index])
      bytes[side * 64 + inside % 64] |= (code & 15) << (inside < 64 ? 0 : 4)
      bytes[128 + side * 32 + inside % 32] |= (code >> 4) << UInt8(inside / 32 * 2)
    }
  }

  /// The scale of codes −32 ... 31 by least squares on the codes that each of nineteen scales gives, elements
  /// weighted by their squares.
  private static func fit6K(_ x: SIMD16<Float>) -> Float {
    let (least, greatest) = (x.min(), x.max())
    let largest = -least > greatest ? least : greatest
    guard abs(largest) > 1e-15 else { return 0 }
    let weights = x * x
    var (scale, best): (Float, Float) = (0, 0)
    for turn in [0] + Array(-9 ... -1) + Array(1...9) {
      let codes = nearest16(x * (-(32 + 0.1 * Float(turn)) / largest)).clamped(
        lowerBound: SIMD16(repeating: -32), upperBound: SIMD16(repeating: 31))
      let products = (weights * x * codes).sum()
      let squares = (weights * codes * codes).sum()
      guard squares > 0, turn == 0 || products * products > best * squares else { continue }
      scale = products / squares
      best = scale * products
    }
    return scale
  }

  /// To whole numbers, halves to even ones: this sum has no bits left for anything below 1.
  @inline(__always)
  private static func nearest(_ x: SIMD32<Float>) -> SIMD32<Float> {
    (x + 12_582_912) - 12_582_912
  }

  @inline(__always)
  private static func nearest16(_ x: SIMD16<Float>) -> SIMD16<Float> {
    (x + 12_582_912) - 12_582_912
  }
}
