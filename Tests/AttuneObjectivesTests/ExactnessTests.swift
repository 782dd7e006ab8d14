// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

/// Methods on a policy whose optimum is known: they must reach it, not only improve.
struct ExactnessTests {
  static let beta = 0.5

  /// Rewards with |r/β| ≤ 3.
  static func rewards(seed: UInt64) -> [Double] {
    var random = SplitMix(seed: seed)
    return TabularPolicy.sequences.map { _ in Double.random(in: -3...3, using: &random) * beta }
  }

  @Test func `there are forty sequences and their probabilities add to one`() {
    #expect(TabularPolicy.sequences.count == 40)
    #expect(near(TabularPolicy(seed: 1).probabilities.reduce(0, +), 1))
  }

  /// Exact values of the policy for the token rewards with KL: backward over the states.
  static func values(_ rows: [(weight: Double, rewards: [Double])]) -> [Double] {
    var total = Array(repeating: 0.0, count: TabularPolicy.states)
    var mass = total
    for (sequence, row) in zip(TabularPolicy.sequences, rows) {
      var toGo = 0.0
      for t in sequence.indices.reversed() {
        toGo += row.rewards[t]
        let state = TabularPolicy.state(sequence[..<t])
        total[state] += row.weight * toGo
        mass[state] += row.weight
      }
    }
    return zip(total, mass).map { $1 > 0 ? $0 / $1 : 0 }
  }

  @Test(arguments: [1, 2, 3] as [UInt64], [false, true] as [Bool])
  func `PPO with the KL in the reward reaches the Gibbs policy`(
    seed: UInt64, whitening: Bool
  ) throws {
    let reference = TabularPolicy(seed: seed)
    let scores = Self.rewards(seed: seed + 10)
    let target = TabularPolicy.optimum(
      reference: reference.probabilities, rewards: scores, beta: Self.beta)
    let referenceLogs = TabularPolicy.sequences.map { reference.logProbabilities($0) }
    var policy = TabularPolicy(seed: seed + 20)
    #expect(TabularPolicy.distance(policy.probabilities, target) > 0.1)
    var adam = Adam(count: policy.logits.count)
    let rollouts = 400
    for rollout in 0..<rollouts {
      let old = TabularPolicy.sequences.map { policy.logProbabilities($0) }
      let weights = policy.probabilities
      let rewards = zip(zip(old, referenceLogs), scores).map {
        Advantage.tokenRewards(old: $0.0, reference: $0.1, beta: Self.beta, score: $1)
      }
      let values = Self.values(zip(weights, rewards).map { (weight: $0, rewards: $1) })
      var advantages = zip(TabularPolicy.sequences, rewards).map { sequence, rewards in
        Advantage.gae(
          rewards: rewards,
          values: sequence.indices.map { values[TabularPolicy.state(sequence[..<$0])] }
        ).advantages
      }
      if whitening { advantages = Advantage.whiten(advantages, weights: weights) }
      for epoch in 0..<2 {
        let rows = TabularPolicy.sequences.indices.map { i in
          PolicyRow(
            new: policy.logProbabilities(TabularPolicy.sequences[i]), old: old[i],
            advantages: advantages[i], weight: weights[i])
        }
        let result = PolicyLoss.ppo.loss(
          rows, statistics: try PolicyLoss.ppo.statistics(of: rows))
        let progress = Double(2 * rollout + epoch) / Double(2 * rollouts)
        adam.update(
          &policy.logits, policy.gradient(result.logProbabilities), rate: 0.1 * (1 - progress))
      }
    }
    let distance = TabularPolicy.distance(policy.probabilities, target)
    #expect(distance < 1e-3, "total variation \(distance)")
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
