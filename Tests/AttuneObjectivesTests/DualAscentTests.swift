// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Testing

struct DualAscentTests {
  @Test func `the price rises above the limit, falls below it, and is never negative`() throws {
    var ascent = try DualAscent(limit: 20, rate: 0.5)
    ascent.measure([10, 30])
    #expect(ascent.scale == 10 && ascent.price(of: 100) == 0)
    // That far above: half of it stays, twice it is of the last rollout alone.
    ascent.update(meanCost: 30)
    #expect(ascent.multiplier == 2.5 && ascent.price(of: 40) == 5 && ascent.price(of: 20) == 0)
    ascent.update(meanCost: 20)
    #expect(ascent.multiplier == 0.5)
    ascent.measure([0, 1000])
    #expect(ascent.scale == 10)
    ascent.update(meanCost: 19)
    #expect(near(ascent.multiplier, 0.45 - 0.2))
    ascent.update(meanCost: 20)
    #expect(near(ascent.multiplier, 0.45))
    ascent.update(meanCost: -100)
    #expect(ascent.multiplier == 0)
    ascent.update(meanCost: .nan)
    #expect(ascent.multiplier == 0)
    // Costs that are all equal have a distance, but for those at the limit.
    for (cost, scale) in [(3.0, 2.0), (1, 1)] {
      var flat = try DualAscent(limit: 1, rate: 0.5)
      flat.measure([cost, cost])
      #expect(flat.scale == scale)
    }
    #expect(throws: ObjectiveError.self) { try DualAscent(limit: .infinity, rate: 1) }
    #expect(throws: ObjectiveError.self) { try DualAscent(limit: 1, rate: 0) }
  }

  @Test func `a constrained optimum keeps the limit, at a price only where it binds`() throws {
    let (reference, rewards, costs) = ([0.2, 0.3, 0.5], [1.0, 0, -1], [3.0, 1, 2])
    func solve(_ limit: Double) throws -> (probabilities: [Double], multiplier: Double) {
      try DualAscent.optimum(
        reference: reference, rewards: rewards, costs: costs, beta: 0.5, limit: limit)
    }
    let bound = try solve(1.5)
    let cost = zip(bound.probabilities, costs).reduce(0) { $0 + $1.0 * $1.1 }
    #expect(abs(cost - 1.5) < 1e-9 && bound.multiplier > 0)
    #expect(try solve(3).multiplier == 0)
    let error = #expect(throws: ObjectiveError.self) { try solve(1) }
    #expect(error?.message.contains("no policy keeps the constraint: the least cost") == true)
  }

  @Test func `dual ascent comes to rest at the price that bisection finds`() throws {
    let (reference, rewards, costs) = ([0.2, 0.3, 0.5], [1.0, 0, -1], [3.0, 1, 2])
    func optimum(_ rewards: [Double], _ limit: Double) throws -> (
      probabilities: [Double], multiplier: Double
    ) {
      try DualAscent.optimum(
        reference: reference, rewards: rewards, costs: costs, beta: 0.5, limit: limit)
    }
    for limit in [1.2, 1.5, 3] {
      var ascent = try DualAscent(limit: limit, rate: 0.2, scale: 1)
      // A policy that goes a tenth of the way to where the price drives it.
      var felt = 0.0
      for _ in 0..<2000 {
        felt += 0.1 * (ascent.multiplier - felt)
        let priced = zip(rewards, costs).map { $0 - felt * $1 }
        let policy = try optimum(priced, 1e9).probabilities
        ascent.update(meanCost: zip(policy, costs).reduce(0) { $0 + $1.0 * $1.1 })
      }
      #expect(abs(ascent.multiplier - (try optimum(rewards, limit).multiplier)) < 1e-6, "\(limit)")
    }
  }
}
