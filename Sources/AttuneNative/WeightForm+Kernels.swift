// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
package import CAttuneKernels

extension WeightForm {
  /// The kernels' name of it.
  package var kernelFormat: atk_weights {
    switch self {
    case .float32: ATK_FLOAT32
    case .bfloat16: ATK_BFLOAT16
    case .nibbles: ATK_NIBBLES
    case .fineNibbles: ATK_FINE_NIBBLES
    case .fives: ATK_FIVES
    case .bytes: ATK_BYTES
    }
  }
}
