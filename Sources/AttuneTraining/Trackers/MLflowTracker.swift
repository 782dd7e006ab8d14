// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneObjectives
import Foundation

/// MLflow's file store: `mlruns/EXPERIMENT/RUN/` beside the run's folder, a file a metric, a parameter and a tag.
final class MLflowTracker: Tracker {
  private let run: URL
  private let name: String
  private let identifier: String
  private let settings: [(name: String, value: String)]
  private var start = Date().timeIntervalSince1970
  private var last: TrackedStep?

  /// - Throws: `FileError` if the store can't be written.
  init(in folder: URL, record: RunRecord, settings: [(name: String, value: String)]) throws {
    let folder = folder.standardizedFileURL
    self.settings = settings
    name = folder.lastPathComponent
    // The same run has the same place, so that one that goes on is not a second one.
    identifier = String(Fingerprint.of(Data((record.fingerprint + folder.path).utf8)).prefix(32))
    let store = folder.deletingLastPathComponent().appending(path: "mlruns")
    let experiment = store.appending(path: "0")
    run = experiment.appending(path: identifier, directoryHint: .isDirectory)
    try? FileManager.default.removeItem(at: run)
    for part in ["metrics", "params", "tags", "artifacts"] {
      try AtomicFile.makeFolder(run.appending(path: part))
    }
    let meta = experiment.appending(path: "meta.yaml")
    if !FileManager.default.fileExists(atPath: meta.path) {
      let now = Int(start * 1000)
      try AtomicFile.write(
        """
        artifact_location: \(Self.quoted(experiment.absoluteString.trimmedSlash))
        creation_time: \(now)
        experiment_id: '0'
        last_update_time: \(now)
        lifecycle_stage: active
        name: Default

        """, to: meta)
    }
  }

  func begin(_ steps: [TrackedStep]) throws {
    if let first = steps.first { start = first.time }
    for (name, value) in settings {
      try write(value, to: "params", Self.key(name))
    }
    for (tag, value) in [
      ("mlflow.runName", name), ("mlflow.source.name", "attune"), ("mlflow.source.type", "LOCAL"),
      ("mlflow.user", NSUserName()),
    ] { try write(value, to: "tags", tag) }
    try writeState(ended: nil)
    for step in steps { try add(step) }
  }

  func add(_ step: TrackedStep) throws {
    last = step
    for (name, value) in step.values {
      let file = run.appending(path: "metrics").appending(path: Self.key(metric: name))
      let line = "\(Int(step.time * 1000)) \(value) \(step.step)\n"
      if let handle = try? FileHandle(forWritingTo: file) {
        defer { try? handle.close() }
        do {
          try handle.seekToEnd()
          try handle.write(contentsOf: Data(line.utf8))
        } catch {
          throw FileError("\(file.path): can't be written: \(reason(error))")
        }
      } else {
        // Names with slashes are folders.
        try AtomicFile.makeFolder(file.deletingLastPathComponent())
        try AtomicFile.write(line, to: file)
      }
    }
  }

  func finish(_ figures: [(name: String, value: Double)]) throws {
    if let last {
      try add(TrackedStep(step: last.step, time: last.time, values: figures))
    }
    try writeState(ended: Date().timeIntervalSince1970)
  }

  private func write(_ text: String, to part: String, _ name: String) throws {
    let file = run.appending(path: part).appending(path: name)
    try AtomicFile.makeFolder(file.deletingLastPathComponent())
    try AtomicFile.write(text, to: file)
  }

  /// What a run says of itself: 1 is running, 3 finished.
  private func writeState(ended: Double?) throws {
    try AtomicFile.write(
      """
      artifact_uri: \(Self.quoted(run.appending(path: "artifacts").absoluteString.trimmedSlash))
      end_time: \(ended.map { "\(Int($0 * 1000))" } ?? "null")
      entry_point_name: ''
      experiment_id: '0'
      lifecycle_stage: active
      run_id: \(identifier)
      run_name: \(Self.quoted(name))
      run_uuid: \(identifier)
      source_name: ''
      source_type: 4
      source_version: ''
      start_time: \(Int(start * 1000))
      status: \(ended == nil ? 1 : 3)
      tags: []
      user_id: \(Self.quoted(NSUserName()))

      """, to: run.appending(path: "meta.yaml"))
  }

  private static func quoted(_ text: String) -> String {
    "'\(text.replacing("'", with: "''"))'"
  }

  /// Names with slashes are folders, and `loss` can't be a file beside `loss/kl`: it is `loss/total`.
  private static func key(metric name: String) -> String {
    let isFolder = Metric.allCases.contains { $0.rawValue.hasPrefix(name + "/") }
    return key(isFolder ? name + "/total" : name)
  }

  /// A name of letters, digits and `_-. /`, as MLflow takes them.
  private static func key(_ name: String) -> String {
    String(
      name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "_-. /".contains($0)) ? $0 : "_" })
  }
}

extension String {
  /// Without the slash at the end that a folder's address has.
  fileprivate var trimmedSlash: String { hasSuffix("/") ? String(dropLast()) : self }
}
