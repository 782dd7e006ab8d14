// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneObjectives
public import AttuneStore

/// Something that people are asked: a prompt and the answers that they compare or judge.
public struct Question: Sendable, Hashable {
  /// The prompt's number in the store.
  public let prompt: Int64
  /// The prompt.
  public let content: Content
  /// The answers.
  public let answers: [AnswerSet.Entry]
  /// Whether the right answer is known.
  public let isGold: Bool
  /// What tells it from others: the numbers of its answers, which say nothing of their order.
  public let key: String

  /// Makes a question.
  public init(
    prompt: Int64, content: Content, answers: [AnswerSet.Entry], isGold: Bool = false
  ) {
    self.prompt = prompt
    self.content = content
    self.answers = answers
    self.isGold = isGold
    key = Self.key(answers.map(\.number))
  }

  /// The key of a question about answers, whatever their order.
  static func key(_ numbers: [Int64]) -> String {
    numbers.sorted().map(String.init).joined(separator: "-")
  }

  /// The answers in the order in which somebody sees them: random, and the same whenever it is
  /// asked for again.
  package func shown(to annotator: String, seed: UInt64) -> [AnswerSet.Entry] {
    CounterRandom(seed: seed, stableHash(key), stableHash(annotator))
      .shuffled(answers.sorted { $0.number < $1.number })
  }
}

/// A hash that is the same in every run (FNV-1a), unlike the standard library's.
func stableHash(_ text: String) -> UInt64 {
  text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
}
