// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

extension TransformerSpec.MLP {
  /// y[rows, width] from what the layer's first product gave: gate and up, or up alone.
  func forward(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, rows: Int, width: Int
  ) {
    switch self {
    case .swiglu: atk_swiglu_forward(y, x, rows, width)
    case .geglu: atk_geglu_forward(y, x, rows, width)
    case .gelu: atk_gelu_forward(y, x, rows * width)
    case .exactGELU: atk_gelu_erf_forward(y, x, rows * width)
    case .relu: atk_relu_forward(y, x, rows * width)
    }
  }

  /// dx from dy, and y again where it is wanted.
  func backward(
    _ dx: UnsafeMutablePointer<Float>, _ y: UnsafeMutablePointer<Float>?,
    _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>, rows: Int, width: Int
  ) {
    switch self {
    case .swiglu: atk_swiglu_backward(dx, y, dy, x, rows, width)
    case .geglu: atk_geglu_backward(dx, y, dy, x, rows, width)
    case .gelu: atk_gelu_backward(dx, y, dy, x, rows * width)
    case .exactGELU: atk_gelu_erf_backward(dx, y, dy, x, rows * width)
    case .relu: atk_relu_backward(dx, y, dy, x, rows * width)
    }
  }
}
