// SPDX-License-Identifier: Apache-2.0

/// How a weight matrix is kept: what products read, to which the quantised types of files are brought
/// without changing a number.
///
/// Decoding one sequence reads every weight once a token, so the bytes are its speed; beside a model that
/// is adapted, most of the memory is the frozen matrices.
package enum WeightForm: String, Sendable, CaseIterable {
  case float32
  /// Upper halves of floats.
  case bfloat16
  /// Groups of 40 bytes for 32 weights of a row, each code · scale: two scales (float32) of 16 weights
  /// each, then 8-bit codes.
  case bytes
  /// Groups of 28 bytes for 32 weights of a row, each code · scale + offset: scale and offset (float32),
  /// the fifth bits of all codes, that of weight i at bit i, then their other four as in `nibbles`.
  case fives
  /// Groups of 32 bytes for 32 weights of a row, each code · scale + offset: two scales (float32) of 16
  /// weights each, two offsets, then 4-bit codes as in `nibbles`.
  case fineNibbles
  /// Groups of 24 bytes for 32 weights of a row, each code · scale + offset: scale and offset (float32),
  /// then 4-bit codes, of which byte i holds those of weights i (low) and i + 16 (high).
  case nibbles

  /// Where the codes of nibbles and bytes begin in a group, and the fifth bits of fives.
  static let codes = 8
  /// Bytes of a group.
  static let nibbleGroup = 24
  static let fineNibbleGroup = 32
  static let fiveGroup = 28
  static let byteGroup = 40
  /// Weights of a group: rows of codes are whole ones.
  package static let group = 32

  /// Whether weights are codes in groups, not numbers.
  package var hasGroups: Bool { self != .float32 && self != .bfloat16 }

  /// Bytes of so many weights, which are whole groups.
  package func bytes(_ count: Int) -> Int {
    switch self {
    case .float32: 4 * count
    case .bfloat16: 2 * count
    case .nibbles: count / Self.group * Self.nibbleGroup
    case .fineNibbles: count / Self.group * Self.fineNibbleGroup
    case .fives: count / Self.group * Self.fiveGroup
    case .bytes: count / Self.group * Self.byteGroup
    }
  }
}

extension GGUFType {
  /// The smallest form that keeps exactly the float32 values of `dequantise`.
  package var weightForm: WeightForm {
    switch self {
    case .f32, .f16: .float32
    case .bf16: .bfloat16
    case .q4_0, .q4_1, .q4K: .nibbles
    case .q2K, .q3K: .fineNibbles
    case .q5_0, .q5_1, .q5K: .fives
    case .q8_0, .q6K, .iq4NL: .bytes
    }
  }

  /// Brings whole blocks to their `weightForm`.
  ///
  /// - Parameters:
  ///   - bytes: The blocks, `count / blockElements · blockBytes` bytes.
  ///   - output: Room for `weightForm.bytes(count)`, aligned as floats are.
  ///   - count: A multiple of `blockElements`.
  package func compact(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, count: Int
  ) {
    precondition(bytes.count == count / blockElements * blockBytes, "\(self): blocks are missing")
    guard let base = bytes.baseAddress else { return }
    switch weightForm {
    case .float32:
      return dequantise(
        bytes, into: output.bindMemory(to: Float.self, capacity: count), count: count)
    case .bfloat16: return output.copyMemory(from: base, byteCount: bytes.count)
    case .bytes, .fives, .nibbles, .fineNibbles: break
    }
    for index in 0..<count / blockElements {
      let block = base + index * blockBytes
      let place = output + index * weightForm.bytes(blockElements)
      switch self {
      case .f32, .f16, .bf16: return
      case .q4_0:
        let scale = Self.half(block, 0)
        Self.put(scale, -8 * scale, at: place)
        (place + WeightForm.codes).copyMemory(from: block + 2, byteCount: 16)
      case .q4_1:
        Self.put(Self.half(block, 0), Self.half(block, 2), at: place)
        (place + WeightForm.codes).copyMemory(from: block + 4, byteCount: 16)
      case .q5_0:
        let scale = Self.half(block, 0)
        Self.put(scale, -16 * scale, at: place)
        (place + WeightForm.codes).copyMemory(from: block + 2, byteCount: 20)
      case .q5_1:
        Self.put(Self.half(block, 0), Self.half(block, 2), at: place)
        (place + WeightForm.codes).copyMemory(from: block + 4, byteCount: 20)
      case .q8_0:
        let scale = Self.half(block, 0)
        Self.put(scale, scale, at: place)
        (place + WeightForm.codes).copyMemory(from: block + 2, byteCount: 32)
      case .iq4NL:
        let scale = Self.half(block, 0)
        Self.put(scale, scale, at: place)
        let codes = (place + WeightForm.codes).assumingMemoryBound(to: Int8.self)
        for index in 0..<32 { codes[index] = Self.code4NL(block, index) }
      case .q2K: Self.compact2K(block, place)
      case .q3K: Self.compact3K(block, place)
      case .q4K: Self.compact4K(block, place)
      case .q5K: Self.compact5K(block, place)
      case .q6K: Self.compact6K(block, place)
      }
    }
  }

  private static func put(_ first: Float, _ second: Float, at group: UnsafeMutableRawPointer) {
    group.storeBytes(of: first, as: Float.self)
    group.storeBytes(of: second, toByteOffset: 4, as: Float.self)
  }

  /// 32 codes' lower halves, two in a byte.
  private static func put(at codes: UnsafeMutableRawPointer, code: (Int) -> UInt8) {
    for index in 0..<16 {
      let byte = code(index) & 15 | code(index + 16) << 4
      codes.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
  }

  private static func compact2K(_ block: UnsafeRawPointer, _ output: UnsafeMutableRawPointer) {
    for group in 0..<8 {
      let place = output + group * WeightForm.fineNibbleGroup
      let (low, high) = (scales2K(block, 2 * group), scales2K(block, 2 * group + 1))
      put(low.scale, high.scale, at: place)
      put(-low.minimum, -high.minimum, at: place + 8)
      put(at: place + 16) { code2(block + 16, 32 * group + $0) }
    }
  }

  private static func compact3K(_ block: UnsafeRawPointer, _ output: UnsafeMutableRawPointer) {
    for group in 0..<8 {
      let place = output + group * WeightForm.fineNibbleGroup
      let (low, high) = (scale3K(block, 2 * group), scale3K(block, 2 * group + 1))
      put(low, high, at: place)
      put(-4 * low, -4 * high, at: place + 8)
      put(at: place + 16) { code3K(block, 32 * group + $0) }
    }
  }

  private static func compact5K(_ block: UnsafeRawPointer, _ output: UnsafeMutableRawPointer) {
    for group in 0..<8 {
      let place = output + group * WeightForm.fiveGroup
      let (scale, minimum) = scales4K(block, group)
      put(scale, -minimum, at: place)
      let fifth = (0..<32).reduce(UInt32(0)) {
        $0 | UInt32(code5K(block, 32 * group + $1) >> 4) << UInt32($1)
      }
      place.storeBytes(of: fifth, toByteOffset: WeightForm.codes, as: UInt32.self)
      put(at: place + WeightForm.codes + 4) { code5K(block, 32 * group + $0) }
    }
  }

  private static func compact4K(_ block: UnsafeRawPointer, _ output: UnsafeMutableRawPointer) {
    for group in 0..<8 {
      let place = output + group * WeightForm.nibbleGroup
      let (scale, minimum) = scales4K(block, group)
      put(scale, -minimum, at: place)
      let quants = (block + 16 + group / 2 * 32).assumingMemoryBound(to: UInt8.self)
      let codes = (place + WeightForm.codes).assumingMemoryBound(to: UInt8.self)
      let shift = UInt8(group % 2 * 4)
      for index in 0..<16 {
        codes[index] = quants[index] >> shift & 15 | (quants[index + 16] >> shift & 15) << 4
      }
    }
  }

  private static func compact6K(_ block: UnsafeRawPointer, _ output: UnsafeMutableRawPointer) {
    for group in 0..<8 {
      let place = output + group * WeightForm.byteGroup
      put(scale6K(block, 2 * group), scale6K(block, 2 * group + 1), at: place)
      let codes = (place + WeightForm.codes).assumingMemoryBound(to: Int8.self)
      for index in 0..<32 { codes[index] = code6K(block, 32 * group + index) }
    }
  }
}
