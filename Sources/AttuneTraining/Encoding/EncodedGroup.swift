// SPDX-License-Identifier: Apache-2.0

/// An answer's tokens.
public struct EncodedAnswer: Sendable, Hashable {
  /// The tokens that follow the prompt's, the end of sequence among them where it has one.
  public var ids: [Int32]
  /// The tokens that carry a loss: all of a plain answer, the assistant's turns of a conversation.
  public var scored: [Range<Int>]
  /// Whether its end was cut off at the longest length.
  public var isCut: Bool
  /// The tokens after which a scalar is read; empty: after the last one.
  package var steps: [Int] = []

  package init(ids: [Int32], scored: [Range<Int>], isCut: Bool) {
    self.ids = ids
    self.scored = scored
    self.isCut = isCut
  }
}

/// A prompt and its answers as tokens.
public struct EncodedGroup: Sendable, Hashable {
  /// The line of the data file.
  public var line: Int
  /// The tokens that all answers continue; may be empty for whole texts.
  public var prompt: [Int32]
  /// How many tokens the prompt lost at its start.
  public var promptCut: Int
  /// The answers.
  public var answers: [EncodedAnswer]
  /// The row's `DataRow.number`; 0 where it is of no file.
  public var row = 0

  package init(line: Int, prompt: [Int32], promptCut: Int, answers: [EncodedAnswer], row: Int = 0) {
    self.line = line
    self.prompt = prompt
    self.promptCut = promptCut
    self.answers = answers
    self.row = row
  }

  /// Tokens of the prompt and of all answers.
  public var tokens: Int { answers.reduce(prompt.count) { $0 + $1.ids.count } }
}

/// What becomes of a row that is longer than `max_length`.
public enum TooLong: String, Codable, Sendable, CaseIterable {
  /// The prompt loses its start, down to a quarter of `max_length`; an answer that is too long beside
  /// that loses its end.
  case cut
  /// The row is passed over.
  case drop
}

/// What was cut while a data set was encoded.
public struct CutCounts: Sendable, Equatable, Codable {
  /// Prompts that lost their start.
  public var prompts = 0
  /// Answers that lost their end.
  public var completions = 0
  /// Answers in all.
  public var answers = 0

  /// Adds up what was cut from encoded rows.
  package init(_ groups: [EncodedGroup]) {
    for group in groups {
      if group.promptCut > 0 { prompts += 1 }
      answers += group.answers.count
      completions += group.answers.count(where: \.isCut)
    }
  }

  /// One line for people; nil if nothing was cut.
  public func summary(maximumLength: Int) -> String? {
    guard prompts + completions > 0 else { return nil }
    return "max_length \(maximumLength): \(prompts) prompts lost their start (a prompt keeps at "
      + "least \(TextEncoder.leastPrompt(maximumLength)) tokens), and \(completions) of \(answers) "
      + "answers lost their end; too_long=drop passes such rows over"
  }
}
