// SPDX-License-Identifier: Apache-2.0

/// What went wrong in AttuneTraining, in words that a person at the command line can act on.
public struct TrainingError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable {
    /// A setting is unknown, unused or out of range.
    case badSetting
    /// The command line itself is wrong: an option that does not exist, or that is given twice.
    case badUsage
    /// The data do not fit what was asked for.
    case badData
    /// A model can't be found or does not fit.
    case badModel
    /// An output folder holds something else than what would be written.
    case badOutput
    /// The output folder holds this very run, finished.
    case finished
    /// A loss or gradient is not finite.
    case diverged
    /// The person asked to stop; a checkpoint was written.
    case interrupted
    /// A file could not be read or written.
    case file
    /// An outside program or package failed.
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
