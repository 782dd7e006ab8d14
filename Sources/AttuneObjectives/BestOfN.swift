// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// What choosing the best of several samples costs.
public enum BestOfN {
  /// The KL of the best of n samples from what they are drawn from, in nats: log n − (n−1)/n, or,
  /// where one of the best k is taken, ∫ g·log g with g the density of their ranks.
  ///
  /// It is exact where no two samples are worth the same, and otherwise more than the true one
  /// (Beirami et al. 2024, arXiv:2401.01879; Stiennon et al. 2020).
  ///
  /// - Parameters:
  ///   - n: Samples.
  ///   - keeping: How many of the best are kept, at most n.
  public static func klBound(of n: Int, keeping k: Int = 1) -> Double {
    precondition(k >= 1 && k <= n, "of n samples 1 to n are kept")
    let count = Double(n)
    if k == 1 { return log(count) - (count - 1) / count }
    if k == n { return 0 }
    // With v the share of samples that are better, g(v) = (n/k)·P(fewer than k of n − 1 are better).
    func density(_ v: Double) -> Double {
      var term = (count - 1) * log1p(-v)
      var sum = exp(term)
      for j in 1..<k {
        term += log((count - Double(j)) / Double(j) * v / (1 - v))
        sum += exp(term)
      }
      return count / Double(k) * sum
    }
    // The midpoint rule: the integrand has no value at 1, and is smooth.
    let steps = 20_000
    var total = 0.0
    for i in 0..<steps {
      let g = density((Double(i) + 0.5) / Double(steps))
      if g > 0 { total += g * log(g) }
    }
    return total / Double(steps)
  }
}
