// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

@Suite struct AgreementTests {
  @Test func `Cohen's kappa of the textbook's table`() throws {
    // 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o = 0.7, p_e = 0.5.
    let labels =
      Array(repeating: (1, 1), count: 20) + Array(repeating: (1, 0), count: 5)
      + Array(repeating: (0, 1), count: 10) + Array(repeating: (0, 0), count: 15)
    #expect(abs(try #require(Agreement.cohen(labels)) - 0.4) < 1e-12)
    #expect(Agreement.cohen([(1, 1), (1, 1)]) == nil)
  }

  @Test func `Fleiss's kappa of the example of ten subjects and fourteen raters`() throws {
    let table = [
      [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
      [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
    let items = table.map { row in
      row.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }
    }
    #expect(abs(try #require(Agreement.fleiss(items)) - 0.2099) < 1e-4)
  }

  @Test func `Krippendorff's alpha of the example with missing labels`() throws {
    // Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C, nominal: 0.743.
    let rows = [
      [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
      [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
    let items = (0..<12).map { unit in rows.map { $0[unit] }.filter { $0 != 0 } }
    #expect(abs(try #require(Agreement.krippendorff(items)) - 0.743) < 5e-4)
  }

  @Test func `pairs of one group do not count as independent`() throws {
    // Each comparison eight times over: the ratings stay, and grouped so do their intervals.
    let rows = (0..<40).map {
      EntityRatings.Match(first: 0, second: 1, score: $0 % 4 == 0 ? 0 : 1)
    }
    let once = try EntityRatings(rows, entities: 2)
    let grouped = try EntityRatings(
      groups: rows.map { Array(repeating: $0, count: 8) }, entities: 2)
    let loose = try EntityRatings(
      rows.flatMap { Array(repeating: $0, count: 8) }, entities: 2)
    func width(_ ratings: EntityRatings) -> Double {
      ratings.logStrengths[0].interval.high - ratings.logStrengths[0].interval.low
    }
    #expect(abs(grouped.logStrengths[0].value - once.logStrengths[0].value) < 1e-6)
    #expect(abs(width(grouped) - width(once)) < 1e-6)
    #expect(width(loose) < width(grouped) / 2)
  }

  @Test func `a learning curve that does not fall says nothing`() {
    #expect(LearningCurve([(10, 0.6), (20, 0.5)]) == nil)
    #expect(LearningCurve([(10, 0.6)]) == nil)
  }
}
