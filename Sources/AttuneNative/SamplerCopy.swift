// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// A copy of a matrix that products of few rows read in place of the matrix itself.
enum SamplerCopy {
  /// Rounded to bfloat16 and laid out for the product; of float32 matrices alone: others are as small as
  /// they are, and are laid out on the way.
  case bf16
  /// Rounded to 8-bit codes; of nibbles themselves.
  case int8

  /// The copy that a sampler reads where products are of a precision; nil: the matrices themselves.
  init?(_ sampler: Sampler, _ precision: Precision) {
    switch (sampler, precision) {
    case (.int8, _): self = .int8
    case (.same, .bf16): self = .bf16
    case (.same, .float32), (.same, .high): return nil
    }
  }

  /// How keys and values are kept beside copies.
  static func cacheForm(beside copies: SamplerCopy?) -> WeightForm {
    copies == nil ? .float32 : .bfloat16
  }

  /// Its bytes; 0 where there is none.
  func bytes(rows: Int, columns: Int, form: WeightForm) -> Int {
    switch self {
    case .bf16: form == .float32 ? atk_bf16_bytes(rows, columns) : 0
    case .int8: atk_int8_bytes(form.kernelFormat, rows, columns)
    }
  }

  /// Makes it anew from a matrix as it is now, by the pool.
  func make(_ out: UnsafeMutableRawPointer, of matrix: Matrix) {
    let make =
      switch self {
      case .bf16: atk_bf16_pack
      case .int8: atk_int8_pack
      }
    make(out, matrix.start, matrix.form.kernelFormat, matrix.rows, matrix.columns)
  }

  /// Bytes of the copies of a whole model: of its layers' matrices and its head.
  ///
  /// - Parameters:
  ///   - spec: The model.
  ///   - form: How a group's matrices are kept, in a block of `spec.blocks`.
  func bytes(
    of spec: TransformerSpec, form: (_ block: Int, TransformerSpec.ModuleGroup) -> WeightForm
  ) -> Int {
    let head: ModuleRole = spec.tiedHead ? .embedding : .head
    var total = 0
    for (i, block) in spec.blocks.enumerated() {
      for group in block where group.isMatrix {
        let isLayer = i > 0 && i <= spec.layers
        guard isLayer || group.modules[0].role == head else { continue }
        total += bytes(rows: group.outputs, columns: group.inputs, form: form(i, group))
      }
    }
    return total
  }
}
