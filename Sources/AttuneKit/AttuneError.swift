// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneTraining
public import Foundation

/// What went wrong in a session, in words that a person can act on.
public struct AttuneError: LocalizedError, Sendable, CustomStringConvertible {
  /// The kind of failure, for callers that react to it.
  public enum Code: String, Sendable, CaseIterable {
    /// The task was cancelled. Training saved where it stood: the same call goes on from there.
    case cancelled
    /// A setting is unknown, unused or out of range.
    case badSetting
    /// A row, prompt or answer is not what it should be.
    case badData
    /// A model is missing, damaged, or not of the kind that is needed.
    case badModel
    /// A loss, gradient or reward is not finite.
    case diverged
    /// A file or folder could not be read or written.
    case file
    /// The machine lacks something: memory, BLAS, a program.
    case unavailable
    /// What the app's own code threw, in a reward or in `perform`.
    case own
  }

  /// The kind of failure.
  public let code: Code
  /// One line that names what is at fault and what to do.
  public let message: String
  /// What was thrown.
  public let underlying: any Error

  /// The message.
  public var description: String { message }

  /// The message, for alerts.
  public var errorDescription: String? { message }

  /// Takes an error of a room below, or of the app's own code.
  init(_ error: any Error) {
    let code: Code =
      switch error {
      // One that the app's own code throws in a task that goes on is its own.
      case is CancellationError where Task.isCancelled: .cancelled
      case let error as TrainingError:
        switch error.code {
        case .interrupted: .cancelled
        case .badSetting, .badUsage: .badSetting
        case .badData: .badData
        case .badModel: .badModel
        case .diverged: .diverged
        case .badOutput, .finished, .file: .file
        case .unavailable: .unavailable
        }
      case let error as EngineError:
        switch error.code {
        case .badModel: .badModel
        case .badRequest: .badData
        case .notFinite: .diverged
        case .file: .file
        case .unavailable: .unavailable
        }
      case let error as DataError:
        switch error.code {
        case .badData, .badPattern: .badData
        case .badTokenizer, .badTemplate, .rewritingTemplate: .badModel
        case .file: .file
        }
      case let error as ObjectiveError:
        switch error.code {
        case .badSetting: .badSetting
        case .badRows: .badData
        }
      case is FileError: .file
      case is AnswerFault: .badData
      default: .own
      }
    self.init(error, code)
  }

  private init(_ error: any Error, _ code: Code) {
    self.code = code
    underlying = error
    message = error is CancellationError ? "cancelled" : "\(error)"
  }
}
