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
}
