// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation
import Synchronization

/// Standard output, where a disk that is full is an error like any other.
enum Output {
  /// Takes what would go to standard output: the runs of a grid print one object together.
  final class Capture: Sendable {
    private let taken = Mutex("")
    /// What was written.
    var text: String { taken.withLock { $0 } }
    fileprivate func take(_ more: String) { taken.withLock { $0 += more } }
  }

  /// Where standard output goes instead.
  @TaskLocal static var capture: Capture?

  /// Writes a line.
  static func line(_ text: String) throws { try write(text + "\n") }

  /// Writes text as it is.
  static func write(_ text: String) throws {
    if let capture { return capture.take(text) }
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      throw TrainingError(
        .file, "standard output can't be written: \((error as NSError).localizedDescription)")
    }
  }

  /// Writes the one JSON object of `--json`.
  static func json(_ value: some Encodable) throws { try line(try JSONText.line(value)) }

  /// Writes a part of a line on standard error.
  static func notePart(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }

  /// Writes a line on standard error, where progress and words for people go.
  static func note(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
  }
}
