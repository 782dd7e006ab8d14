// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

extension TransformerSpec {
  /// y[rows, D]: x normalised by a block's norm, with what its backward needs.
  func normForward(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ block: ParameterBlock,
    _ role: ModuleRole, mean: UnsafeMutablePointer<Float>? = nil,
    rstd: UnsafeMutablePointer<Float>? = nil, rows: Int
  ) {
    let weight = block.vector(role)
    let epsilon = Float(normEpsilon)
    switch norm {
    case .rms:
      atk_rmsnorm_forward(
        y, rstd, x, weight, Float(normOffset), epsilon, rows, 1, width, width, width)
    case .layer:
      atk_layernorm_forward(y, mean, rstd, x, weight, block.bias(role), epsilon, rows, width)
    }
  }
}

extension TransformerSpec.Norm {
  /// dx from dy, and the gradients of weight and bias += theirs where they are trained.
  func backward(
    offset: Float, _ dx: UnsafeMutablePointer<Float>, _ dWeight: UnsafeMutablePointer<Float>?,
    _ dBias: UnsafeMutablePointer<Float>?, _ dy: UnsafePointer<Float>,
    _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>?, mean: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, rows: Int, width: Int, accumulate: Bool
  ) {
    let d = width
    switch self {
    case .rms:
      atk_rmsnorm_backward(
        dx, dWeight, dy, x, weight, offset, rstd, rows, 1, d, d, d, d, accumulate ? 1 : 0)
    case .layer:
      atk_layernorm_backward(
        dx, dWeight, dBias, dy, x, weight, mean, rstd, rows, d, accumulate ? 1 : 0)
    }
  }
}
