// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// log(1 + e^z) without overflow: −log σ(−z).
package func softplus(_ z: Double) -> Double {
  z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))
}

/// The logistic function, without overflow.
package func sigmoid(_ z: Double) -> Double {
  if z >= 0 { return 1 / (1 + exp(-z)) }
  let e = exp(z)
  return e / (1 + e)
}

/// log Σ e^x without overflow; −∞ for an empty list.
package func logSumExp(_ x: some Sequence<Double>) -> Double {
  let top = x.max() ?? -.infinity
  guard top.isFinite else { return top }
  var sum = 0.0
  for value in x { sum += exp(value - top) }
  return top + log(sum)
}

/// log(1 − e^a) for a < 0, accurate at both ends (Mächler 2012).
func log1mexp(_ a: Double) -> Double {
  a > -0.693147180559945 ? log(-expm1(a)) : log1p(-exp(a))
}

/// The log-ratio beyond which an exponential is continued by its tangent line, or a constant weight
/// is cut: e²⁰ ≈ 4.9·10⁸.
///
/// The bound is a difference from every paper whose formula has a ratio in it: it keeps value and
/// gradient finite at any log-ratio. The share of rows beyond it is a metric.
public let exponentialBound = 20.0

/// e^z that carries a gradient: its tangent line above `bound`, so that neither value nor slope
/// overflows; underflows to 0 below.
///
/// - Returns: The value and the derivative with respect to `z`.
func boundedExp(
  _ z: Double, bound: Double = exponentialBound
) -> (value: Double, slope: Double) {
  guard z > bound else {
    let e = exp(z)
    return (e, e)
  }
  let slope = exp(bound)
  return (slope * (1 + z - bound), slope)
}
