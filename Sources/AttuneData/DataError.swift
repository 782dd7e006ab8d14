// SPDX-License-Identifier: Apache-2.0

/// What went wrong in AttuneData, in words that a person at the command line can act on.
public struct DataError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// A data file, or a row of it, is not what it should be.
    case badData
    /// A tokenizer file is damaged or of a kind that is not read.
    case badTokenizer
    /// A chat template uses a construct that is not interpreted, or fails.
    case badTemplate
    /// A chat template writes earlier turns otherwise once others follow.
    case rewritingTemplate
    /// A person's pattern is no regular expression.
    case badPattern
    /// A file could not be read or written.
    case file
  }

  /// The kind of failure.
  public let code: Code
  /// One line that names the file, line, field or option at fault and what to do.
  public let message: String

  /// Makes an error.
  ///
  /// - Parameters:
  ///   - code: The kind of failure.
  ///   - message: One line that names the place and what to do.
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The message.
  public var description: String { message }
}
