// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct DistributionLossTests {
  /// A loss with each divergence that it can be told.
  struct Variant: Sendable, CustomTestStringConvertible {
    var loss: DistributionLoss
    var divergence: TargetDivergence?
    var settings: DistributionSettings {
      var settings = DistributionSettings()
      settings.divergence = divergence
      return settings
    }
    var testDescription: String { loss.rawValue + (divergence.map { " " + $0.rawValue } ?? "") }

    static let all = DistributionLoss.allCases.flatMap { loss in
      loss == .fdpg
        ? TargetDivergence.allCases.map { Variant(loss: loss, divergence: $0) }
        : [Variant(loss: loss)]
    }
  }

  static func groups(count: Int, scale: Double = 1, seed: UInt64 = 41) -> [DistributionGroup] {
    var random = SplitMix(seed: seed)
    func number(_ range: ClosedRange<Double>) -> Double { Double.random(in: range, using: &random) }
    return (0..<count).map { i in
      let policy = (0..<(2 + i % 3)).map { _ in number(-6 ... -3) }
      return DistributionGroup(
        policy: policy, target: policy.map { $0 + number(-2...2) * scale },
        proposal: policy.map { $0 + number(-1...1) * scale },
        logPartition: i % 2 == 1 ? number(-1...1) : nil, weight: number(0.5...2))
    }
  }

  private static func state(_ baseline: Double?) -> DistributionState {
    var state = DistributionState()
    state.baseline = baseline
    return state
  }

  /// The page's formulas once more, by products of plain exponentials.
  private static func weight(
    _ variant: Variant, _ p: Double, _ policy: Double, _ q: Double, _ baseline: Double
  ) -> Double {
    let t = policy / p
    switch variant.loss {
    case .dpg: return p / q
    case .gdcPlusPlus: return p / q - policy / q
    case .brain: return .nan
    case .fdpg:
      let slope =
        switch variant.divergence ?? .forwardKL {
        case .forwardKL: -1 / t
        case .reverseKL: log(t) + 1
        case .jensenShannon: log(2 * t / (1 + t))
        case .totalVariation: log(t) > 0 ? 0.5 : -0.5
        case .chiSquared: 1 - 1 / (t * t)
        }
      return policy / q * (-slope - baseline)
    }
  }

  @Test(arguments: Variant.all)
  func `agrees with the formula`(variant: Variant) throws {
    let groups = Self.groups(count: 6)
    let total = groups.reduce(0) { $0 + $1.weight }
    let baseline = variant.loss == .fdpg ? 0.3 : 0
    let statistics = try variant.loss.statistics(
      of: groups, settings: variant.settings, state: Self.state(baseline))
    #expect(statistics.baseline == baseline)
    let result = variant.loss.loss(groups, statistics: statistics, settings: variant.settings)
    for (group, gradient) in zip(groups, result.logProbabilities) {
      let n = Double(group.policy.count)
      let weights = zip(group.target, group.proposal).map { exp($0 - $1) }
      let z = group.logPartition.map { exp($0) } ?? weights.reduce(0, +) / n
      for i in group.policy.indices {
        let policy = exp(group.policy[i])
        let q = exp(group.proposal[i])
        var expected: Double
        if variant.loss == .brain {
          let ratios = zip(group.policy, group.proposal).map { exp($0 - $1) }
          expected = ratios[i] / ratios.reduce(0, +) - weights[i] / weights.reduce(0, +)
        } else {
          let p = exp(group.target[i]) / z
          expected = -Self.weight(variant, p, policy, q, baseline) / n
        }
        expected *= group.weight / total
        #expect(near(gradient[i], expected, 1e-10))
      }
    }
  }

  @Test(arguments: Variant.all)
  func `gradient agrees with central differences, weights held constant`(variant: Variant) throws {
    let groups = Self.groups(count: 5)
    let statistics = try variant.loss.statistics(of: groups, settings: variant.settings)
    let whole = variant.loss.loss(groups, statistics: statistics, settings: variant.settings)
    expectGradient(
      whole.logProbabilities.flatMap { $0 }, at: groups.flatMap(\.policy)
    ) { point in
      var next = 0
      let moved = groups.map { group in
        var group = group
        for i in group.policy.indices {
          group.policy[i] = point[next]
          next += 1
        }
        return group
      }
      guard variant.loss != .brain else {
        return variant.loss.loss(moved, statistics: statistics, settings: variant.settings).loss
      }
      // The surrogate: what multiplies a log-probability is that of the point itself.
      var value = 0.0
      for (group, old) in zip(moved, groups) {
        let alone = variant.loss.loss([old], statistics: statistics, settings: variant.settings)
        for (policy, slope) in zip(group.policy, alone.logProbabilities[0]) {
          value += policy * slope
        }
      }
      return value
    }
    // The value at the point is that of the surrogate.
    if variant.loss != .brain {
      let surrogate = zip(groups, whole.logProbabilities).reduce(0) { sum, pair in
        sum + zip(pair.0.policy, pair.1).reduce(0) { $0 + $1.0 * $1.1 }
      }
      #expect(near(whole.loss, surrogate))
    }
  }

  @Test(arguments: Variant.all)
  func `any cut and order of a batch gives the same numbers`(variant: Variant) throws {
    let groups = Self.groups(count: 7)
    let statistics = try variant.loss.statistics(of: groups, settings: variant.settings)
    expectAnyCut { places in
      variant.loss.loss(
        places.map { groups[$0] }, statistics: statistics, settings: variant.settings)
    }
    let shuffled = Array(groups.reversed())
    let again = try variant.loss.statistics(of: shuffled, settings: variant.settings)
    #expect(near(again.baseline, statistics.baseline))
  }

  @Test(arguments: Variant.all, [1e4, 30])
  func `is finite at log-ratios of ten thousand, and counts them`(
    variant: Variant, size: Double
  ) throws {
    for (target, proposal) in [(size, 0.0), (-size, 0), (0, size), (0, -size), (size, -size)] {
      let group = DistributionGroup(
        policy: [-3, -4], target: [-3 + target, -4], proposal: [-3 + proposal, -4],
        logPartition: variant.loss == .brain ? nil : 0)
      let statistics = try variant.loss.statistics(of: [group], settings: variant.settings)
      let result = variant.loss.loss([group], statistics: statistics, settings: variant.settings)
      #expect(result.loss.isFinite)
      #expect(result.logProbabilities[0].allSatisfy { $0.isFinite })
      #expect(result.metrics.values.allSatisfy { $0.value.isFinite })
      if target - proposal > 20, variant.loss != .brain, variant.divergence == nil {
        #expect(result.metrics[.saturated] == 0.5)
      }
    }
  }

  @Test(arguments: Variant.all)
  func `at the target nothing is left to do on the policy's own samples`(
    variant: Variant
  ) throws {
    let own = [-1.0, -2, -0.7]
    let group = DistributionGroup(policy: own, target: own, proposal: own, logPartition: 0)
    let statistics = try variant.loss.statistics(of: [group], settings: variant.settings)
    let result = variant.loss.loss([group], statistics: statistics, settings: variant.settings)
    // Without a baseline each sample has weight 1, whose mean gradient is zero only in expectation.
    let expected = variant.loss == .dpg ? -1.0 / 3 : 0
    #expect(result.logProbabilities[0].allSatisfy { near($0, expected) })
    #expect(near(try #require(result.metrics[.effectiveSampleShare]), 1))
    #expect(near(try #require(result.metrics[.targetShareEntropy]), log(3)))
    #expect(abs(try #require(result.metrics[.klTargetPolicy])) < 1e-15)
  }

  /// Two samples of the reference, all of the target on one of them: DPO at β = 1.
  @Test func `brain on two samples of the reference with one-hot shares is dpo`() throws {
    let (chosen, rejected) = (
      ScoredResponse(policy: -4, reference: -4.7, tokens: 3),
      ScoredResponse(policy: -6, reference: -5.2, tokens: 2)
    )
    let group = DistributionGroup(
      policy: [-4, -6], target: [-4.7, -.infinity], proposal: [-4.7, -5.2])
    let loss = DistributionLoss.brain
    let result = loss.loss([group], statistics: try loss.statistics(of: [group]))
    var settings = PreferenceSettings()
    settings.beta = 1
    let row = PreferenceRow(chosen: chosen, rejected: rejected)
    let dpo = try PreferenceObjective(.dpo, settings).result([row])
    #expect(near(result.loss, dpo.loss))
    #expect(
      zip(result.logProbabilities[0], dpo.logProbabilities[0]).allSatisfy { near($0, $1) })
  }

  @Test func `the baseline is that of the batches before, and runs`() throws {
    let groups = Self.groups(count: 4)
    var settings = DistributionSettings()
    settings.divergence = .jensenShannon
    let first = try DistributionLoss.fdpg.statistics(of: groups, settings: settings)
    #expect(first.state.baseline == first.baseline)
    let next = try DistributionLoss.fdpg.statistics(
      of: groups, settings: settings, state: Self.state(5))
    #expect(next.baseline == 5)
    #expect(near(try #require(next.state.baseline), 5 + 0.1 * (first.baseline - 5)))
  }

  @Test func `a prompt without any mass is left out, not divided by`() throws {
    let none = DistributionGroup(
      policy: [-1, -2], target: [-.infinity, -.infinity], proposal: [-1, -2])
    let some = Self.groups(count: 1)
    for loss in DistributionLoss.allCases {
      let statistics = try loss.statistics(of: some + [none])
      let result = loss.loss(some + [none], statistics: statistics)
      #expect(result.logProbabilities[1] == [0, 0])
      let alone = loss.loss(some, statistics: try loss.statistics(of: some))
      #expect(result.loss == alone.loss)
      #expect(result.metrics[.effectiveSampleShare] != alone.metrics[.effectiveSampleShare])
    }
  }

  @Test func `the proposal is replaced once the policy is closer`() throws {
    let target = [-1.0, -1.5, -0.9]
    let near = target.map { $0 - 0.1 * $0 }
    let far = [-0.5, -3, -2.0]
    let good = try #require(
      ProposalFit([DistributionGroup(policy: near, target: target, proposal: far)]))
    #expect(good.policyIsCloser && good.policy < good.proposal)
    let bad = try #require(
      ProposalFit([DistributionGroup(policy: far, target: target, proposal: far)]))
    #expect(!bad.policyIsCloser && bad.policy == bad.proposal)
  }

  @Test(arguments: DistributionLoss.allCases)
  func `refuses what it cannot read and explains itself`(loss: DistributionLoss) throws {
    #expect(!loss.summary.isEmpty && !loss.formula.isEmpty && !loss.paper.isEmpty)
    func refuses(
      _ group: DistributionGroup, _ settings: DistributionSettings = DistributionSettings()
    ) {
      #expect(throws: ObjectiveError.self) {
        try loss.statistics(of: [group], settings: settings)
      }
    }
    refuses(DistributionGroup(policy: [-1], target: [-1], proposal: [-1]))
    refuses(DistributionGroup(policy: [-1, -2], target: [-1], proposal: [-1, -2]))
    refuses(DistributionGroup(policy: [-1, -2], target: [-1, .nan], proposal: [-1, -2]))
    refuses(DistributionGroup(policy: [-1, -.infinity], target: [-1, -1], proposal: [-1, -2]))
    refuses(DistributionGroup(policy: [], target: [], proposal: []))
    var settings = DistributionSettings()
    settings.divergence = .reverseKL
    let fine = DistributionGroup(policy: [-1, -2], target: [-1, -2], proposal: [-1, -2])
    if loss == .fdpg {
      _ = try loss.statistics(of: [fine], settings: settings)
      refuses(
        DistributionGroup(policy: [-1, -2], target: [-1, -.infinity], proposal: [-1, -2]),
        settings)
    } else {
      refuses(fine, settings)
    }
  }
}
