// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// y[count, columns] = (or +=) the rows of a table that ids name.
func lookUp(
  _ y: UnsafeMutablePointer<Float>, _ ids: [Int32], in table: Matrix?, count: Int,
  accumulate: Bool = false
) {
  guard let table else { return }
  atk_embedding_forward_stored(
    y, table.start, table.form.kernelFormat, ids, count, table.columns, accumulate ? 1 : 0)
}

extension NativeModel {
  /// How products of this model are computed.
  var precision: atk_precision { origin.engine.precision.ofProducts }

  /// y[M, rows] = x[M, columns] · wᵀ + bias, in whichever form the weights are kept.
  func linearForward(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ w: Matrix,
    bias: UnsafePointer<Float>? = nil, rows m: Int, accumulate: Bool = false
  ) {
    atk_linear_forward_stored(
      y, x, w.start, w.form.kernelFormat, bias, m, w.rows, w.columns, w.rows, w.columns,
      accumulate ? 1 : 0, precision)
  }

  /// dx[M, columns] = dy[M, rows] · w.
  func linearBackwardInput(
    _ dx: UnsafeMutablePointer<Float>, _ dy: UnsafePointer<Float>, _ w: Matrix, rows m: Int,
    accumulate: Bool = false
  ) {
    atk_linear_backward_input_stored(
      dx, dy, w.start, w.form.kernelFormat, m, w.rows, w.columns, w.columns, w.rows,
      accumulate ? 1 : 0, precision)
  }

  /// y[M, fused] += the adapters' part, and what the backward needs of it.
  ///
  /// `lowRank` [M, adapters · rank] receives scale · x · Aᵀ.
  func adaptersForward(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ group: LoRALayout.Group,
    lowRank: UnsafeMutablePointer<Float>, rows m: Int, fused: Int
  ) {
    guard let adapters, let arena, let first = group.adapters.first else { return }
    let rank = adapters.settings.rank
    let ranks = rank * group.adapters.count
    atk_linear_forward(
      lowRank, x, arena.pointer + first.a, nil, m, ranks, first.inputs, ranks, first.inputs, 0,
      precision)
    atk_scale(lowRank, adapters.scale, m * ranks)
    for (j, adapter) in group.adapters.enumerated() {
      atk_linear_forward(
        y + adapter.fusedRow, lowRank + j * rank, arena.pointer + adapter.b, nil, m,
        adapter.outputs, rank, fused, ranks, 1, precision)
    }
  }

  /// Gradients of the adapters of a group, and dx[M, inputs] += their part.
  func adaptersBackward(
    _ dx: UnsafeMutablePointer<Float>, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ group: LoRALayout.Group, lowRank: UnsafePointer<Float>, rows m: Int, fused: Int
  ) throws {
    guard let adapters, let arena, let gradients, let first = group.adapters.first else { return }
    let rank = adapters.settings.rank
    let ranks = rank * group.adapters.count
    let dLowRank = try workspace.take(.lowRankGradient, m * ranks)
    for (j, adapter) in group.adapters.enumerated() {
      atk_linear_backward_weight(
        gradients.pointer + adapter.b, nil, dy + adapter.fusedRow, lowRank + j * rank, 1, m,
        adapter.outputs, rank, fused, ranks, precision)
      atk_linear_backward_input(
        dLowRank + j * rank, dy + adapter.fusedRow, arena.pointer + adapter.b, m,
        adapter.outputs, rank, ranks, fused, 0, precision)
    }
    atk_scale(dLowRank, adapters.scale, m * ranks)
    atk_linear_backward_weight(
      gradients.pointer + first.a, nil, dLowRank, x, 1, m, ranks, first.inputs, ranks,
      first.inputs, precision)
    atk_linear_backward_input(
      dx, dLowRank, arena.pointer + first.a, m, ranks, first.inputs, first.inputs, ranks, 1,
      precision)
  }
}
