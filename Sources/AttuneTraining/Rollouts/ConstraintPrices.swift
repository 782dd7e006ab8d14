// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// The price of each constraint of a run, in the order of the constraints. A rollout's answers are the same on
/// every rank, and so are the prices.
struct ConstraintPrices: Codable {
  private struct Price: Codable {
    var ascent: DualAscent
    /// What the source said in the mean of the last rollouts' answers, the newest last.
    var means: [Double] = []
    /// The same mean less what it may be, as costs.
    var excesses: [Double] = []
    /// Rollouts in a row of which no answer kept to the limit.
    var missed = 0
  }

  /// Rollouts that are looked at together.
  private static let window = 8
  /// Rollouts without an answer that keeps to the limit, after which that is said.
  private static let patience = 4

  private var prices: [Price]

  /// The prices before the first rollout, all 0; nil where there are no constraints.
  init?(_ constraints: [Constraint]) throws {
    guard !constraints.isEmpty else { return nil }
    prices = try constraints.map { Price(ascent: try $0.price()) }
  }

  /// Takes what its cost comes to off the score of every answer of a rollout.
  mutating func charge(_ rollout: inout ScoredRollout, for constraints: [Constraint]) {
    for (place, constraint) in constraints.enumerated() {
      let costs = rollout.costs(of: constraint)
      prices[place].ascent.measure(costs)
      for (i, cost) in costs.enumerated() {
        rollout.answers[i].score -= prices[place].ascent.price(of: cost)
      }
    }
  }

  /// Moves the prices by what a rollout cost.
  ///
  /// - Returns: What was measured, and what a person should know.
  mutating func move(
    by rollout: ScoredRollout, for constraints: [Constraint]
  ) -> (totals: MetricTotals, warnings: [String]) {
    var totals = MetricTotals()
    var warnings: [String] = []
    let given = rollout.policyWeights
    let weights = given.isEmpty ? rollout.answers.map { _ in 1 } : given
    let whole = weights.reduce(0, +)
    for (place, constraint) in constraints.enumerated() {
      let costs = rollout.costs(of: constraint)
      let limit = prices[place].ascent.limit
      let mean = zip(weights, costs).reduce(0) { $0 + $1.0 * $1.1 } / whole
      let above = zip(weights, costs).reduce(0) { $0 + ($1.1 > limit ? $1.0 : 0) } / whole
      totals.add(.constraintMultiplier, prices[place].ascent.multiplier, of: constraint.name)
      totals.add(.constraintSlack, limit - mean, of: constraint.name)
      totals.add(.constraintViolations, above, of: constraint.name)
      prices[place].ascent.update(meanCost: mean)
      prices[place].means = (prices[place].means + constraint.costs([mean])).suffix(Self.window)
      prices[place].excesses = (prices[place].excesses + [mean - limit]).suffix(Self.window)
      prices[place].missed =
        costs.allSatisfy { $0 > limit } ? prices[place].missed + 1 : 0
      if prices[place].missed == Self.patience {
        warnings.append(
          "no answer of \(Self.patience) rollouts kept to \(constraint.name): no policy near the start may; "
            + "take another limit")
      }
    }
    return (totals, warnings)
  }

  /// How each constraint was kept over the last rollouts.
  func outcomes(of constraints: [Constraint]) -> [ConstraintOutcome] {
    zip(constraints, prices).map { constraint, price in
      ConstraintOutcome(
        name: constraint.name, mean: Statistics.mean(price.means),
        slack: -Statistics.mean(price.excesses), multiplier: price.ascent.multiplier,
        rollouts: price.means.count,
        isStillRising: price.means.count == Self.window && price.excesses.allSatisfy { $0 > 0 })
    }
  }
}

/// How a constraint was kept over the last rollouts of a run.
public struct ConstraintOutcome: Codable, Sendable, Equatable {
  /// The constraint: `words<=20`.
  public var name: String
  /// What its source said of the answers, in the mean.
  public var mean: Double
  /// How far that is on the right side of the limit; below 0 it is on the wrong one.
  public var slack: Double
  /// λ, in normalised rewards for as much as the first rollout was off the limit.
  public var multiplier: Double
  /// How many rollouts that is of.
  public var rollouts: Int
  /// Whether the mean was on the wrong side in each of them, so that λ had not come to rest.
  public var isStillRising: Bool

  /// In words.
  var text: String {
    "constraint \(name): mean \(readable(mean)) over the last \(rollouts) rollouts, slack "
      + "\(readable(slack)), price \(readable(multiplier))"
      + (isStillRising
        ? ": not kept in any of them, and the price still rises; train longer, let it move faster "
          + "(@RATE), or take another limit" : "")
  }
}

extension ScoredRollout {
  /// What every answer costs by a constraint, which is among the sources of its reward.
  func costs(of constraint: Constraint) -> [Double] {
    guard let scores = sourceRewards.first(where: { $0.source == constraint.name })?.rewards else {
      preconditionFailure("\(constraint.name) was not asked")
    }
    return constraint.costs(scores)
  }
}
