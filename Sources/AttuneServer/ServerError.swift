// SPDX-License-Identifier: Apache-2.0

/// What went wrong in AttuneServer, in words that a person at the command line can act on.
public struct ServerError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// The address can't be listened on.
    case address
    /// A setting is not what it should be.
    case badSetting
    /// There is nothing to ask about.
    case badData
  }

  /// The kind of failure.
  public let code: Code
  /// One line that names the file or the setting at fault and what to do.
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
