// SPDX-License-Identifier: Apache-2.0

/// What went wrong in AttuneStore, in words that a person at the command line can act on.
public struct StoreError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// The store can't be opened, read or written.
    case file
    /// Another process asks people out of it.
    case inUse
    /// What is asked of the store, or to be put into it, is not what it should be.
    case badRequest
  }

  /// The kind of failure.
  public let code: Code
  /// One line that names the file or the option at fault and what to do.
  public let message: String

  /// Makes an error.
  ///
  /// - Parameters:
  ///   - code: The kind of failure.
  ///   - message: One line that names what is at fault and what to do.
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The message.
  public var description: String { message }
}
