// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation
import Testing

struct LabellerTests {
  private static func concise(_ text: String, ended: Bool = true) throws -> Double {
    try Labeller.concise.scorer().score(prompt: "Why?", completion: text, endedByItself: ended)
  }

  private static func words(_ count: Int) -> String {
    (0..<count).map { "w\($0)" }.joined(separator: " ")
  }

  @Test func `twenty words that end by themselves are best`() throws {
    #expect(try Self.concise(Self.words(20)) == 2)
    #expect(try Self.concise(Self.words(20), ended: false) == 0)
    #expect(abs(try Self.concise(Self.words(40)) - (2 - log(2.0))) < 1e-12)
    #expect(abs(try Self.concise(Self.words(10)) - (2 - log(2.0))) < 1e-12)
    #expect(try Self.concise(" \n\t" + Self.words(20) + " \n") == 2)
  }

  @Test func `answers of fewer than four words lose two`() throws {
    #expect(abs(try Self.concise("one two three") - (2 - log(20.0 / 3) - 2)) < 1e-12)
    #expect(abs(try Self.concise("one two three four") - (2 - log(5.0))) < 1e-12)
    // No word counts as one for the length.
    #expect(abs(try Self.concise("", ended: false) - (-log(20.0) - 2)) < 1e-12)
  }

  @Test func `repeated four-grams cost three times their share`() throws {
    // 20 words, the last ten repeat the first: 17 four-grams, 10 distinct.
    let text = Self.words(10) + " " + Self.words(10)
    #expect(abs(try Self.concise(text) - (2 - 3 * 7.0 / 17)) < 1e-12)
  }

  private static let question = "How do I get chewing gum off a shoe?"

  private static func direct(
    _ text: String, of labeller: Labeller = .direct, prompt: String = question, ended: Bool = true
  ) throws -> Double {
    try labeller.scorer().score(prompt: prompt, completion: text, endedByItself: ended)
  }

  @Test func `direct takes the question up, adds to it, and ends`() throws {
    let good =
      "To get chewing gum off a shoe, rub it with an ice cube until it is hard, then scrape it with a knife."
    #expect(try Self.direct(good) == 5)
    #expect(try Self.direct(good, ended: false) == 3)
    // 16 words beside the question: of chew, gum and shoe none is taken up.
    let beside =
      "Rain falls when clouds cool, because cold vapour turns into heavy drops which fall towards earth."
    #expect(try Self.direct(beside) == 3)
    // The question said again adds nothing, and is short: 9 words.
    #expect(abs(try Self.direct(Self.question) - (2 + 2 - log(15.0 / 9))) < 1e-12)
    // Without a word of matter there is nothing to be taken up.
    #expect(try Self.direct(beside, prompt: "Why?") == 5)
    let long = (0..<80).map { "gum\($0)" }.joined(separator: " ") + " shoe gum"
    #expect(abs(try Self.direct(long) - (5 - log(82.0 / 40))) < 1e-12)
    #expect(abs(try Self.direct("Ice.", ended: false) - (1 - log(15.0) - 2)) < 1e-12)
  }

  @Test func `polite counts up to two expressions of courtesy`() throws {
    let plain =
      "To get chewing gum off a shoe, rub it with an ice cube until it is hard, then scrape it with a knife."
    #expect(try Self.direct(plain, of: .polite) == 3)
    let thanks = "Thank you for asking! " + plain
    #expect(try Self.direct(thanks, of: .polite) == 4.5)
    // The same one twice counts once; pleasant is no "please".
    #expect(try Self.direct(thanks + " A pleasant day, and thank you!", of: .polite) == 4.5)
    #expect(try Self.direct(thanks + " I hope this helps. Good luck.", of: .polite) == 6)
    // Courtesy alone is beside the question, and too short.
    #expect(try Self.direct("Thank you", of: .polite) == 0.5)
  }

  @Test func `positive needs its lexicon and says how to fetch it`() throws {
    let nowhere = URL.temporaryDirectory.appending(path: "attune-\(UUID().uuidString)")
    let error = #expect(throws: TrainingError.self) {
      try Labeller.positive.scorer(lexicon: nowhere)
    }
    #expect(error?.message.contains("attune pull vader") == true)
    try FileManager.default.createDirectory(at: nowhere, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: nowhere) }
    try Data("good\t1.9\t0.9\t[2]\n".utf8).write(to: nowhere.appending(path: "vader_lexicon.txt"))
    try Data("😀\tgood face\n".utf8)
      .write(to: nowhere.appending(path: "emoji_utf8_lexicon.txt"))
    let scorer = try Labeller.positive.scorer(lexicon: nowhere)
    let score = scorer.score(prompt: "", completion: "This is good.", endedByItself: false)
    #expect(abs(score - 0.4404) < 1e-9)
  }

  @Test(arguments: Labeller.allCases)
  func `every labeller explains itself`(labeller: Labeller) {
    #expect(!labeller.summary.isEmpty && !labeller.formula.isEmpty)
  }
}

struct LabelNoiseTests {
  @Test func `sharpness turns a difference into a probability`() throws {
    let noise = try LabelNoise(sharpness: 2, seed: 0)
    #expect(abs(noise.probability(1, over: 0.5) - sigmoid(1)) < 1e-15)
    #expect(noise.probability(3, over: 3) == 0.5)
    let certain = try LabelNoise(sharpness: .infinity, seed: 0)
    #expect(certain.probability(1, over: 0.5) == 1)
    #expect(certain.probability(0.5, over: 1) == 0)
    #expect(certain.probability(1, over: 1) == 0.5)
    #expect(throws: TrainingError.self) { try LabelNoise(sharpness: -1, seed: 0) }
    #expect(throws: TrainingError.self) { try LabelNoise(sharpness: .nan, seed: 0) }
  }
}
