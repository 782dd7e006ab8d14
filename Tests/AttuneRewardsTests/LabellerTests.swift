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
