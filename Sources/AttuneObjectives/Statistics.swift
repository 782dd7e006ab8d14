// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The figures of a report, with how far they can be trusted.
public enum Statistics {
  /// A confidence interval.
  public struct Interval: Codable, Sendable, Equatable {
    /// Lower end.
    public var low: Double
    /// Upper end.
    public var high: Double

    /// Makes an interval.
    public init(low: Double, high: Double) {
      self.low = low
      self.high = high
    }
  }

  /// A figure with its interval.
  public struct Estimate: Codable, Sendable, Equatable {
    /// The figure.
    public var value: Double
    /// Its confidence interval.
    public var interval: Interval

    /// Makes an estimate.
    public init(value: Double, interval: Interval) {
      self.value = value
      self.interval = interval
    }
  }

  /// Mean; 0 of nothing.
  public static func mean(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
  }

  /// Standard deviation of a sample (n − 1); 0 of fewer than two.
  public static func standardDeviation(_ values: [Double]) -> Double {
    guard values.count > 1 else { return 0 }
    let m = mean(values)
    let squares = values.reduce(0) { $0 + ($1 - m) * ($1 - m) }
    return (squares / Double(values.count - 1)).squareRoot()
  }

  /// Standard error of the mean; 0 of fewer than two.
  public static func standardError(_ values: [Double]) -> Double {
    values.count > 1 ? standardDeviation(values) / Double(values.count).squareRoot() : 0
  }

  /// Value below which a share of sorted numbers lies, linear between neighbours; 0 of nothing.
  public static func quantile(sorted values: [Double], _ share: Double) -> Double {
    guard let last = values.indices.last else { return 0 }
    let place = min(max(share, 0), 1) * Double(last)
    let low = Int(place)
    let high = min(low + 1, last)
    return values[low] + (place - Double(low)) * (values[high] - values[low])
  }

  /// Percentile bootstrap over groups: whole groups (the samples of a prompt) are drawn with
  /// replacement, because samples of one prompt resemble each other.
  ///
  /// - Parameters:
  ///   - groups: A list a group.
  ///   - confidence: For example 0.95.
  ///   - resamples: How many times groups are drawn.
  ///   - seed: The interval depends on it, and on nothing else random.
  ///   - statistic: What is estimated, of as many groups as there are.
  public static func bootstrap<Group>(
    _ groups: [Group], confidence: Double = 0.95, resamples: Int = 2000, seed: UInt64 = 0,
    statistic: ([Group]) -> Double
  ) -> Estimate {
    let value = statistic(groups)
    guard groups.count > 1, resamples > 0 else {
      return Estimate(value: value, interval: Interval(low: value, high: value))
    }
    var drawn: [Double] = []
    drawn.reserveCapacity(resamples)
    var sample = groups
    for r in 0..<resamples {
      let random = CounterRandom(seed: seed, UInt64(r))
      for i in groups.indices { sample[i] = groups[random.below(groups.count, UInt64(i))] }
      let figure = statistic(sample)
      if figure.isFinite { drawn.append(figure) }
    }
    guard !drawn.isEmpty else {
      return Estimate(value: value, interval: Interval(low: value, high: value))
    }
    drawn.sort()
    let tail = (1 - confidence) / 2
    return Estimate(
      value: value,
      interval: Interval(
        low: quantile(sorted: drawn, tail), high: quantile(sorted: drawn, 1 - tail)))
  }

  /// Mean over groups of their means, each group counting the same, with its bootstrap interval.
  ///
  /// - Parameters:
  ///   - groups: The numbers of each group; empty groups are left out.
  ///   - confidence: For example 0.95.
  ///   - seed: Seed of the bootstrap.
  public static func mean(
    ofGroups groups: [[Double]], confidence: Double = 0.95, seed: UInt64 = 0
  ) -> Estimate {
    bootstrap(
      groups.filter { !$0.isEmpty }.map { mean($0) }, confidence: confidence, seed: seed,
      statistic: { mean($0) })
  }

  /// Wilson's score interval for a share (Wilson 1927): sensible also at 0 and 1.
  ///
  /// - Parameters:
  ///   - successes: How many; halves for ties are fine.
  ///   - trials: Of how many; the interval of none is 0…1.
  ///   - confidence: For example 0.95.
  public static func wilson(
    successes: Double, trials: Double, confidence: Double = 0.95
  ) -> Interval {
    guard trials > 0 else { return Interval(low: 0, high: 1) }
    let z = normalQuantile(0.5 + confidence / 2)
    let p = successes / trials
    let z2 = z * z / trials
    let centre = (p + z2 / 2) / (1 + z2)
    let half = z / (1 + z2) * (p * (1 - p) / trials + z2 / (4 * trials)).squareRoot()
    return Interval(low: max(0, centre - half), high: min(1, centre + half))
  }

  /// The z with Φ(z) = p, by bisection of erfc.
  public static func normalQuantile(_ p: Double) -> Double {
    var (low, high) = (-40.0, 40.0)
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if erfc(-middle / 2.0.squareRoot()) / 2 < p { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }

  /// A bin of predictions.
  public struct CalibrationBin: Codable, Sendable, Equatable {
    /// Lower and upper end of the predictions.
    public var range: Interval
    /// How many predictions.
    public var count: Int
    /// Their mean.
    public var predicted: Double
    /// The share that came true.
    public var observed: Double
  }

  /// Expected calibration error: Σ_bins (n_bin/n)·|observed − predicted|, bins of equal width on
  /// 0…1 (Naeini et al. 2015).
  ///
  /// - Parameters:
  ///   - predictions: Predicted probabilities.
  ///   - outcomes: 1 where it came true, 0 where not, or a soft label between.
  ///   - bins: Number of bins.
  /// - Returns: The error, 0 of nothing, and every bin.
  public static func calibration(
    predictions: [Double], outcomes: [Double], bins: Int = 10
  ) -> (error: Double, bins: [CalibrationBin]) {
    precondition(predictions.count == outcomes.count && bins > 0, "one outcome a prediction")
    var counts = Array(repeating: 0, count: bins)
    var predicted = Array(repeating: 0.0, count: bins)
    var observed = predicted
    for (p, o) in zip(predictions, outcomes) where p.isFinite {
      let bin = min(bins - 1, max(0, Int(min(max(p, 0), 1) * Double(bins))))
      counts[bin] += 1
      predicted[bin] += p
      observed[bin] += o
    }
    let total = Double(max(1, counts.reduce(0, +)))
    var error = 0.0
    let table = (0..<bins).map { i in
      let n = Double(max(1, counts[i]))
      error += abs(observed[i] - predicted[i]) / total
      return CalibrationBin(
        range: Interval(low: Double(i) / Double(bins), high: Double(i + 1) / Double(bins)),
        count: counts[i], predicted: predicted[i] / n, observed: observed[i] / n)
    }
    return (error, table)
  }

  /// Pearson's correlation; `nil` if a side does not vary.
  public static func pearson(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "one y an x")
    let (mx, my) = (mean(x), mean(y))
    var (xy, xx, yy) = (0.0, 0.0, 0.0)
    for (a, b) in zip(x, y) {
      xy += (a - mx) * (b - my)
      xx += (a - mx) * (a - mx)
      yy += (b - my) * (b - my)
    }
    guard xx > 0, yy > 0 else { return nil }
    return xy / (xx.squareRoot() * yy.squareRoot())
  }

  /// Distinct n-grams over n-grams of all lists together (Li et al. 2016); `nil` without n-grams.
  public static func distinct<Token: Hashable>(_ lists: [[Token]], n: Int) -> Double? {
    precondition(n > 0, "n-grams have at least one token")
    var seen: Set<ArraySlice<Token>> = []
    var total = 0
    for list in lists where list.count >= n {
      for start in 0...(list.count - n) {
        seen.insert(list[start..<(start + n)])
        total += 1
      }
    }
    return total > 0 ? Double(seen.count) / Double(total) : nil
  }

  /// Share of the n-grams of a list that it had before: 0 for none twice, and for short lists.
  public static func repetition<Token: Hashable>(_ list: [Token], n: Int = 4) -> Double {
    distinct([list], n: n).map { 1 - $0 } ?? 0
  }
}
