// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct BLEUTests {
  private func words(_ text: String) -> [Substring] { text.split(separator: " ") }

  private func bleu(_ text: String, _ references: String..., order: Int = 4) -> Double {
    Statistics.bleu(words(text), references: references.map(words), order: order)
  }

  @Test func `precisions are clipped and smoothed`() {
    // 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, none of 3 four-grams: 1/(2·3).
    let product = 5.0 / 6 * 3 / 5 * 1 / 4 * 1 / 6
    #expect(near(bleu("the cat sat on the mat", "the cat is on the mat"), pow(product, 0.25)))
    // Papineni et al. 2002, example 2: "the" counts twice, as in the reference that has it most.
    let (one, two) = ("the cat is on the mat", "there is a cat on the mat")
    #expect(near(bleu("the the the the the the the", one, two, order: 1), 2.0 / 7))
    #expect(
      near(bleu("the the the the the the the", one, two, order: 2), (2.0 / 7 / 12).squareRoot()))
    // Two orders without a match: 1/(2·3), then 1/(4·2).
    #expect(near(bleu("a x b y", "b a", order: 3), pow(2.0 / 4 / 6 / 8, 1.0 / 3)))
  }

  @Test func `short texts pay for their brevity, not for missing n-grams`() {
    #expect(bleu("yes", "yes") == 1)
    #expect(near(bleu("the cat", "the cat sat on"), exp(-1)))
    // The nearest length counts, the shorter one of two as near.
    #expect(near(bleu("a b c", "a b c d e f", "a b"), 1))
    #expect(near(bleu("a b c", "a b c d", "a b"), 1))
    #expect(bleu("x y", "a b") == 0)
    #expect(bleu("", "a b") == 0)
    #expect(bleu("", "a b", "") == 1)
  }

  @Test func `self-BLEU is 1 where all are alike`() {
    func selfBLEU(_ texts: String...) -> Double? { Statistics.selfBLEU(texts.map(words)) }
    #expect(selfBLEU("a b c d e", "a b c d e", "a b c d e") == 1)
    #expect(near(selfBLEU("a b", "a b", "c d") ?? 0, 2.0 / 3))
    #expect(selfBLEU("a b", "c d", "e f") == 0)
    // Half of the words, no pair: √(½·½) with 1/(2·1) for the pair.
    #expect(near(selfBLEU("a b", "a c") ?? 0, 0.5))
    #expect(selfBLEU("a") == nil)
    #expect(selfBLEU("", "") == 1)
  }

  @Test func `different values over values`() {
    #expect(Statistics.distinctShare(["a", "a", "b", "a"]) == 0.5)
    #expect(Statistics.distinctShare(["a", "b"]) == 1)
    #expect(Statistics.distinctShare(["a"]) == nil)
  }

  @Test func `numbers of several sources are told apart by name`() {
    var one = MetricTotals()
    one.add(.loss, 1)
    one.add(.sourceReward, 2, of: "b")
    var two = MetricTotals()
    two.add(.sourceReward, 3, of: "a \"x\"")
    two.add(.sourceDeviation, 4, of: "b")
    one.merge(two)
    #expect(
      one.named.map(\.key) == [
        "loss", "reward/source_mean[a \"x\"]", "reward/source_mean[b]", "reward/source_sd[b]",
      ])
    #expect(one.named.map(\.value) == [1, 3, 2, 4])
  }
}
