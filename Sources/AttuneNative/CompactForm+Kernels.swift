// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
package import CAttuneKernels

extension Matrix {
  /// The numbers in the fewest bytes that hold them exactly, as the decoder's kernels take them.
  package var stored: (values: UnsafeRawPointer, format: atk_weights) {
    if let compact { return (compact.bytes, compact.form.kernelFormat) }
    return switch storage {
    case .float32(let floats): (UnsafeRawPointer(floats), ATK_FLOAT32)
    case .bfloat16(let halves): (UnsafeRawPointer(halves), ATK_BFLOAT16)
    }
  }
}

extension CompactForm {
  /// The kernels' name of it.
  package var kernelFormat: atk_weights {
    switch self {
    case .bfloat16: ATK_BFLOAT16
    case .nibbles: ATK_NIBBLES
    case .bytes: ATK_BYTES
    }
  }
}
