// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct AdvantageTests {
  @Test func `lambda one is return minus value, lambda zero the one-step error`() {
    let rewards = [0.1, -0.2, 1]
    let values = [0.3, 0.5, -0.4]
    let all = Advantage.gae(rewards: rewards, values: values, lambda: 1)
    #expect(near(all.advantages[0], 0.9 - 0.3))
    #expect(near(all.returns[1], 0.8))
    let one = Advantage.gae(rewards: rewards, values: values, lambda: 0)
    #expect(near(one.advantages[0], 0.1 + 0.5 - 0.3))
    #expect(near(one.advantages[2], 1 + 0.4))
    let general = Advantage.gae(rewards: rewards, values: values, gamma: 0.9, lambda: 0.8)
    let deltas = [0.1 + 0.45 - 0.3, -0.2 - 0.36 - 0.5, 1.4]
    #expect(near(general.advantages[0], deltas[0] + 0.72 * deltas[1] + 0.72 * 0.72 * deltas[2]))
    #expect(Advantage.gae(rewards: [], values: []).advantages.isEmpty)
  }

  @Test func `whitened advantages have mean zero and deviation one over all tokens`() {
    let rows = [[1.0, 2, 3], [10], [], [-4, 0]]
    let white = Advantage.whiten(rows).flatMap { $0 }
    #expect(abs(Statistics.mean(white)) < 1e-12)
    #expect(abs(RunningMoments(white).standardDeviation - 1) < 1e-8)
    let kept = Advantage.whiten(rows, keepingMean: true).flatMap { $0 }
    #expect(near(Statistics.mean(kept), Statistics.mean(rows.flatMap { $0 })))
    #expect(Advantage.whiten([[2, 2], [2]]) == [[0, 0], [0]])
    // A weight of two is the row twice.
    let weighted = Advantage.whiten([[1, 2], [5]], weights: [2, 1])
    let repeated = Advantage.whiten([[1, 2], [1, 2], [5]])
    #expect(zip(weighted[1] + weighted[0], repeated[2] + repeated[0]).allSatisfy { near($0, $1) })
  }

  @Test func `group baselines`() throws {
    let loo = try Advantage.leaveOneOut([1, 2, 6])
    #expect(zip(loo, [1 - 4, 2 - 3.5, 6 - 1.5]).allSatisfy { near($0, $1) })
    let own = try Advantage.groupNormalised([1, 2, 6], scaling: false)
    #expect(zip(own, loo).allSatisfy { near($0, $1 * 2 / 3) })
    let scaled = try Advantage.groupNormalised([1, 2, 6])
    #expect(near(scaled[0], -2 / (7.0.squareRoot() + 1e-4)))
    #expect(try Advantage.groupNormalised([3, 3]) == [0, 0])
    #expect(throws: ObjectiveError.self) { try Advantage.leaveOneOut([1]) }
    #expect(throws: ObjectiveError.self) { try Advantage.groupNormalised([]) }
  }

  @Test func `sources are normalised one by one before their weighted sum`() throws {
    let wide = [10.0, 0, 5]
    let narrow = [0.01, 0.02, 0.03]
    let sums = try Advantage.sourceNormalised(
      [wide, narrow, [9, 9, 9], wide], weights: [1, 0.5, 2, 0])
    let (first, second) = (
      try Advantage.groupNormalised(wide), try Advantage.groupNormalised(narrow)
    )
    #expect(zip(sums, zip(first, second)).allSatisfy { near($0, $1.0 + 0.5 * $1.1) })
    // As TRL's normalize_then_sum, by hand: (10 − 5)/(5 + 1e-4) + ½·(0.01 − 0.02)/(0.01 + 1e-4).
    #expect(near(sums[0], 5 / 5.0001 - 0.5 * 0.01 / 0.0101, 1e-9))
    #expect(throws: ObjectiveError.self) { try Advantage.sourceNormalised([[1]], weights: [1]) }
  }

  @Test func `a running baseline never sees the return that is held against it`() {
    var baseline = RunningBaseline(rate: 0.25)
    let first = baseline.expected([1, 2, 6])
    #expect(zip(first, [4, 3.5, 1.5]).allSatisfy { near($0, $1) })
    #expect(baseline.expected([7]) == [0])
    baseline.update([1, 2, 6])
    #expect(baseline.mean == 3 && baseline.expected([9, 100]) == [3, 3])
    baseline.update([])
    baseline.update([7])
    #expect(baseline.mean == 4)
  }

  @Test func `the overlong penalty falls to minus one at the limit`() {
    for (length, penalty) in [(1, 0.0), (80, 0), (81, -0.05), (90, -0.5), (100, -1), (140, -1)] {
      let value = Advantage.overlongPenalty(length: length, limit: 100, cache: 20)
      #expect(near(value, penalty), "\(length)")
    }
  }

  @Test func `the KL term goes to every token and the score to the last`() {
    let rewards = Advantage.tokenRewards(
      old: [-1, -2], reference: [-1.5, -1], beta: 0.1, score: 3)
    #expect(near(rewards[0], -0.05) && near(rewards[1], 3.1))
    #expect(Advantage.tokenRewards(old: [], reference: [], beta: 1, score: 3).isEmpty)
    let parts = Advantage.tokenRewards(
      old: [-1, -2], reference: [-1.5, -1], beta: 0.1, score: 3, parts: [2, 0.5])
    #expect(near(parts[0], 1.95) && near(parts[1], 1.1))
    #expect(near(parts.reduce(0, +), rewards.reduce(0, +)))
  }

  @Test(arguments: KLEstimator.allCases)
  func `estimator gradients agree with differences and are finite far out`(kl: KLEstimator) {
    for (policy, reference) in [(-1.0, -2.0), (-2.0, -0.5), (-1.0, -1.0), (-25.0, -1.0)] {
      expectGradient([kl.gradient(policy: policy, reference: reference)], at: [policy]) {
        kl.value(policy: $0[0], reference: reference)
      }
    }
    for far in [-1e4, 1e4] {
      #expect(kl.value(policy: far, reference: 0).isFinite)
      #expect(kl.gradient(policy: far, reference: 0).isFinite)
    }
    #expect(kl.value(policy: -3, reference: -3) == 0)
  }

  @Test func `weighted k3 is one function with the gradient of the KL`() {
    for (policy, reference, old) in [(-1.0, -2.0, -1.2), (-3.0, -0.5, -2.9), (-2.0, -30.0, -25.0)] {
      let (value, gradient) = KLEstimator.weightedK3(
        policy: policy, reference: reference, old: old)
      expectGradient([gradient], at: [policy], relative: 1e-5) {
        KLEstimator.weightedK3(policy: $0[0], reference: reference, old: old).value
      }
      if policy - old < 20 {
        let k3 = KLEstimator.k3.value(policy: policy, reference: reference)
        #expect(near(value, k3 * exp(policy - old), 1e-10))
      }
    }
    for p in [-1e4, 0, 1e4] {
      for r in [-1e4, 0, 1e4] {
        let (value, gradient) = KLEstimator.weightedK3(policy: p, reference: r, old: 0)
        #expect(value.isFinite && gradient.isFinite)
        #expect(gradient * (p - r) >= 0)
      }
    }
  }

  @Test func `k1 and k3 are unbiased, exactly`() {
    let p = [0.5, 0.3, 0.2]
    let q = [0.2, 0.2, 0.6]
    let exact = zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    for kl in [KLEstimator.k1, .k3] {
      let mean = zip(p, q).reduce(0) {
        $0 + $1.0 * kl.value(policy: log($1.0), reference: log($1.1))
      }
      #expect(near(mean, exact))
    }
  }

  @Test func `adaptive beta follows its target by at most two percent`() throws {
    var kl = try AdaptiveKL(beta: 0.1, target: 8)
    kl.update(kl: 80)
    #expect(near(kl.beta, 0.102))
    kl.update(kl: 0)
    #expect(near(kl.beta, 0.102 * 0.98))
    kl.update(kl: 8 * 1.1)
    #expect(near(kl.beta, 0.102 * 0.98 * 1.01))
    kl.update(kl: .nan)
    let copy = try JSONDecoder().decode(AdaptiveKL.self, from: JSONEncoder().encode(kl))
    #expect(copy == kl)
    var fixed = try AdaptiveKL(beta: 0.1)
    fixed.update(kl: 80)
    #expect(fixed.beta == 0.1)
    #expect(throws: ObjectiveError.self) { try AdaptiveKL(beta: -1) }
    #expect(throws: ObjectiveError.self) { try AdaptiveKL(beta: 0, target: 3) }
  }

  @Test func `sequence statistics`() {
    let s = SequenceStatistics(
      policy: [[-1, -2], [-3], []], reference: [[-2, -2.5], [-2.5], []],
      ended: [true, false, true])
    #expect(s.logRatios == [1.5, -0.5, 0])
    #expect(near(s.klPerSequence, 1.0 / 3))
    #expect(near(s.klPerToken, 1.0 / 3))
    #expect(near(s.meanLength, 1))
    #expect(near(s.endedShare ?? 0, 2.0 / 3))
    #expect(near(s.metrics[.klSequence] ?? 0, 1.0 / 3))
  }

  @Test func `running moments are mean and deviation of the population`() throws {
    var random = SplitMix(seed: 4)
    let values = (0..<100).map { _ in Double.random(in: 5...9, using: &random) }
    let all = RunningMoments(values)
    #expect(near(all.mean, Statistics.mean(values)))
    let deviation = Statistics.standardDeviation(values)
    #expect(near(all.standardDeviation, deviation * (99.0 / 100).squareRoot()))
    let copy = try JSONDecoder().decode(RunningMoments.self, from: JSONEncoder().encode(all))
    #expect(copy == all)
  }
}
