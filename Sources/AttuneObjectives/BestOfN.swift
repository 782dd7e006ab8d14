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
  ///   - k: How many of the best are kept, at most n.
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

  /// What the best of n samples is expected to be worth, from more samples than n: the mean over all
  /// subsets of n, without bias (Stiennon et al. 2020; Nakano et al. 2021, arXiv:2112.09332).
  ///
  /// Σ_i v_(i)·C(i − 1, n − 1)/C(N, n) with the samples by rising score; those of one score share
  /// what their ranks weigh.
  ///
  /// - Parameters:
  ///   - values: What each sample is worth.
  ///   - scores: What the best one is chosen by.
  ///   - n: Samples chosen from, at most as many as there are.
  public static func expected(_ values: [Double], chosenBy scores: [Double], n: Int) -> Double {
    let count = values.count
    precondition(scores.count == count && n >= 1 && n <= count, "n samples are chosen from")
    let order = scores.indices.sorted { (scores[$0], $0) < (scores[$1], $1) }
    // From the highest rank down: C(i − 2, n − 1)/C(i − 1, n − 1) = (i − n)/(i − 1).
    var weights = [Double](repeating: 0, count: count)
    weights[count - 1] = Double(n) / Double(count)
    for i in stride(from: count, to: 1, by: -1) {
      weights[i - 2] = weights[i - 1] * Double(max(0, i - n)) / Double(i - 1)
    }
    var total = 0.0
    var first = 0
    while first < count {
      var last = first
      while last + 1 < count, scores[order[last + 1]] == scores[order[first]] { last += 1 }
      let shared = weights[first...last].reduce(0, +) / Double(last - first + 1)
      total += shared * order[first...last].reduce(0) { $0 + values[$1] }
      first = last + 1
    }
    return total
  }
}
