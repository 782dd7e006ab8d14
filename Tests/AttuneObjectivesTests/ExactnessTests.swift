// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

/// Methods on a policy whose optimum is known: they must reach it, not only improve.
struct ExactnessTests {
  @Test func `there are forty sequences and their probabilities add to one`() {
    #expect(TabularPolicy.sequences.count == 40)
    #expect(near(TabularPolicy(seed: 1).probabilities.reduce(0, +), 1))
  }

  /// What people keep getting wrong: the point that these reach is far from π*.
  static let elsewhere: Set = [
    "dpo, smoothing 0.1", "ipo, length-normalised", "grpo, k3 a token in the loss",
    "dr_grpo, k2 a sequence in the loss", "reinforce, k1 a sequence in the loss",
    "reinforce, k3 a sequence in the loss", "reinforce, constraint by dual ascent",
    "reinforce, k2 a token in the loss",
  ]

  @Test(arguments: ExactnessSuite.cases.indices)
  func `reaches its target from every start`(index: Int) throws {
    let item = ExactnessSuite.cases[index]
    for run in try ExactnessSuite.outcome(of: item).runs {
      let (moved, passes) = (run.initial > 0.05, run.passes)
      #expect(moved, "\(item.name) starts at its target")
      #expect(passes, "\(item.name): \(run.distance) from \(item.target), \(run.vanished) vanished")
      if Self.elsewhere.contains(item.name) {
        let far = try #require(run.fromOptimum) > 0.01
        #expect(far, "\(item.name) reaches π*")
      }
    }
    #expect(Self.elsewhere.isSubset(of: ExactnessSuite.cases.map(\.name)))
  }

  @Test func `every member of every family has a case`() {
    let named = Set(ExactnessSuite.cases.map { "\($0.family.rawValue) \($0.member)" })
    #expect(RewardLoss.allCases.allSatisfy { named.contains("reward \($0.rawValue)") })
    #expect(PreferenceLoss.allCases.allSatisfy { named.contains("preference \($0.rawValue)") })
    #expect(UnpairedLoss.allCases.allSatisfy { named.contains("unpaired \($0.rawValue)") })
    #expect(PolicyLoss.allCases.allSatisfy { named.contains("policy \($0.rawValue)") })
    #expect(DistributionLoss.allCases.allSatisfy { named.contains("distribution \($0.rawValue)") })
    #expect(DistillationLoss.allCases.allSatisfy { named.contains("distillation \($0.rawValue)") })
    #expect(Set(ExactnessSuite.cases.map(\.name)).count == ExactnessSuite.cases.count)
  }

  @Test func `as values k1 and k3 are unbiased and k2 is not`() {
    let (p, q) = (TabularPolicy(seed: 5).probabilities, TabularPolicy(seed: 6).probabilities)
    let exact = zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    func expected(_ kl: KLEstimator) -> Double {
      zip(p, q).reduce(0) { $0 + $1.0 * kl.value(policy: log($1.0), reference: log($1.1)) }
    }
    #expect(near(expected(.k1), exact) && near(expected(.k3), exact))
    #expect(abs(expected(.k2) - exact) > 0.05 * exact)
  }

  /// What the table of estimators says of k1 and k3 as losses, shown by their exact gradients.
  @Test func `KL estimators as losses have the gradients that the page states`() {
    let policy = TabularPolicy(seed: 5)
    let reference = TabularPolicy(seed: 6)
    let p = policy.probabilities
    let q = reference.probabilities
    func gradient(_ kl: KLEstimator) -> [Double] {
      let coefficients = TabularPolicy.sequences.indices.map { i in
        let sequence = TabularPolicy.sequences[i]
        let slope = kl.gradient(policy: log(p[i]), reference: log(q[i]))
        return sequence.map { _ in p[i] * slope }
      }
      return policy.gradient(coefficients)
    }
    func exact(_ f: @escaping ([Double]) -> Double) -> [Double] {
      policy.logits.indices.map { i in
        var (up, down) = (policy, policy)
        up.logits[i] += 1e-5
        down.logits[i] -= 1e-5
        return (f(up.probabilities) - f(down.probabilities)) / 2e-5
      }
    }
    let reverse = exact { zip($0, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) } }
    let forward = exact { zip($0, q).reduce(0) { $0 + $1.1 * log($1.1 / $1.0) } }
    #expect(gradient(.k1).allSatisfy { abs($0) < 1e-12 })
    #expect(zip(gradient(.k2), reverse).allSatisfy { abs($0 - $1) < 1e-8 })
    #expect(zip(gradient(.k3), forward).allSatisfy { abs($0 - $1) < 1e-8 })
    #expect(zip(forward, reverse).contains { abs($0 - $1) > 1e-2 })
  }
}
