// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct PolicyLossTests {
  static func rows(
    for loss: PolicyLoss = .ppo, count: Int, spread: Double = 0.5, seed: UInt64 = 3
  ) -> [PolicyRow] {
    var random = SplitMix(seed: seed)
    func number(_ scale: Double) -> Double { Double.random(in: -1...1, using: &random) * scale }
    return (0..<count).map { i in
      let n = 1 + (i * 3) % 5
      let old = (0..<n).map { _ in -2 + number(1) }
      let new = old.map { $0 + number(spread) }
      let own = number(2)
      return PolicyRow(
        new: new, old: old, advantages: old.map { _ in loss == .gspo ? own : number(2) },
        entropies: old.map { _ in 1 + number(1) }, reference: old.map { $0 + number(1) },
        weight: 1.5 + number(1))
    }
  }

  /// The knobs of a case with what the loss cannot do without.
  static func settings(for loss: PolicyLoss, _ knob: Int) -> PolicySettings {
    var settings = knobs[knob]
    if loss == .drGrpo { settings.maximumLength = 5 }
    return settings
  }

  static var knobs: [PolicySettings] {
    var entropy = PolicySettings()
    entropy.entropyBonus = 0.01
    entropy.clipHigh = 0.28
    var dual = entropy
    dual.dualClip = 1.3
    var kl = PolicySettings()
    kl.klWeight = 0.3
    var sequence = kl
    sequence.klTerm.klPerSequence = true
    sequence.klTerm.klEstimator = .k2
    var weighted = sequence
    weighted.klTerm.klEstimator = .k3
    weighted.klTerm.klRatioWeighted = true
    return [PolicySettings(), entropy, dual, kl, sequence, weighted]
  }

  @Test func `dr_grpo over one token is the policy gradient where nothing was trained yet`() throws
  {
    // What rloo's later steps rest on: the same direction and size as its single one.
    let rows = Self.rows(for: .gspo, count: 6).map { row in
      PolicyRow(new: row.old, old: row.old, advantages: row.advantages, weight: row.weight)
    }
    var settings = PolicySettings()
    settings.maximumLength = 1
    func gradients(_ loss: PolicyLoss) throws -> [[Double]] {
      let statistics = try loss.statistics(of: rows, settings: settings)
      return loss.loss(rows, statistics: statistics, settings: settings).logProbabilities
    }
    let (plain, clipped) = (try gradients(.reinforce), try gradients(.drGrpo))
    #expect(plain.flatMap { $0 }.contains { abs($0) > 0.1 })
    for (a, b) in zip(plain.flatMap { $0 }, clipped.flatMap { $0 }) { #expect(abs(a - b) < 1e-12) }
  }

  @Test(arguments: PolicyLoss.allCases, 0..<6)
  func `gradient agrees with central differences`(loss: PolicyLoss, knob: Int) throws {
    let settings = Self.settings(for: loss, knob)
    let rows = Self.rows(for: loss, count: 6, spread: loss == .gspo ? 1.5 : 0.5)
    let statistics = try loss.statistics(of: rows, settings: settings)
    func run(_ point: [Double]) -> LossResult {
      var rows = rows
      var next = 0
      for r in rows.indices {
        for t in rows[r].new.indices {
          rows[r].new[t] = point[next]
          next += 1
        }
      }
      for r in rows.indices {
        for t in rows[r].entropies.indices {
          rows[r].entropies[t] = point[next]
          next += 1
        }
      }
      return loss.loss(rows, statistics: statistics, settings: settings)
    }
    let point = rows.flatMap(\.new) + rows.flatMap(\.entropies)
    let result = run(point)
    let entropies =
      result.entropies.isEmpty
      ? rows.flatMap(\.entropies).map { _ in 0 } : result.entropies.flatMap { $0 }
    // The weight of `cispo` is no part of the derivative: what it is now stays beside the moved point.
    func constantWeights(_ moved: [Double]) -> Double {
      guard loss == .cispo else { return 0 }
      var (next, total) = (0, 0.0)
      for row in rows {
        for t in row.new.indices {
          let ratio = { min(exp($0 - row.old[t]), 1 + settings.clipHigh) }
          total +=
            row.weight / statistics.tokens * row.advantages[t] * moved[next]
            * (ratio(moved[next]) - ratio(row.new[t]))
          next += 1
        }
      }
      return total
    }
    expectGradient(result.logProbabilities.flatMap { $0 } + entropies, at: point) {
      run($0).loss + constantWeights($0)
    }
    let share = try #require(result.metrics[.clipShare])
    #expect(loss == .reinforce ? share == 0 : share > 0 && share < 1)
  }

  @Test(arguments: PolicyLoss.allCases, 0..<6)
  func `any cut and order of a batch gives the same numbers`(loss: PolicyLoss, knob: Int) throws {
    let settings = Self.settings(for: loss, knob)
    let rows = Self.rows(for: loss, count: 7)
    let statistics = try loss.statistics(of: rows, settings: settings)
    expectAnyCut { places in
      loss.loss(places.map { rows[$0] }, statistics: statistics, settings: settings)
    }
  }

  @Test(arguments: PolicyLoss.allCases, [-1e4, -21, 21, 1e4])
  func `is finite at any log-ratio`(loss: PolicyLoss, logRatio: Double) throws {
    for advantage in [-2.0, 0, 2] {
      let settings = Self.settings(for: loss, 0)
      let row = PolicyRow(new: [logRatio - 3], old: [-3], advantages: [advantage])
      let statistics = try loss.statistics(of: [row], settings: settings)
      let result = loss.loss([row], statistics: statistics, settings: settings)
      #expect(result.loss.isFinite)
      #expect(result.logProbabilities[0][0].isFinite)
      #expect(result.metrics.values.allSatisfy { $0.value.isFinite })
    }
  }

  /// Responses of 1 and 3 tokens, advantages 2 and −1: only the normaliser tells the losses apart.
  @Test(
    arguments: [
      (.reinforce, [-1, 0.5]), (.ppo, [-0.5, 0.25]), (.grpo, [-1, 0.5 / 3]),
      (.drGrpo, [-0.25, 0.125]),
      (.dapo, [-0.5, 0.25]), (.gspo, [-1, 0.5 / 3]), (.cispo, [-0.5, 0.25]),
    ] as [(PolicyLoss, [Double])])
  func `on policy each loss is the policy gradient under its own normaliser`(
    loss: PolicyLoss, expected: [Double]
  ) throws {
    var settings = loss.defaults
    settings.klWeight = 0
    settings.maximumLength = 4
    let rows = [
      PolicyRow(new: [-1], old: [-1], advantages: [2]),
      PolicyRow(new: [-1, -2, -3], old: [-1, -2, -3], advantages: [-1, -1, -1]),
    ]
    let statistics = try loss.statistics(of: rows, settings: settings)
    let result = loss.loss(rows, statistics: statistics, settings: settings)
    for (gradient, expected) in zip(result.logProbabilities, expected) {
      #expect(gradient.allSatisfy { near($0, expected) })
    }
  }

  @Test func `a clipped token keeps its gradient with cispo alone`() throws {
    let row = PolicyRow(new: [log(8) - 2], old: [-2], advantages: [1])
    for loss in PolicyLoss.allCases where loss != .reinforce {
      var settings = loss.defaults
      settings.klWeight = 0
      settings.maximumLength = 1
      let result = loss.loss(
        [row], statistics: try loss.statistics(of: [row], settings: settings), settings: settings)
      #expect(near(result.logProbabilities[0][0], loss == .cispo ? -5 : 0))
    }
  }

  @Test func `what a loss needs and lacks is an error`() {
    let row = PolicyRow(new: [], old: [-1, -1], advantages: [1, 2])
    var settings = PolicySettings()
    #expect(throws: ObjectiveError.self) { try PolicyLoss.drGrpo.statistics(of: [row]) }
    #expect(throws: ObjectiveError.self) { try PolicyLoss.gspo.statistics(of: [row]) }
    settings.klWeight = 0.1
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.grpo.statistics(of: [row], settings: settings)
    }
    settings.klTerm.klEstimator = .k1
    settings.klTerm.klRatioWeighted = true
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.ppo.statistics(of: [], settings: settings)
    }
  }

  @Test func `at ratio one the gradient is the policy gradient`() throws {
    let row = PolicyRow(new: [-1, -2], old: [-1, -2], advantages: [0.5, -3])
    let result = PolicyLoss.ppo.loss([row], statistics: try PolicyLoss.ppo.statistics(of: [row]))
    #expect(result.logProbabilities == [[-0.25, 1.5]])
    #expect(near(result.loss, 1.25))
    #expect(result.metrics[.clipShare] == 0)
    #expect(result.metrics[.klUpdateK3] == 0)
  }

  @Test func `the clip binds on the side that the advantage pulls to`() throws {
    let up = log(1.5)
    let down = log(0.5)
    let row = PolicyRow(
      new: [up, up, down, down], old: [0, 0, 0, 0], advantages: [1, -1, 1, -1])
    let result = PolicyLoss.ppo.loss([row], statistics: try PolicyLoss.ppo.statistics(of: [row]))
    #expect(near(result.loss, -(1.2 - 1.5 + 0.5 - 0.8) / 4))
    #expect(result.logProbabilities[0][0] == 0)
    #expect(near(result.logProbabilities[0][1], 1.5 / 4))
    #expect(near(result.logProbabilities[0][2], -0.5 / 4))
    #expect(result.logProbabilities[0][3] == 0)
    #expect(result.metrics[.clipShare] == 0.5)
    #expect(near(result.metrics[.ratioMaximum] ?? 0, 1.5))
  }

  @Test func `refuses knobs and rows that make no sense`() {
    var settings = PolicySettings()
    settings.dualClip = 0.5
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.ppo.statistics(of: [], settings: settings)
    }
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.ppo.statistics(of: [PolicyRow(new: [], old: [1, 2], advantages: [1])])
    }
  }
}

struct ValueLossTests {
  static func rows(count: Int) -> [ValueRow] {
    var random = SplitMix(seed: 9)
    func number() -> Double { Double.random(in: -1...1, using: &random) }
    return (0..<count).map { i in
      let old = (0..<(1 + i % 4)).map { _ in number() }
      return ValueRow(
        values: old.map { $0 + number() }, oldValues: old, returns: old.map { $0 + number() },
        weight: 1.5 + number())
    }
  }

  @Test(arguments: ValueLoss.allCases, [0.2, nil])
  func `gradient, cuts and order`(loss: ValueLoss, clip: Double?) throws {
    var settings = ValueSettings()
    settings.clip = clip
    let rows = Self.rows(count: 7)
    let statistics = try loss.statistics(of: rows, settings: settings)
    func run(_ point: [Double]) -> LossResult {
      var rows = rows
      var next = 0
      for r in rows.indices {
        for t in rows[r].values.indices {
          rows[r].values[t] = point[next]
          next += 1
        }
      }
      return loss.loss(rows, statistics: statistics, settings: settings)
    }
    let point = rows.flatMap(\.values)
    let whole = run(point)
    expectGradient(whole.scalars.flatMap { $0 }, at: point) { run($0).loss }
    if clip != nil { #expect((whole.metrics[.valueClipShare] ?? 0) > 0) }
    expectAnyCut { places in
      loss.loss(places.map { rows[$0] }, statistics: statistics, settings: settings)
    }
  }

  @Test func `explained variance is one for a perfect value and zero for a constant`() throws {
    let perfect = ValueRow(values: [1, 2, 4], oldValues: [1, 2, 4], returns: [1, 2, 4])
    let constant = ValueRow(values: [3, 3, 3], oldValues: [3, 3, 3], returns: [1, 2, 4])
    for (row, expected) in [(perfect, 1.0), (constant, 0)] {
      let result = ValueLoss.clipped.loss(
        [row], statistics: try ValueLoss.clipped.statistics(of: [row]))
      #expect(abs((result.metrics[.explainedVariance] ?? .nan) - expected) < 1e-12)
    }
  }
}

struct TokenLossTests {
  @Test(arguments: TokenReduction.allCases)
  func `gradient, cuts and the weights for the engine`(reduction: TokenReduction) throws {
    let scores = [[-1.0, -2, -0.5], [-3.0, -0.1], [-2.0]]
    let weights = [[0.0, 1, 1], [1.0, 0.5], [0.0]]
    let statistics = TokenLoss.statistics(weights: weights, reduction: reduction)
    let whole = TokenLoss.supervised(
      logProbabilities: scores, weights: weights, statistics: statistics)
    let expected =
      reduction == .token
      ? (2 + 0.5 + 3 + 0.05) / 3.5 : ((2 + 0.5) / 2 + (3 + 0.05) / 1.5) / 2
    #expect(near(whole.loss, expected))
    expectGradient(whole.logProbabilities.flatMap { $0 }, at: scores.flatMap { $0 }) { point in
      TokenLoss.supervised(
        logProbabilities: [Array(point[0..<3]), Array(point[3..<5]), [point[5]]],
        weights: weights, statistics: statistics
      ).loss
    }
    var sum = 0.0
    for i in scores.indices.reversed() {
      sum +=
        TokenLoss.supervised(
          logProbabilities: [scores[i]], weights: [weights[i]], statistics: statistics
        ).loss
    }
    #expect(near(sum, whole.loss))
    #expect(
      statistics.scaled(weights).flatMap { $0 } == whole.logProbabilities.flatMap { $0.map { -$0 } }
    )
  }

  @Test func `a batch without response tokens has no loss`() {
    let statistics = TokenLoss.statistics(weights: [[0, 0], []])
    let result = TokenLoss.supervised(
      logProbabilities: [[-1, -2], []], weights: [[0, 0], []], statistics: statistics)
    #expect(result.loss == 0)
    #expect(result.logProbabilities == [[0, 0], []])
  }
}
