// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Testing

struct TextStatisticsTests {
  @Test func `distinct n-grams are counted over all texts together`() {
    // a b a b → pairs ab, ba, ab: 2 of 3. With "a b" once more: 2 of 4.
    #expect(TextStatistics.distinct(2, in: ["a b a b"]) == 2.0 / 3)
    #expect(TextStatistics.distinct(2, in: ["a b a b", "a\n b"]) == 0.5)
    #expect(TextStatistics.distinct(1, in: ["a b a b"]) == 0.5)
    #expect(TextStatistics.distinct(3, in: ["a b", ""]) == 0)
  }

  @Test func `repetition is the share of 4-grams that came before`() {
    #expect(TextStatistics.repetition("one two three") == 0)
    #expect(TextStatistics.repetition("one two three four five") == 0)
    // x x x x x x: three 4-grams, one of them different.
    #expect(abs(TextStatistics.repetition("x x x x x x") - 2.0 / 3) < 1e-12)
  }

  @Test(arguments: [
    ("How do I keep basil alive?", "Basil, kept in the sun, stays alive.", 2.0 / 3),
    ("Why does bread rise?", "Yeast makes gas.", 0.0),
    ("Explain the rainbow's colours", "A RAINBOW colour is bent light", 1.0),
    ("painting houses", "Paint the house", 1.0),
    ("painting houses", "The house is red", 0.5),
  ])
  func `content words are taken up whatever their endings`(
    prompt: String, answer: String, share: Double
  ) {
    #expect(TextStatistics.takenUp(prompt: prompt, answer: answer) == share)
  }

  @Test func `a prompt of function words has nothing to take up`() {
    #expect(TextStatistics.takenUp(prompt: "What is it? Why?", answer: "That.") == nil)
  }
}
