// SPDX-License-Identifier: Apache-2.0

extension SplitMix {
  /// `count` numbers between −scale and scale.
  public mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in float() * scale }
  }
}

/// Double copies of floats.
public func doubles(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// Σ a·b, the loss whose gradient a backward kernel computes for the output gradient `b`.
public func dot(_ a: [Double], _ b: [Float]) -> Double {
  var sum = 0.0
  for (x, y) in zip(a, b) { sum += x * Double(y) }
  return sum
}

/// The largest difference relative to the largest expected magnitude (or to 1e-3, if all are
/// smaller); infinite if a value is not finite or the counts differ.
public func relativeError(_ values: [Float], _ expected: [Double]) -> Double {
  guard values.count == expected.count else { return .infinity }
  var largest = 1e-3
  var difference = 0.0
  for (value, wanted) in zip(values, expected) {
    guard value.isFinite, wanted.isFinite else { return .infinity }
    largest = max(largest, abs(wanted))
    difference = max(difference, abs(Double(value) - wanted))
  }
  return difference / largest
}

/// Compares a gradient with central differences of `loss` in Double at up to `samples` of its
/// elements, evenly spread (the first and the last among them).
///
/// - Returns: the largest difference, relative to the largest magnitude among the gradient's
///   elements and the differences (or to 1e-3, if all are smaller).
public func checkGradient(
  _ gradient: [Float], at point: [Float], samples: Int = 24, step: Double = 1e-4,
  of loss: ([Double]) -> Double
) -> Double {
  guard gradient.count == point.count, !point.isEmpty else { return .infinity }
  var x = doubles(point)
  let count = min(samples, x.count)
  var largest = 1e-3
  var difference = 0.0
  for sample in 0..<count {
    let i = count == 1 ? 0 : sample * (x.count - 1) / (count - 1)
    let original = x[i]
    x[i] = original + step
    let above = loss(x)
    x[i] = original - step
    let below = loss(x)
    x[i] = original
    let slope = (above - below) / (2 * step)
    guard gradient[i].isFinite, slope.isFinite else { return .infinity }
    largest = max(largest, abs(slope), abs(Double(gradient[i])))
    difference = max(difference, abs(slope - Double(gradient[i])))
  }
  return difference / largest
}
