// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneTraining
import Foundation

/// What a run's folder remembers of its stages: `stages/NAME.json`.
struct StageLog: Codable {
  /// 1 held every knob as a text.
  private static let version = 2
  var formatVersion = Self.version
  /// `running` or `finished`.
  var state: String
  /// Seconds of all its parts.
  var seconds: Double
  /// What it made, in a few words.
  var summary: String
  /// What it was made from.
  var record: RunRecord

  static func url(_ step: RLHF.Step, in folder: URL) -> URL {
    folder.appending(path: "stages/\(step.name).json")
  }

  /// A stage's log; nil if there is none.
  ///
  /// - Throws: `TrainingError.badOutput` if it is damaged.
  static func read(_ step: RLHF.Step, in folder: URL) throws -> StageLog? {
    let url = url(step, in: folder)
    guard let data = try? Data(contentsOf: url) else { return nil }
    do {
      try FormatVersion.require(
        version, of: data, at: url, orElse: "redo the stage with --from \(step.name)")
      return try JSONText.read(StageLog.self, from: data)
    } catch let error as TrainingError {
      throw error
    } catch {
      throw TrainingError(
        .badOutput, "\(url.path): is damaged; redo the stage with --from \(step.name)")
    }
  }

  /// Sets the clock of chat templates to what a run's stages had, so that it goes on with the same
  /// texts on another day.
  static func resumeClock(in folder: URL) {
    let stages = folder.appending(path: "stages")
    for name in (try? FileManager.default.contentsOfDirectory(atPath: stages.path).sorted()) ?? [] {
      if name.hasSuffix(".json"), let data = try? Data(contentsOf: stages.appending(path: name)),
        let log = try? JSONText.read(StageLog.self, from: data),
        let date = log.record.templateDate
      {
        return TemplateClock.resume(date)
      }
    }
  }

  func write(_ step: RLHF.Step, in folder: URL) throws {
    let url = Self.url(step, in: folder)
    try AtomicFile.makeFolder(url.deletingLastPathComponent())
    try AtomicFile.write(try JSONText.pretty(self), to: url)
  }
}
