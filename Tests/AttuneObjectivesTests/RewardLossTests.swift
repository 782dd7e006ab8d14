// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct RewardLossTests {
  /// Random groups with everything that a loss reads.
  static func groups(
    for loss: RewardLoss, count: Int, scale: Double = 1, seed: UInt64 = 1
  ) -> [RewardGroup] {
    var random = SplitMix(seed: seed)
    return (0..<count).map { g in
      let k = 2 + g % 4
      func number() -> Double { Double.random(in: -2...2, using: &random) * scale }
      var group = RewardGroup(
        scores: (0..<k).map { _ in number() }, weight: Double.random(in: 0.5...2, using: &random))
      switch loss {
      case .bradleyTerry:
        group.comparisons = [
          PairComparison(winner: 0, loser: 1, probability: 0.3),
          PairComparison(winner: k - 1, loser: 0, margin: k > 2 ? 0.5 : 0),
          PairComparison(winner: 0, loser: k - 1, outcome: .tie),
        ]
      case .kWise: group.ranks = (0..<k).map { ($0 * 2) / 3 }
      case .plackettLuce: group.ranks = (0..<k).map { $0 + 1 }.shuffled(using: &random)
      case .raoKupper, .davidson:
        group.comparisons = [
          PairComparison(winner: 0, loser: 1), PairComparison(winner: 1, loser: 0, outcome: .tie),
          PairComparison(winner: k - 1, loser: 0, outcome: .bothBad),
        ]
      case .pointwise: group.thumbs = (0..<k).map { $0 == 0 ? nil : $0 % 2 == 0 }
      case .regression: group.targets = (0..<k).map { $0 == 1 ? nil : Double($0) }
      }
      return group
    }
  }

  static func settings(for loss: RewardLoss) -> RewardSettings {
    var settings = RewardSettings()
    if loss.reads.contains(.centring) { settings.centring = 0.01 }
    if loss.reads.contains(.ties) { settings.ties = .half }
    if loss.reads.contains(.targetMean) {
      settings.targetMean = 1.5
      settings.targetDeviation = 0.7
    }
    return settings
  }

  static func parameters(for loss: RewardLoss) -> [Double] { loss.parameterNames.map { _ in 0.4 } }

  @Test(arguments: RewardLoss.allCases)
  func `gradient agrees with central differences`(loss: RewardLoss) throws {
    let groups = Self.groups(for: loss, count: 5)
    let settings = Self.settings(for: loss)
    let parameters = Self.parameters(for: loss)
    let statistics = try loss.statistics(of: groups, settings: settings)
    #expect(statistics.rows > 0)
    func run(_ point: [Double]) -> LossResult {
      var groups = groups
      var next = 0
      for g in groups.indices {
        for i in groups[g].scores.indices {
          groups[g].scores[i] = point[next]
          next += 1
        }
      }
      return loss.loss(
        groups, statistics: statistics, settings: settings, parameters: Array(point[next...]))
    }
    let point = groups.flatMap(\.scores) + parameters
    let result = run(point)
    #expect(result.scalars.map(\.count) == groups.map(\.scores.count))
    expectGradient(result.scalars.flatMap { $0 } + result.parameters, at: point) { run($0).loss }
  }

  @Test(arguments: RewardLoss.allCases)
  func `any cut and order of a batch gives the same numbers`(loss: RewardLoss) throws {
    let groups = Self.groups(for: loss, count: 7)
    let settings = Self.settings(for: loss)
    let parameters = Self.parameters(for: loss)
    let statistics = try loss.statistics(of: groups, settings: settings)
    expectAnyCut { places in
      loss.loss(
        places.map { groups[$0] }, statistics: statistics, settings: settings,
        parameters: parameters)
    }
  }

  @Test(arguments: RewardLoss.allCases)
  func `is finite at scores of ten thousand`(loss: RewardLoss) throws {
    let groups = Self.groups(for: loss, count: 5, scale: 1e4)
    let settings = Self.settings(for: loss)
    let statistics = try loss.statistics(of: groups, settings: settings)
    for eta in [-1e4, -31, -30, 0, 1e4] {
      let result = loss.loss(
        groups, statistics: statistics, settings: settings,
        parameters: loss.parameterNames.map { _ in eta })
      #expect(result.loss.isFinite)
      #expect(result.scalars.allSatisfy { $0.allSatisfy(\.isFinite) })
      #expect(result.parameters.allSatisfy { $0.isFinite })
    }
  }

  @Test(arguments: RewardLoss.allCases)
  func `explains itself and refuses what it does not read`(loss: RewardLoss) throws {
    #expect(!loss.summary.isEmpty && !loss.formula.isEmpty && !loss.paper.isEmpty)
    let groups = Self.groups(for: loss, count: 3)
    var settings = RewardSettings()
    settings.centring = 0.01
    if !loss.reads.contains(.centring) {
      #expect(throws: ObjectiveError.self) {
        try loss.statistics(of: groups, settings: settings)
      }
    }
    if !loss.reads.contains(.margin) {
      let margin = RewardGroup(
        comparisons: [PairComparison(winner: 0, loser: 1, margin: 1)], ranks: [1, 2],
        targets: [1, 2], thumbs: [true, false])
      #expect(throws: ObjectiveError.self) { try loss.statistics(of: [margin]) }
    }
    #expect(throws: ObjectiveError.self) { try loss.statistics(of: [RewardGroup(scores: [1])]) }
  }

  @Test func `soft labels, margins and ties are refused where they contradict`() throws {
    let both = RewardGroup(
      comparisons: [PairComparison(winner: 0, loser: 1, probability: 0.7, margin: 1)])
    #expect(throws: ObjectiveError.self) { try RewardLoss.bradleyTerry.statistics(of: [both]) }
    let outside = RewardGroup(scores: [1, 2], comparisons: [PairComparison(winner: 0, loser: 2)])
    #expect(throws: ObjectiveError.self) { try RewardLoss.bradleyTerry.statistics(of: [outside]) }
    let soft = RewardGroup(
      scores: [1, 2], comparisons: [PairComparison(winner: 0, loser: 1, probability: 0.3)])
    #expect(throws: ObjectiveError.self) { try RewardLoss.kWise.statistics(of: [soft]) }
    var harden = RewardSettings()
    harden.harden = true
    let statistics = try RewardLoss.kWise.statistics(of: [soft], settings: harden)
    let result = RewardLoss.kWise.loss([soft], statistics: statistics, settings: harden)
    #expect(near(result.loss, softplus(-1)))
    #expect(throws: ObjectiveError.self) {
      try RewardLoss.plackettLuce.statistics(of: [RewardGroup(ranks: [1, 1, 2])])
    }
  }

  @Test func `closed forms`() throws {
    let pair = RewardGroup(
      scores: [0.7, -0.4], comparisons: [PairComparison(winner: 0, loser: 1)], ranks: [1, 2])
    for loss in [RewardLoss.bradleyTerry, .kWise, .plackettLuce] {
      let result = loss.loss([pair], statistics: try loss.statistics(of: [pair]))
      #expect(near(result.loss, softplus(-1.1)), "\(loss)")
      #expect(near(result.scalars[0][0], -sigmoid(-1.1)))
      #expect(near(result.scalars[0][1], sigmoid(-1.1)))
      #expect(result.metrics[.accuracy] == 1)
    }
    // Two tied among three: two untied pairs.
    let three = RewardGroup(scores: [1, 0, -2], ranks: [1, 2, 2])
    let kWise = RewardLoss.kWise.loss(
      [three], statistics: try RewardLoss.kWise.statistics(of: [three]))
    #expect(near(kWise.loss, (softplus(-1) + softplus(-3)) / 2))
    // Rao–Kupper and Davidson are distributions over win, loss, tie.
    for loss in [RewardLoss.raoKupper, .davidson] {
      var total = 0.0
      for comparison in [
        PairComparison(winner: 0, loser: 1), PairComparison(winner: 1, loser: 0),
        PairComparison(winner: 0, loser: 1, outcome: .tie),
      ] {
        let group = RewardGroup(scores: [0.3, -0.9], comparisons: [comparison])
        let statistics = try loss.statistics(of: [group])
        let result = loss.loss([group], statistics: statistics, parameters: [0.2])
        total += exp(-result.loss)
      }
      #expect(near(total, 1), "\(loss)")
    }
  }

  @Test func `a batch in which nothing is decided has no loss`() throws {
    let tie = RewardGroup(
      scores: [1, 2], comparisons: [PairComparison(winner: 0, loser: 1, outcome: .tie)])
    let statistics = try RewardLoss.bradleyTerry.statistics(of: [tie])
    let result = RewardLoss.bradleyTerry.loss([tie], statistics: statistics)
    #expect(result.loss == 0)
    #expect(result.scalars == [[0, 0]])
    #expect(result.metrics[.tiesLeftOut] == 1)
  }

  /// Plain gradient descent on exact label probabilities recovers the rewards up to a constant.
  @Test(arguments: [RewardLoss.bradleyTerry, .kWise, .plackettLuce, .raoKupper, .davidson])
  func `recovers the rewards that made the labels`(loss: RewardLoss) throws {
    let truth = [0.8, -1.1, 0.2]
    let eta = 0.3
    var groups: [RewardGroup] = []
    if loss == .kWise || loss == .plackettLuce {
      // Every ranking with its Plackett–Luce probability: its pairs are Bradley–Terry's.
      for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let first = truth[order[0]] - logSumExp(truth)
        let second = truth[order[1]] - logSumExp([truth[order[1]], truth[order[2]]])
        var ranks = [0, 0, 0]
        for (rank, answer) in order.enumerated() { ranks[answer] = rank }
        groups.append(RewardGroup(ranks: ranks, weight: exp(first + second)))
      }
    } else {
      for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let d = truth[i] - truth[j]
        if loss == .bradleyTerry {
          groups.append(
            RewardGroup(
              comparisons: [PairComparison(winner: i, loser: j, probability: sigmoid(d))]))
          continue
        }
        let win: (Double) -> Double = { d in
          loss == .raoKupper
            ? sigmoid(d - softplus(eta)) : exp(d - logSumExp([d, 0, eta + d / 2]))
        }
        let outcomes = [
          (PairComparison(winner: i, loser: j), win(d)),
          (PairComparison(winner: j, loser: i), win(-d)),
          (PairComparison(winner: i, loser: j, outcome: .tie), 1 - win(d) - win(-d)),
        ]
        groups += outcomes.map { RewardGroup(comparisons: [$0], weight: $1) }
      }
    }
    var scores = [0.0, 0, 0]
    var parameters = loss.initialParameters
    let statistics = try loss.statistics(of: groups)
    for _ in 0..<4000 {
      let scored = groups.map { group in
        var group = group
        group.scores = scores
        return group
      }
      let result = loss.loss(scored, statistics: statistics, parameters: parameters)
      for gradient in result.scalars {
        for i in scores.indices { scores[i] -= 2 * gradient[i] }
      }
      for p in parameters.indices { parameters[p] -= 2 * result.parameters[p] }
    }
    for i in scores.indices {
      #expect(abs((scores[i] - scores[0]) - (truth[i] - truth[0])) < 1e-6)
    }
    if !parameters.isEmpty { #expect(abs(parameters[0] - eta) < 1e-6) }
  }
}
