// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct EntityRatingsTests {
  typealias Match = EntityRatings.Match

  @Test func `expected wins are the wins at the maximum`() throws {
    var random = SplitMix(seed: 3)
    let truth = [0.8, -0.3, 0.4, -0.9]
    let matches = (0..<600).map { _ in
      let i = Int.random(in: 0..<4, using: &random)
      let j = (i + Int.random(in: 1...3, using: &random)) % 4
      let draw = Double.random(in: 0...1, using: &random)
      let p = sigmoid(truth[i] - truth[j])
      return Match(first: i, second: j, score: draw < 0.1 ? 0.5 : draw < 0.1 + 0.9 * p ? 1 : 0)
    }
    let ratings = try EntityRatings(matches, entities: 4, resamples: 200)
    #expect(ratings.components == [[0, 1, 2, 3]] && !ratings.usedPrior)
    #expect(abs(Statistics.mean(ratings.logStrengths.map(\.value))) < 1e-12)
    // The likelihood's gradient: for each entity its wins minus those expected.
    for i in 0..<4 {
      var (won, expected) = (0.0, 0.0)
      for match in matches where match.first == i || match.second == i {
        let other = match.first == i ? match.second : match.first
        won += match.first == i ? match.score : 1 - match.score
        expected += sigmoid(ratings.logStrengths[i].value - ratings.logStrengths[other].value)
      }
      #expect(abs(won - expected) < 1e-6)
      let estimate = ratings.logStrengths[i]
      #expect(estimate.interval.low < estimate.value && estimate.value < estimate.interval.high)
      #expect(abs(estimate.value - truth[i]) < 0.4)
    }
  }

  @Test func `two entities have the closed form, a tie half a win each`() throws {
    let matches =
      Array(repeating: Match(first: 0, second: 1, score: 1), count: 5)
      + [Match(first: 1, second: 0, score: 1), Match(first: 0, second: 1, score: 0.5)]
    let ratings = try EntityRatings(matches, entities: 2, resamples: 0)
    #expect(
      near(sigmoid(ratings.logStrengths[0].value - ratings.logStrengths[1].value), 5.5 / 7, 1e-9))
    #expect(ratings.logStrengths[0].interval.low == ratings.logStrengths[0].value)
  }

  /// Who never lost has no finite strength; with the virtual tie against strength 1 it does, and the
  /// parts are named.
  @Test func `a graph in parts gets the prior, and says so`() throws {
    let matches = [
      Match(first: 0, second: 1, score: 1), Match(first: 1, second: 2, score: 1),
      Match(first: 2, second: 1, score: 1),
    ]
    let ratings = try EntityRatings(matches, entities: 4)
    #expect(ratings.usedPrior)
    #expect(ratings.components == [[0], [1, 2], [3]])
    #expect(ratings.logStrengths.allSatisfy { $0.value.isFinite && $0.interval.high.isFinite })
    let order = (0..<4).sorted {
      ratings.logStrengths[$0].value > ratings.logStrengths[$1].value
    }
    #expect(order[0] == 0)
  }

  @Test func `refuses matches that make no sense`() throws {
    for match in [
      Match(first: 0, second: 0, score: 1), Match(first: 0, second: 2, score: 1),
      Match(first: -1, second: 0, score: 1), Match(first: 0, second: 1, score: 1.5),
      Match(first: 0, second: 1, score: .nan),
    ] {
      #expect(throws: ObjectiveError.self) { try EntityRatings([match], entities: 2) }
    }
    #expect(try EntityRatings([], entities: 0).logStrengths.isEmpty)
  }
}
