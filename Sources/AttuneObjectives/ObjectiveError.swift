// SPDX-License-Identifier: Apache-2.0

/// What an objective refuses, in words that a person at the command line can act on.
public struct ObjectiveError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// A knob is set that the chosen objective does not read, or has a value that it cannot use.
    case badSetting
    /// The rows do not have what the chosen objective needs.
    case badRows
  }

  /// The kind of failure.
  public let code: Code
  /// One line that names what is at fault and what to do.
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
