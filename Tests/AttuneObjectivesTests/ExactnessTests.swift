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

  /// Methods that compare the samples of a prompt, over all pairs of samples: RLOO with the KL in the
  /// reward reaches π*; Dr. GRPO's mean counts the own sample, which halves the reward's gradient, so
  /// with the KL in the loss it reaches π* at 2β.
  @Test(arguments: [PolicyLoss.reinforce, .drGrpo], [1, 2] as [UInt64])
  func `group methods reach their closed forms`(loss: PolicyLoss, seed: UInt64) throws {
    let reference = TabularPolicy(seed: seed)
    let rho = reference.probabilities
    let scores = Self.rewards(seed: seed + 10)
    let target = TabularPolicy.optimum(
      reference: rho, rewards: scores, beta: loss == .drGrpo ? 2 * Self.beta : Self.beta)
    let referenceLogs = TabularPolicy.sequences.map { reference.logProbabilities($0) }
    var settings = PolicySettings()
    if loss == .drGrpo {
      settings.maximumLength = TabularPolicy.steps
      settings.klWeight = Self.beta
      settings.klEstimator = .k2
      settings.klPerSequence = true
    }
    var policy = TabularPolicy(seed: seed + 20)
    #expect(TabularPolicy.distance(policy.probabilities, target) > 0.1)
    var adam = Adam(count: policy.logits.count)
    let steps = 800
    for step in 0..<steps {
      let p = policy.probabilities
      let logs = TabularPolicy.sequences.map { policy.logProbabilities($0) }
      let worth = scores.indices.map {
        loss == .drGrpo ? scores[$0] : scores[$0] - Self.beta * log(p[$0] / rho[$0])
      }
      // The expected advantage of a sample over its partner in the group.
      let advantages = try worth.indices.map { i in
        try worth.indices.reduce(0.0) { sum, j in
          let pair = [worth[i], worth[j]]
          let own =
            loss == .drGrpo
            ? try Advantage.groupNormalised(pair, scaling: false) : try Advantage.leaveOneOut(pair)
          return sum + p[j] * own[0]
        }
      }
      let rows = p.indices.map { i in
        PolicyRow(
          new: logs[i], old: logs[i], advantages: logs[i].map { _ in advantages[i] },
          reference: referenceLogs[i], weight: p[i])
      }
      let result = loss.loss(
        rows, statistics: try loss.statistics(of: rows, settings: settings), settings: settings)
      adam.update(
        &policy.logits, policy.gradient(result.logProbabilities),
        rate: 0.1 * (1 - Double(step) / Double(steps)))
    }
    let distance = TabularPolicy.distance(policy.probabilities, target)
    #expect(distance < 1e-3, "total variation \(distance)")
  }

  /// Every contrastive loss whose optimum is a closed form: all pairs, weighted by the product of
  /// the reference's probabilities, labels drawn from Bradley–Terry of the rewards.
  @Test(arguments: [PreferenceLoss.dpo, .robust, .rdpo, .ipo], [1, 2] as [UInt64])
  func `contrastive losses reach their closed forms`(loss: PreferenceLoss, seed: UInt64) throws {
    let beta = 0.5
    let reference = TabularPolicy(seed: seed)
    let scores = Self.rewards(seed: seed + 10)
    let rho = reference.probabilities
    let count = rho.count
    func preferred(_ i: Int, _ j: Int) -> Double { sigmoid(scores[i] - scores[j]) }
    let lengths = TabularPolicy.sequences.map(\.count)
    var settings = PreferenceSettings()
    settings.beta = beta
    var worth = scores
    switch loss {
    case .rdpo:
      settings.alpha = 0.2
      worth = zip(scores, lengths).map { $0 - 0.2 * Double($1) }
    case .robust: settings.smoothing = 0.1
    case .ipo:
      // Rivals are drawn from the reference: p̄ is the mean win rate against it.
      worth = (0..<count).map { i in
        (0..<count).reduce(0) { $0 + rho[$1] * preferred(i, $1) }
      }
    default: break
    }
    let target = TabularPolicy.optimum(reference: rho, rewards: worth, beta: beta)
    var pairs: [(Int, Int, Double, Double)] = []  // i, j, probability of the label, weight
    for i in 0..<count {
      for j in (i + 1)..<count {
        let weight = 2 * rho[i] * rho[j]
        if loss == .robust {
          // Labels are flipped with probability 0.1, and hard.
          let p = 0.9 * preferred(i, j) + 0.1 * preferred(j, i)
          pairs += [(i, j, 1, weight * p), (j, i, 1, weight * (1 - p))]
        } else {
          pairs.append((i, j, preferred(i, j), weight))
        }
      }
    }
    var policy = TabularPolicy(seed: seed + 20)
    #expect(TabularPolicy.distance(policy.probabilities, target) > 0.1)
    var adam = Adam(count: policy.logits.count)
    let steps = 250
    for step in 0..<steps {
      let logs = TabularPolicy.sequences.map { policy.logProbabilities($0).reduce(0, +) }
      let responses = (0..<count).map {
        ScoredResponse(policy: logs[$0], reference: log(rho[$0]), tokens: lengths[$0])
      }
      let rows = pairs.map {
        PreferenceRow(
          chosen: responses[$0.0], rejected: responses[$0.1], probability: $0.2, weight: $0.3)
      }
      let statistics = try loss.statistics(of: rows, settings: settings)
      let result = try loss.loss(rows, statistics: statistics, settings: settings)
      var sums = Array(repeating: 0.0, count: count)
      for (pair, gradient) in zip(pairs, result.logProbabilities) {
        sums[pair.0] += gradient[0]
        sums[pair.1] += gradient[1]
      }
      let coefficients = zip(sums, lengths).map { Array(repeating: $0, count: $1) }
      adam.update(
        &policy.logits, policy.gradient(coefficients),
        rate: 0.1 * (1 - Double(step) / Double(steps)))
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
