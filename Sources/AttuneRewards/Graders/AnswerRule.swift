// SPDX-License-Identifier: Apache-2.0

/// How an answer is held against the right one: the rules of `answer:RULE`.
enum AnswerRule: String, CaseIterable, Sendable {
  /// The same text.
  case exact
  /// The same number.
  case number
  /// The same letter of a choice.
  case choice
  /// The same value, list or words in mathematics.
  case maths
  /// The same JSON, or JSON that a schema describes.
  case json
  /// A text that the row's pattern is found in.
  case regex

  /// One line for documentation and help.
  var summary: String {
    switch self {
    case .exact: "the same text, but for space around"
    case .number: "the text's last number: 1,234.5, -3, 3/4, 1 1/2, $5, 5 km, 50 %"
    case .choice: "the letter that is chosen: B, (B), B) …, the answer is B"
    case .maths: "the same exact value: fractions, roots, powers, π, variables, lists; simple LaTeX"
    case .json: "equal JSON, whatever the order of keys; json:FILE: JSON that a schema describes"
    case .regex: "a text in which the row's own pattern (PCRE2) is found"
    }
  }

  /// Whether an answer that is not right can be right in part.
  var hasParts: Bool { self == .exact || self == .json }
}
