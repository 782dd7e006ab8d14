// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct StatisticsTests {
  @Test func `Wilson intervals agree with the published ones`() {
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for (k, n, low, high) in [
      (81.0, 263.0, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
      (1, 29, 0.0061, 0.1718),
    ] {
      let interval = Statistics.wilson(successes: k, trials: n)
      #expect(abs(interval.low - low) < 5e-5 && abs(interval.high - high) < 5e-5)
    }
    #expect(Statistics.wilson(successes: 0, trials: 0) == .init(low: 0, high: 1))
    #expect(abs(Statistics.normalQuantile(0.975) - 1.959963984540054) < 1e-12)
  }

  @Test func `the bootstrap covers, repeats, and shrinks with pairing`() {
    var random = SplitMix(seed: 11)
    func normal() -> Double {
      (0..<12).reduce(-6) { sum, _ in sum + Double.random(in: 0...1, using: &random) }
    }
    var covered = 0
    for trial in 0..<200 {
      let groups = (0..<40).map { _ in
        let shared = normal()
        return (0..<4).map { _ in 1 + shared + 0.3 * normal() }
      }
      let estimate = Statistics.mean(ofGroups: groups, seed: UInt64(trial))
      if estimate.interval.low <= 1, estimate.interval.high >= 1 { covered += 1 }
      if trial == 0 { #expect(Statistics.mean(ofGroups: groups, seed: 0) == estimate) }
    }
    #expect(covered >= 180 && covered <= 198)
  }

  @Test func `calibration error of bins by hand`() {
    let (error, bins) = Statistics.calibration(
      predictions: [0.05, 0.95, 1, 0.91, 0.52], outcomes: [0, 1, 1, 0, 1])
    #expect(bins.map(\.count) == [1, 0, 0, 0, 0, 1, 0, 0, 0, 3])
    let last = abs(2.0 - (0.95 + 1 + 0.91))
    #expect(near(error, (0.05 + 0.48 + last) / 5))
    #expect(Statistics.calibration(predictions: [], outcomes: []).error == 0)
  }

  @Test func `correlations`() {
    #expect(near(Statistics.pearson([1, 2, 3], [2, 4, 6]) ?? 0, 1))
    #expect(near(Statistics.pearson([1, 2, 3, 4], [1, 3, 2, 4]) ?? 0, 0.8))
    #expect(Statistics.pearson([1, 1], [2, 3]) == nil)
  }

  @Test func `distinct n-grams and repetition`() {
    #expect(Statistics.distinct([[1, 2, 1, 2], [1, 2]], n: 2) == 0.5)
    #expect(Statistics.distinct([[1]], n: 2) == nil)
    #expect(near(Statistics.repetition(["a", "b", "c", "d", "a", "b", "c", "d"]), 0.2))
    #expect(Statistics.repetition(["a"]) == 0)
  }

  @Test func `moments and quantiles`() {
    #expect(Statistics.mean([]) == 0)
    #expect(near(Statistics.standardDeviation([1, 2, 3, 4]), (5.0 / 3).squareRoot()))
    #expect(Statistics.quantile(sorted: [0, 10], 0.25) == 2.5)
    #expect(Statistics.quantile(sorted: [7], 0.9) == 7)
  }

  @Test func `random numbers depend on seed and place alone`() {
    let random = CounterRandom(seed: 1, 2, 3)
    #expect(random.bits(5) == CounterRandom(seed: 1, 2, 3).bits(5))
    #expect(random.bits(5) != random.bits(6))
    #expect(random.bits(5) != CounterRandom(seed: 1, 3, 2).bits(5))
    let draws = (0..<20000).map { random.uniform(UInt64($0)) }
    #expect(abs(Statistics.mean(draws) - 0.5) < 0.01)
    #expect(abs(Statistics.standardDeviation(draws) - (1.0 / 12).squareRoot()) < 0.005)
    let gumbel = (0..<20000).map { random.gumbel(UInt64($0)) }
    #expect(abs(Statistics.mean(gumbel) - 0.5772) < 0.03)
  }

  @Test(arguments: Metric.allCases)
  func `every metric says what it means`(metric: Metric) {
    #expect(metric.meaning.count > 10)
    #expect(!metric.meaning.contains("\n"))
  }

  @Test func `metrics are listed in the order of the documentation`() {
    var totals = MetricTotals()
    totals.addMean(.entropy, total: 3, weight: 2)
    totals.add(.loss, 1)
    totals.addMean(.accuracy, total: 0, weight: 0)
    #expect(totals.values.map(\.metric) == [.loss, .entropy])
    #expect(totals[.entropy] == 1.5)
    #expect(Metric.allCases.sorted() == Metric.allCases)
  }
}
