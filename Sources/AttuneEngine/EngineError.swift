// SPDX-License-Identifier: Apache-2.0

/// What went wrong in AttuneEngine, in words that a person at the command line can act on.
public struct EngineError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// A model file is missing, damaged or of a kind that is not read.
    case badModel
    /// A request does not fit the model: an id outside the vocabulary, a text too long.
    case badRequest
    /// A loss, gradient or weight is not finite.
    case notFinite
    /// A file could not be read or written.
    case file
    /// The machine lacks something: BLAS, memory.
    case unavailable
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
