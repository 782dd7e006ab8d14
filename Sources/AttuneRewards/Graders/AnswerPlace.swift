// SPDX-License-Identifier: Apache-2.0

/// Where in a text the final answer stands.
enum AnswerPlace: String, CaseIterable, Sendable {
  /// In the first of the places below that the text has; else all of it.
  case any
  /// Behind the first `####`, to the end of its line, as GSM8K has it.
  case hashes
  /// In the last `\boxed{}`.
  case boxed
  /// Between the last `<answer>` and `</answer>`.
  case tags
  /// Behind the last colon, “is” or = of the last line, without quotes, asterisks and a full stop.
  case last
  /// All of it.
  case whole

  /// The answer, without space around; nil where it does not stand there.
  func answer(in text: String) -> String? {
    let found: Substring? =
      switch self {
      case .any:
        AnswerPlace.marked.lazy.compactMap { $0.answer(in: text) }.first.map { $0[...] }
          ?? text[...]
      case .hashes:
        text.firstRange(of: "####").map { text[$0.upperBound...].prefix { !$0.isNewline } }
      case .boxed: Self.boxed(text)
      case .tags: Self.tagged(text)
      case .last: Self.last(text)
      case .whole: text[...]
      }
    return found.map { String($0.trimmed) }
  }

  /// What of the text stands before the answer, marks included, and what ends the mark: reasoning that
  /// another answer can be put behind. Nil where the text has no such place.
  func opening(in text: String) -> Substring? {
    switch self {
    case .any: Self.marked.lazy.compactMap { $0.opening(in: text) }.first
    case .hashes: text.firstRange(of: "####").map { text[..<$0.upperBound] }
    case .boxed: Self.boxed(text).map { text[..<$0.startIndex] }
    case .tags: Self.tagged(text).map { text[..<$0.startIndex] }
    case .last, .whole: nil
    }
  }

  private static func last(_ text: String) -> Substring {
    let line = text.split(whereSeparator: \.isNewline).last { !$0.allSatisfy(\.isWhitespace) } ?? ""
    let start = [": ", " is ", "= "].compactMap { line.ranges(of: $0).last?.upperBound }.max()
    var answer = line[(start ?? line.startIndex)...].trimmed
    if answer.count > 1, answer.last == "." { answer.removeLast() }
    for mark in ["**", "*", "`", "\"", "'"]
    where answer.count > 2 * mark.count && answer.hasPrefix(mark) && answer.hasSuffix(mark) {
      answer = answer.dropFirst(mark.count).dropLast(mark.count)
    }
    if answer.count > 1, answer.last == "." { answer.removeLast() }
    return answer
  }

  private static let marked: [AnswerPlace] = [.boxed, .hashes, .tags]

  private static func tagged(_ text: String) -> Substring? {
    guard let start = text.ranges(of: "<answer>").last?.upperBound,
      let end = text[start...].firstRange(of: "</answer>")?.lowerBound
    else { return nil }
    return text[start..<end]
  }

  private static func boxed(_ text: String) -> Substring? {
    for start in text.ranges(of: "\\boxed{").reversed().map(\.upperBound) {
      var depth = 1
      for end in text[start...].indices {
        if text[end] == "{" { depth += 1 }
        if text[end] == "}" { depth -= 1 }
        if depth == 0 { return text[start..<end] }
      }
    }
    return nil
  }
}

extension Substring {
  /// Without white space around.
  var trimmed: Substring {
    var text = drop(while: \.isWhitespace)
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
