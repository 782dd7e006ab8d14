// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// An answer in mathematics: one value, a list of values in brackets, or words.
///
/// Lists are compared a value at a time, in `{}` or without brackets in any order. What has no exact
/// value (sines, unions, inequalities, matrices) is compared as it is written, but for spaces.
enum MathsAnswer: Sendable {
  case value(MathsValue, isPercent: Bool)
  case list(open: Character?, close: Character?, [MathsAnswer])
  case words(String)

  /// Reads an answer.
  init(_ text: String) { self.init(Substring(text), isPart: false) }

  private init(_ text: Substring, isPart: Bool) {
    var text = Self.bare(text)
    // `x = 5` says 5, and so does `x \in …`.
    let sides = text.split(separator: "=", omittingEmptySubsequences: false)
    if sides.count == 2, Self.bare(sides[0]).count <= 4, !sides[0].contains(where: \.isNumber) {
      text = Self.bare(sides[1])
    }
    let isPercent = text.hasSuffix("%")
    if isPercent {
      text = Self.bare(text.dropLast(text.hasSuffix("\\%") ? 2 : 1))
    }
    if let value = try? MathsReader.value(of: text) {
      self = .value(value, isPercent: isPercent)
    } else if let (open, close, parts) = Self.parts(text), !isPart || open != nil {
      self = .list(open: open, close: close, parts.map { MathsAnswer($0, isPart: true) })
    } else {
      self = .words(Self.words(text))
    }
  }

  /// Whether it has a value, or is a list of such.
  var isExact: Bool {
    switch self {
    case .value: true
    case .list(_, _, let parts): parts.allSatisfy(\.isExact)
    case .words: false
    }
  }

  /// Whether two answers are one.
  static func areEqual(_ a: MathsAnswer, _ b: MathsAnswer) -> Bool {
    switch (a, b) {
    case (.value(let x, let isPercent), .value(let y, let isOtherPercent)):
      if (try? MathsValue.areEqual(x, y)) == true { return true }
      guard isPercent != isOtherPercent, let x = x.number, let y = y.number else { return false }
      // 50 % is 50 where nobody says of what, and 1/2.
      let hundred = Rational(100)
      return isPercent ? x == y * hundred : y == x * hundred
    case (.list(let open, let close, let ours), .list(let first, let last, let theirs)):
      guard open == first, close == last, ours.count == theirs.count else { return false }
      guard open == nil || open == "{" else {
        return zip(ours, theirs).allSatisfy { areEqual($0, $1) }
      }
      var left = theirs
      return ours.allSatisfy { one in
        guard let found = left.firstIndex(where: { areEqual(one, $0) }) else { return false }
        left.remove(at: found)
        return true
      }
    case (.words(let ours), .words(let theirs)): return !ours.isEmpty && ours == theirs
    default: return false
    }
  }

  // MARK: Text

  /// Without what stands around: spaces, dollars, a full stop, Markdown's bold.
  private static func bare(_ text: Substring) -> Substring {
    var text = text
    var count = -1
    while count != text.count {
      count = text.count
      text = text.drop { $0.isWhitespace || $0 == "$" }
      while let last = text.last, last.isWhitespace || "$.;:".contains(last) { text.removeLast() }
      for (open, close) in [("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")]
      where text.count > 4 && text.hasPrefix(open) && text.hasSuffix(close) {
        text = text.dropFirst(2).dropLast(2)
      }
    }
    return text
  }

  /// The parts between the commas of a list, and the brackets around it.
  private static func parts(
    _ text: Substring
  ) -> (open: Character?, close: Character?, parts: [Substring])? {
    var text = Substring(
      text.replacing("\\left", with: "").replacing("\\right", with: "").replacing("\\{", with: "{")
        .replacing("\\}", with: "}"))
    text = bare(text)
    var (open, close): (Character?, Character?)
    if let first = text.first, let last = text.last, "([{".contains(first), ")]}".contains(last),
      text.count > 2
    {
      (open, close) = (first, last)
      text = text.dropFirst().dropLast()
    }
    var (parts, depth) = ([Substring()], 0)
    for at in text.indices {
      if "([{".contains(text[at]) { depth += 1 }
      if ")]}".contains(text[at]) { depth -= 1 }
      if depth < 0 { return nil }
      if depth == 0, text[at] == "," {
        parts.append(Substring())
      } else {
        parts[parts.count - 1].append(text[at])
      }
    }
    return parts.count > 1 && depth == 0 ? (open, close, parts) : nil
  }

  private static func words(_ text: Substring) -> String {
    var text = String(text)
    for (old, new) in [
      ("\\left", ""), ("\\right", ""), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\!", ""),
      ("\\,", ""), ("\\;", ""), ("\\ ", ""),
    ] { text = text.replacing(old, with: new) }
    if let match = text.wholeMatch(of: /\\(?:text|mathrm|textbf)\{([^{}]*)\}/) {
      text = String(match.output.1)
    }
    return String(text.filter { !$0.isWhitespace })
  }
}
