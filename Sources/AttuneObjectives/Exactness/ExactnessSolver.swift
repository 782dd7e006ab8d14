// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Where a method must end, found without the loss under test: from plain formulas, by other means.
enum ExactnessSolver {
  /// A zero of a field by Levenberg–Marquardt with a Jacobian by central differences.
  ///
  /// - Parameters:
  ///   - start: Where to begin.
  ///   - field: What must vanish: the expected update, or a gradient, by a formula of its own.
  static func root(from start: [Double], field: ([Double]) -> [Double]) -> [Double] {
    var x = start
    var value = field(x)
    func size(_ v: [Double]) -> Double { v.reduce(0) { $0 + $1 * $1 } }
    var damping = 1e-6
    let n = x.count
    for _ in 0..<60 {
      if (value.map(abs).max() ?? 0) < 1e-12 { break }
      var jacobian: [[Double]] = []  // [variable][component]
      for i in 0..<n {
        var (up, down) = (x, x)
        up[i] += 1e-5
        down[i] -= 1e-5
        jacobian.append(zip(field(up), field(down)).map { ($0 - $1) / 2e-5 })
      }
      let slope = jacobian.map { column in zip(column, value).reduce(0) { $0 + $1.0 * $1.1 } }
      var normal = jacobian.map { a in
        jacobian.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
      }
      var accepted = false
      for _ in 0..<12 {
        for i in 0..<n { normal[i][i] += damping }
        let step = solve(normal, slope)
        for i in 0..<n { normal[i][i] -= damping }
        let next = zip(x, step).map { $0 - min(max($1, -1), 1) }
        let nextValue = field(next)
        if size(nextValue) < size(value) {
          (x, value) = (next, nextValue)
          damping = max(damping * 0.1, 1e-16)
          accepted = true
          break
        }
        damping *= 10
      }
      if !accepted { break }
    }
    return x
  }

  /// x with A·x = b, by elimination with pivots.
  static func solve(_ matrix: [[Double]], _ right: [Double]) -> [Double] {
    var (a, b) = (matrix, right)
    let n = b.count
    for k in 0..<n {
      let pivot = (k..<n).max { abs(a[$0][k]) < abs(a[$1][k]) } ?? k
      a.swapAt(k, pivot)
      b.swapAt(k, pivot)
      guard a[k][k] != 0 else { continue }
      for i in (k + 1)..<max(n, k + 1) {
        let factor = a[i][k] / a[k][k]
        guard factor != 0 else { continue }
        for j in k..<n { a[i][j] -= factor * a[k][j] }
        b[i] -= factor * b[k]
      }
    }
    for k in stride(from: n - 1, through: 0, by: -1) {
      for j in (k + 1)..<max(n, k + 1) { b[k] -= a[k][j] * b[j] }
      b[k] = a[k][k] == 0 ? 0 : b[k] / a[k][k]
    }
    return b
  }

  /// The distribution of a family whose sum falls (or rises) with its parameter, by bisection.
  static func simplex(
    from low: Double, to high: Double, of family: (Double) -> [Double]
  ) -> [Double] {
    var (low, high) = (low, high)
    let falls = family(low).reduce(0, +) > family(high).reduce(0, +)
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if (family(middle).reduce(0, +) > 1) == falls { low = middle } else { high = middle }
    }
    return family((low + high) / 2)
  }

  /// The slope of a plain function, by central differences of fourth order.
  static func slope(_ x: Double, _ f: (Double) -> Double) -> Double {
    let h = 1e-4
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)
  }
}
