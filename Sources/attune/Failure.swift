// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining
import Foundation

/// How a command that fails ends: one line `error: …` on standard error, and an exit code.
enum Failure {
  /// 1 for bad input, 64 for wrong usage, 130 after Ctrl-C; help and version go out with 0.
  static func exit(with error: any Error) -> Never {
    let code = Attune.exitCode(for: error)
    if code == .success {
      Ranks.end()
      Attune.exit(withError: error)
    }
    if let error = error as? TrainingError, error.code == .interrupted {
      end(130, error.message)
    }
    if code == .validationFailure { end(64, "error: \(Attune.message(for: error))") }
    end((error as? TrainingError)?.code == .badUsage ? 64 : 1, "error: \(error)")
  }

  private static func end(_ code: Int32, _ message: String) -> Never {
    report(message)
    Ranks.fail(code, message)
    Foundation.exit(code)
  }

  private static func report(_ message: String) {
    // One line: what a program's log or a shell script wants to see.
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
  }
}
