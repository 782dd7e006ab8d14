// SPDX-License-Identifier: Apache-2.0

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
