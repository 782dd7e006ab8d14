// SPDX-License-Identifier: Apache-2.0

package import CAttuneKernels

/// How a weight matrix can be kept in fewer bytes than as float32 without changing a number: the
/// forms that the decoder reads, to which the quantised types of files are brought.
///
/// Decoding one sequence reads every weight once a token, so the bytes are its speed.
package enum CompactForm: Sendable {
  /// Upper halves of floats.
  case bfloat16
  /// `atk_nibbles`: 4-bit codes, 32 weights to a scale and an offset.
  case nibbles
  /// `atk_bytes`: 8-bit codes, 16 weights to a scale.
  case bytes

  /// Bytes of so many weights, which are whole groups.
  package func bytes(_ count: Int) -> Int {
    switch self {
    case .bfloat16: 2 * count
    case .nibbles: count / 32 * MemoryLayout<atk_nibbles>.stride
    case .bytes: count / 32 * MemoryLayout<atk_bytes>.stride
    }
  }

  /// The kernels' name of it.
  package var kernelFormat: atk_weights {
    switch self {
    case .bfloat16: ATK_BFLOAT16
    case .nibbles: ATK_NIBBLES
    case .bytes: ATK_BYTES
    }
  }
}

extension GGUFType {
  /// The form that keeps exactly the float32 values of `dequantise`; nil if there is none that is
  /// smaller.
  package var compactForm: CompactForm? {
    switch self {
    case .f32, .f16: nil
    case .bf16: .bfloat16
    case .q4_0, .q4_1, .q4K: .nibbles
    case .q8_0, .q6K: .bytes
    }
  }

  /// Brings whole blocks to the compact form.
  ///
  /// - Parameters:
  ///   - bytes: The blocks, `count / blockElements · blockBytes` bytes.
  ///   - output: Room for `compactForm.bytes(count)`.
  ///   - count: A multiple of `blockElements`.
  package func compact(
    _ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, count: Int
  ) {
    precondition(bytes.count == count / blockElements * blockBytes, "\(self): blocks are missing")
    guard let base = bytes.baseAddress else { return }
    let nibbles = output.assumingMemoryBound(to: atk_nibbles.self)
    let groups = output.assumingMemoryBound(to: atk_bytes.self)
    for index in 0..<count / blockElements {
      let block = base + index * blockBytes
      switch self {
      case .f32, .f16: return
      case .bf16:
        (output + 2 * index).copyMemory(from: block, byteCount: 2)
      case .q4_0:
        let scale = Self.half(block, 0)
        nibbles[index].scale = scale
        nibbles[index].offset = -8 * scale
        withUnsafeMutableBytes(of: &nibbles[index].codes) {
          $0.copyMemory(from: UnsafeRawBufferPointer(start: block + 2, count: 16))
        }
      case .q4_1:
        nibbles[index].scale = Self.half(block, 0)
        nibbles[index].offset = Self.half(block, 2)
        withUnsafeMutableBytes(of: &nibbles[index].codes) {
          $0.copyMemory(from: UnsafeRawBufferPointer(start: block + 4, count: 16))
        }
      case .q8_0:
        let scale = Self.half(block, 0)
        groups[index].scale = (scale, scale)
        withUnsafeMutableBytes(of: &groups[index].codes) {
          $0.copyMemory(from: UnsafeRawBufferPointer(start: block + 2, count: 32))
        }
      case .q4K: Self.compact4K(block, nibbles + 8 * index)
      case .q6K: Self.compact6K(block, groups + 8 * index)
      }
    }
  }

  private static func compact4K(
    _ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<atk_nibbles>
  ) {
    for group in 0..<8 {
      let (scale, minimum) = scales4K(block, group)
      output[group].scale = scale
      output[group].offset = -minimum
      let quants = (block + 16 + group / 2 * 32).assumingMemoryBound(to: UInt8.self)
      let shift = UInt8(group % 2 * 4)
      withUnsafeMutableBytes(of: &output[group].codes) { codes in
        for index in 0..<16 {
          codes[index] = quants[index] >> shift & 15 | (quants[index + 16] >> shift & 15) << 4
        }
      }
    }
  }

  private static func compact6K(
    _ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<atk_bytes>
  ) {
    for group in 0..<8 {
      output[group].scale = (scale6K(block, 2 * group), scale6K(block, 2 * group + 1))
      withUnsafeMutableBytes(of: &output[group].codes) { codes in
        for index in 0..<32 {
          codes[index] = UInt8(bitPattern: code6K(block, 32 * group + index))
        }
      }
    }
  }
}
