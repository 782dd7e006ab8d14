// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Testing

struct RightAnswersTests {
  /// Every way of drawing k of n answers, the first c of which are right, counted one by one.
  private func counted(_ k: Int, of n: Int, right: Int) -> Double {
    var (all, passing) = (0, 0)
    for chosen in 0..<1 << n where chosen.nonzeroBitCount == k {
      all += 1
      if chosen & ((1 << right) - 1) != 0 { passing += 1 }
    }
    return Double(passing) / Double(all)
  }

  @Test func `pass at k is the share of draws that hold a right answer`() {
    for n in 1...8 {
      for k in 1...n {
        for right in 0...n {
          let value = RightAnswers.pass(at: k, of: n, right: right)
          #expect(abs(value - counted(k, of: n, right: right)) < 1e-12, "\(k) of \(n), \(right)")
        }
      }
    }
    // No binomial coefficient is too large.
    #expect(abs(RightAnswers.pass(at: 1000, of: 100_000, right: 100) - 0.634) < 0.001)
  }

  @Test func `a group's figures are those of its answers`() {
    func group(_ answers: [(Bool, String?)]) -> [RightAnswers.Answer] {
      answers.map { RightAnswers.Answer(isRight: $0, given: $1) }
    }
    let right = RightAnswers([
      group([(true, "5"), (true, "5"), (false, "6"), (false, nil)]),
      group([(true, "5"), (false, "6"), (false, "6"), (false, "7")]),
      group([(true, "5"), (true, "5")]), group([(false, nil), (false, nil)]),
      group([(true, "5"), (false, "6")]), [],
    ])
    #expect(right.accuracies.count == 5 && right.accuracies[0] == [1, 1, 0, 0])
    #expect(right.pass(at: 1) == [0.5, 0.25, 1, 0, 0.5])
    #expect(right.pass(at: 2).map { ($0 * 6).rounded() } == [5, 3, 6, 0, 6])
    #expect(right.pass(at: 3).count == 2)
    #expect(right.majorities == [1, 0, 1, 0, 0.5])
    #expect(right.allRightShare == 0.2 && right.allWrongShare == 0.2)
    #expect(RightAnswers([]).allRightShare == 0)
  }
}
