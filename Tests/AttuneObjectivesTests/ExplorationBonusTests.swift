// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Testing

struct ExplorationBonusTests {
  private let rows: [Double?] = [-3.5, nil, -12, -0.25]

  @Test func `gradient agrees with central differences`() {
    let result = ExplorationBonus.loss(rows, rows: 4, alpha: 0.3)
    let known = rows.compactMap(\.self)
    expectGradient(result.logProbabilities.flatMap(\.self), at: known) { moved in
      var moved = moved[...]
      let all = rows.map { $0 == nil ? nil : moved.removeFirst() }
      return ExplorationBonus.loss(all, rows: 4, alpha: 0.3).loss
    }
    #expect(result.logProbabilities.map(\.count) == [1, 0, 1, 1])
  }

  @Test func `a step against the gradient takes probability from the reference's answers`() {
    // Algorithm 1 of Xie et al. minimises +α·Σ log π(ỹ): descent lowers log π(ỹ).
    let result = ExplorationBonus.loss([-2], rows: 1, alpha: 0.5)
    #expect(result.loss == -1 && result.logProbabilities == [[0.5]])
    #expect(result.metrics[.explorationLoss] == -1)
  }

  @Test func `any cut of the batch gives the same numbers`() {
    let whole = ExplorationBonus.loss(rows, rows: 4, alpha: 0.3)
    let parts = [rows[..<1], rows[1..<3], rows[3...]].map {
      ExplorationBonus.loss(Array($0), rows: 4, alpha: 0.3)
    }
    #expect(near(parts.reduce(0) { $0 + $1.loss }, whole.loss))
    #expect(parts.flatMap(\.logProbabilities) == whole.logProbabilities)
  }
}
