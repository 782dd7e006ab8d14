// SPDX-License-Identifier: Apache-2.0

/// A person's own pattern, in PCRE2's language with Unicode classes.
///
/// `^` and `$` are the ends of the text unless `(?m)` says otherwise, and `.` matches no line end
/// unless `(?s)` does.
public struct RegularExpression: Sendable {
  /// The pattern as it was written.
  public let source: String
  private let pattern: Pattern

  /// Compiles a pattern.
  ///
  /// - Parameter source: The pattern.
  /// - Throws: ``DataError`` that says what is wrong with it and where.
  public init(_ source: String) throws {
    self.source = source
    pattern = try Pattern(expression: source)
  }

  /// Whether the pattern matches anywhere in a text.
  ///
  /// - Returns: Nil where the match needs more steps or memory than the limits (ten million steps,
  ///   64 MiB): a pattern that explodes on one text must not stop a program.
  public func isFound(in text: String) -> Bool? { pattern.isFound(in: text) }

  /// The parts of a text that match, from left to right, without overlap; where the limits are reached
  /// the rest of the text has none.
  package func matches(in text: String) -> [Substring] {
    var text = text
    var ranges: [Range<Int>] = []
    text.withUTF8 { bytes in
      pattern.matches(in: bytes, ranges: [0..<bytes.count]) { ranges.append($1) }
    }
    let bytes = text.utf8
    return ranges.map {
      let start = bytes.index(bytes.startIndex, offsetBy: $0.lowerBound)
      return text[start..<bytes.index(start, offsetBy: $0.count)]
    }
  }
}
