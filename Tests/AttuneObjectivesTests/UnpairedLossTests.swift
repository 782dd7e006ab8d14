// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct UnpairedLossTests {
  static func rows(count: Int, scale: Double = 1, seed: UInt64 = 31) -> [UnpairedRow] {
    var random = SplitMix(seed: seed)
    func response() -> ScoredResponse {
      let policy = Double.random(in: -9 ... -3, using: &random) * scale
      return ScoredResponse(
        policy: policy, reference: policy + Double.random(in: -3...3, using: &random) * scale,
        tokens: 3)
    }
    return (0..<count).map { i in
      UnpairedRow(
        response: response(), up: i % 3 != 1, mismatched: response(),
        weight: Double.random(in: 0.5...2, using: &random))
    }
  }

  static var settings: UnpairedSettings {
    var settings = UnpairedSettings()
    settings.beta = 0.4
    settings.upWeight = 1.3
    settings.downWeight = 0.8
    return settings
  }

  @Test(arguments: UnpairedLoss.allCases)
  func `gradient agrees with central differences, the baseline held constant`(
    loss: UnpairedLoss
  ) throws {
    let rows = Self.rows(count: 7)
    let statistics = try loss.statistics(of: rows, settings: Self.settings)
    let result = loss.loss(rows, statistics: statistics, settings: Self.settings)
    expectGradient(
      result.logProbabilities.flatMap { $0 }, at: rows.map(\.response.policy)
    ) { point in
      let moved = zip(rows, point).map { row, policy in
        var row = row
        row.response.policy = policy
        return row
      }
      return loss.loss(moved, statistics: statistics, settings: Self.settings).loss
    }
  }

  @Test(arguments: UnpairedLoss.allCases)
  func `any cut and order of a batch gives the same numbers`(loss: UnpairedLoss) throws {
    let rows = Self.rows(count: 7)
    let statistics = try loss.statistics(of: rows, settings: Self.settings)
    let whole = loss.loss(rows, statistics: statistics, settings: Self.settings)
    expectAnyCut { places in
      loss.loss(places.map { rows[$0] }, statistics: statistics, settings: Self.settings)
    }
    let reversed = Array(rows.reversed())
    let again = loss.loss(
      reversed, statistics: try loss.statistics(of: reversed, settings: Self.settings),
      settings: Self.settings)
    #expect(near(again.loss, whole.loss))
  }

  @Test(arguments: UnpairedLoss.allCases)
  func `is finite at log-ratios of ten thousand`(loss: UnpairedLoss) throws {
    for up in [true, false] {
      for h in [1e4, -1e4] {
        let far = ScoredResponse(policy: -2e4 + h, reference: -2e4, tokens: 1)
        let row = UnpairedRow(response: far, up: up, mismatched: far)
        let result = loss.loss([row], statistics: try loss.statistics(of: [row]))
        #expect(result.loss.isFinite)
        #expect(result.logProbabilities[0][0].isFinite)
      }
    }
  }

  @Test func `agrees with the formulas`() throws {
    let rows = Self.rows(count: 6).map { row in
      var row = row
      row.weight = 1
      return row
    }
    func h(_ r: ScoredResponse) -> Double { r.policy - (r.reference ?? 0) }
    func s(_ z: Double) -> Double { 1 / (1 + exp(-z)) }
    let z = max(0, Statistics.mean(rows.map { h($0.mismatched ?? $0.response) }))
    let kto = Statistics.mean(
      rows.map {
        $0.up
          ? 1.3 * (1 - s(0.4 * (h($0.response) - z))) : 0.8 * (1 - s(0.4 * (z - h($0.response))))
      })
    let found = UnpairedLoss.kto.loss(
      rows, statistics: try UnpairedLoss.kto.statistics(of: rows, settings: Self.settings),
      settings: Self.settings)
    #expect(near(found.loss, kto))

    let rewards = rows.map { (up: $0.up, value: 0.4 * h($0.response)) }
    let middle =
      (Statistics.mean(rewards.filter(\.up).map(\.value))
        + Statistics.mean(rewards.filter { !$0.up }.map(\.value))) / 2
    let first = try UnpairedLoss.bco.statistics(of: rows, settings: Self.settings)
    #expect(near(first.baseline, middle))
    var moved = rows
    for i in moved.indices { moved[i].response.policy += 2 }
    let second = try UnpairedLoss.bco.statistics(
      of: moved, settings: Self.settings, state: first.state)
    #expect(near(second.baseline, 0.99 * middle + 0.01 * (middle + 0.8)))
    let bco = Statistics.mean(
      rewards.map { $0.up ? -1.3 * log(s($0.value - middle)) : -0.8 * log(s(middle - $0.value)) })
    #expect(
      near(
        UnpairedLoss.bco.loss(rows, statistics: first, settings: Self.settings).loss, bco))
  }

  @Test func `a side without rows keeps its mean`() throws {
    let rows = Self.rows(count: 6)
    let first = try UnpairedLoss.bco.statistics(of: rows)
    let ups = rows.filter(\.up)
    let second = try UnpairedLoss.bco.statistics(of: ups, state: first.state)
    #expect(second.state.downMean == first.state.downMean)
    #expect(near(second.baseline, first.baseline, 1e-9))
  }

  @Test func `refuses what it cannot read`() throws {
    let good = ScoredResponse(policy: -3, reference: -3, tokens: 2)
    let alone = UnpairedRow(response: good, up: true)
    #expect(throws: ObjectiveError.self) { try UnpairedLoss.kto.statistics(of: [alone]) }
    _ = try UnpairedLoss.bco.statistics(of: [alone])
    for loss in UnpairedLoss.allCases {
      #expect(!loss.summary.isEmpty && !loss.formula.isEmpty && !loss.paper.isEmpty)
      let bare = ScoredResponse(policy: -3, tokens: 2)
      let empty = ScoredResponse(policy: 0, reference: 0, tokens: 0)
      for bad in [bare, empty] {
        #expect(throws: ObjectiveError.self) {
          try loss.statistics(of: [UnpairedRow(response: bad, up: true, mismatched: good)])
        }
      }
      var settings = UnpairedSettings()
      settings.beta = 0
      let row = UnpairedRow(response: good, up: true, mismatched: good)
      #expect(throws: ObjectiveError.self) { try loss.statistics(of: [row], settings: settings) }
      settings = UnpairedSettings()
      settings.downWeight = -1
      #expect(throws: ObjectiveError.self) { try loss.statistics(of: [row], settings: settings) }
    }
  }
}
