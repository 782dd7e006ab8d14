// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Testing

/// Compares a gradient with central differences, relative to the larger of 1 and its own size.
func expectGradient(
  _ gradient: [Double], at point: [Double], relative: Double = 1e-6, step: Double = 1e-5,
  sourceLocation: SourceLocation = #_sourceLocation, of f: ([Double]) throws -> Double
) rethrows {
  #expect(gradient.count == point.count, sourceLocation: sourceLocation)
  // Fourth order, so that the truncation error is far below the tolerance.
  for i in point.indices {
    func value(_ offset: Double) throws -> Double {
      var moved = point
      moved[i] += offset * step
      return try f(moved)
    }
    let inner = try value(1) - value(-1)
    let outer = try value(2) - value(-2)
    let slope = (8 * inner - outer) / (12 * step)
    let scale = max(abs(gradient[i]), abs(slope), 1e-3)
    #expect(
      abs(gradient[i] - slope) <= relative * scale,
      "derivative \(i): \(gradient[i]), by differences \(slope)", sourceLocation: sourceLocation)
  }
}

/// Whether two numbers agree to a relative tolerance.
func near(_ a: Double, _ b: Double, _ tolerance: Double = 1e-12) -> Bool {
  abs(a - b) <= tolerance * max(1, abs(a), abs(b))
}

/// Holds the loss of seven rows against the sum over any cut of them, in two orders.
///
/// - Parameter loss: The share of some rows, by their places.
func expectAnyCut(
  sourceLocation: SourceLocation = #_sourceLocation, loss: (_ rows: [Int]) throws -> LossResult
) rethrows {
  let whole = try loss(Array(0..<7))
  for order in [[0, 1, 2, 3, 4, 5, 6], [6, 2, 0, 1, 5, 3, 4]] {
    for cut in [1, 2, 3] {
      var sum = LossResult()
      sum.parameters = whole.parameters.map { _ in 0 }
      for start in stride(from: 0, to: order.count, by: cut) {
        let part = try loss(Array(order[start..<min(start + cut, order.count)]))
        sum.loss += part.loss
        sum.logProbabilities += part.logProbabilities
        sum.entropies += part.entropies
        sum.scalars += part.scalars
        for p in sum.parameters.indices { sum.parameters[p] += part.parameters[p] }
        sum.metrics.merge(part.metrics)
      }
      func isSame(_ sums: [[Double]], _ whole: [[Double]]) -> Bool {
        sums.count == whole.count
          && zip(sums, order).allSatisfy { zip($0, whole[$1]).allSatisfy { near($0, $1) } }
      }
      #expect(near(sum.loss, whole.loss), sourceLocation: sourceLocation)
      #expect(
        isSame(sum.logProbabilities, whole.logProbabilities), sourceLocation: sourceLocation)
      #expect(isSame(sum.entropies, whole.entropies), sourceLocation: sourceLocation)
      #expect(isSame(sum.scalars, whole.scalars), sourceLocation: sourceLocation)
      #expect(
        zip(sum.parameters, whole.parameters).allSatisfy { near($0, $1) },
        sourceLocation: sourceLocation)
      #expect(
        sum.metrics.values.map(\.metric) == whole.metrics.values.map(\.metric),
        sourceLocation: sourceLocation)
      for (metric, value) in whole.metrics.values {
        #expect(
          near(value, sum.metrics[metric] ?? .nan, 1e-11), "\(metric)",
          sourceLocation: sourceLocation)
      }
    }
  }
}
