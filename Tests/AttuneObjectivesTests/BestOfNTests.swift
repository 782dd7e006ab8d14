// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

struct BestOfNTests {
  @Test func `the bound is the KL of the best of n`() {
    for n in [2, 4, 16, 256] {
      #expect(abs(BestOfN.klBound(of: n) - (log(Double(n)) - Double(n - 1) / Double(n))) < 1e-12)
      #expect(BestOfN.klBound(of: n, keeping: n) == 0)
    }
    // Two of three: the density of ranks is 3/2·(1 − v²).
    #expect(abs(BestOfN.klBound(of: 3, keeping: 2) - (log(6) - 5.0 / 3)) < 1e-7)
    // n − 1 of n: everything but the worst, n/(n−1)·(1 − v^(n−1)), of which nothing underflows.
    for (n, kept) in [(8, Array(1...8)), (400, [1, 2, 399, 400])] {
      let bounds = kept.map { BestOfN.klBound(of: n, keeping: $0) }
      #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 > $1 }, "\(n)")
      for (k, bound) in zip(kept, bounds) { #expect(bound <= log(Double(n) / Double(k)) + 1e-9) }
    }
  }

  @Test func `the best of n of a table is as far from it as the bound says`() {
    // 4,000 equally likely answers of different worth: P(best ≤ i) = ((i + 1)/m)^n.
    let (m, n) = (4000, 4)
    var kl = 0.0
    for i in 0..<m {
      let p = pow(Double(i + 1) / Double(m), Double(n)) - pow(Double(i) / Double(m), Double(n))
      kl += p * log(p * Double(m))
    }
    #expect(kl < BestOfN.klBound(of: n) && kl > BestOfN.klBound(of: n) - 1e-3)
  }

  @Test func `KL by another's samples is the policy's own`() {
    // Three responses of one token; q draws each as often as its probability says.
    let (policy, proposal, reference) = ([0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.25, 0.25, 0.5])
    let counts = [2, 3, 5]
    let draws = counts.indices.flatMap { [Int](repeating: $0, count: counts[$0]) }
    let statistics = SequenceStatistics(
      policy: draws.map { [log(policy[$0])] }, reference: draws.map { [log(reference[$0])] },
      weights: draws.map { policy[$0] / proposal[$0] })
    let kl = zip(policy, reference).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    #expect(abs(statistics.klPerSequence - kl) < 1e-12)
    #expect(abs(statistics.klPerToken - kl) < 1e-12)
    let plain = SequenceStatistics(
      policy: draws.map { [log(policy[$0])] }, reference: draws.map { [log(reference[$0])] })
    #expect(abs(plain.klPerSequence - kl) > 0.1)
    let even = SequenceStatistics(
      policy: draws.map { [log(policy[$0])] }, reference: draws.map { [log(reference[$0])] },
      weights: draws.map { _ in 2 })
    #expect(abs(even.klPerSequence - plain.klPerSequence) < 1e-12)
  }

  @Test func `the best of n is the mean over all subsets`() {
    let values = [0.3, -1.0, 2.0, 0.7, 5.0, -2.5]
    // Two share a score: which of them is taken is a coin's.
    let scores = [1.0, 0.0, 3.0, 3.0, 2.0, 4.0]
    for n in 1...values.count {
      var (total, subsets) = (0.0, 0)
      for mask in 1..<(1 << values.count) where mask.nonzeroBitCount == n {
        let chosen = values.indices.filter { mask >> $0 & 1 == 1 }
        let best = chosen.map { scores[$0] }.max() ?? 0
        let winners = chosen.filter { scores[$0] == best }.map { values[$0] }
        total += Statistics.mean(winners)
        subsets += 1
      }
      let expected = BestOfN.expected(values, chosenBy: scores, n: n)
      #expect(abs(expected - total / Double(subsets)) < 1e-12, "\(n)")
    }
    #expect(BestOfN.expected([7], chosenBy: [0], n: 1) == 7)
  }
}
