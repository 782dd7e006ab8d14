// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// AdamW's moments as 8-bit codes with a scale for each block of 256 numbers, tensor by tensor:
/// block-wise dynamic quantisation (Dettmers et al. 2022, arXiv:2110.02861).
///
/// 2.03 bytes a number in place of 8. The block is bitsandbytes' of today, the paper's was of 2,048: a
/// block's largest number decides how exact the others are, and scales are 3 % of the codes. Tensors of
/// fewer than 4,096 numbers (norms, biases, scalar heads) keep float32 moments as in bitsandbytes: they
/// are few.
final class MomentCodes {
  /// A tensor's moments.
  struct Part {
    let tensor: ArenaTensor
    /// Where they begin in the memory: two of codes or floats, then two of scales.
    fileprivate let place: Int

    var count: Int { tensor.count }
    /// Whether they are codes; else they are float32.
    var isCodes: Bool { count >= 4096 }
    /// Scales of a moment.
    var blocks: Int {
      isCodes ? (count + Int(ATK_MOMENT_BLOCK) - 1) / Int(ATK_MOMENT_BLOCK) : 0
    }
    /// Floats that a moment has room for, and its scales: whole cache lines.
    fileprivate var room: Int { Self.lines(isCodes ? (count + 3) / 4 : count) }
    fileprivate var scaleRoom: Int { Self.lines(blocks) }

    private static func lines(_ floats: Int) -> Int { (floats + 15) / 16 * 16 }
  }

  let parts: [Part]
  private let memory: FloatBuffer

  /// Moments that are 0.
  ///
  /// - Parameter tensors: The trained tensors.
  /// - Throws: `EngineError` if the memory can't be had.
  init(_ tensors: some Collection<ArenaTensor>) throws {
    let floats: Int
    (parts, floats) = Self.place(tensors)
    memory = try FloatBuffer(floats)
  }

  /// Tensors one after another, and the floats that they take.
  static func place(_ tensors: some Collection<ArenaTensor>) -> (parts: [Part], floats: Int) {
    var end = 0
    let parts = tensors.map { tensor in
      let part = Part(tensor: tensor, place: end)
      end += 2 * (part.room + part.scaleRoom)
      return part
    }
    return (parts, end)
  }

  /// How a tensor's moments are kept, wherever that is.
  static func shape(_ tensor: ArenaTensor) -> Part { Part(tensor: tensor, place: 0) }

  /// Bytes of codes, scales and floats.
  var bytes: Int { 4 * memory.count }

  /// The first or second moment of a part that has no codes.
  func floats(_ part: Part, _ moment: Int) -> UnsafeMutablePointer<Float> {
    memory.pointer + part.place + (moment - 1) * part.room
  }

  /// The codes of a part's first or second moment.
  func codes(_ part: Part, _ moment: Int) -> UnsafeMutablePointer<UInt8> {
    UnsafeMutableRawPointer(floats(part, moment)).assumingMemoryBound(to: UInt8.self)
  }

  /// The scales of those codes, one a block.
  func scales(_ part: Part, _ moment: Int) -> UnsafeMutablePointer<Float> {
    memory.pointer + part.place + 2 * part.room + (moment - 1) * part.scaleRoom
  }
}
