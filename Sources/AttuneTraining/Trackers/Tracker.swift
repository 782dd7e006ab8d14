// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

/// What shows a run's numbers beside `metrics.jsonl`, which stays the source.
public enum TrackerKind: String, Sendable, CaseIterable {
  /// Event files, in `tensorboard/` of the run's folder.
  case tensorboard
  /// MLflow's file store, in `mlruns/` beside the run's folder.
  case mlflow
  /// `metrics.csv` in the run's folder, a row a step.
  case csv
}

/// A line of `metrics.jsonl`.
struct TrackedStep {
  var step: Int
  /// Seconds since 1970.
  var time: Double
  /// In the line's order.
  var values: [(name: String, value: Double)]
}

/// Writes a run's numbers for another program. All of it can be made again from `metrics.jsonl`: a run that goes
/// on begins its trackers' files anew with the lines that it keeps.
protocol Tracker: AnyObject {
  /// Takes the steps that are there; called once.
  func begin(_ steps: [TrackedStep]) throws
  /// Takes one more.
  func add(_ step: TrackedStep) throws
  /// Ends a run that is finished.
  ///
  /// - Parameter figures: Its final table.
  func finish(_ figures: [(name: String, value: Double)]) throws
}

/// The trackers of one run; rank 0 alone has any.
package final class Trackers {
  private let trackers: [any Tracker]

  /// Begins them with what the run's metrics hold.
  ///
  /// - Parameters:
  ///   - kinds: Which ones.
  ///   - folder: The run's folder.
  ///   - record: Its settings.
  ///   - metrics: The kept part of `metrics.jsonl`.
  /// - Throws: `FileError` if something can't be written.
  init(_ kinds: [TrackerKind], in folder: URL, record: RunRecord, metrics: Data) throws {
    let settings = record.trackedSettings
    trackers = try kinds.map { kind in
      switch kind {
      case .tensorboard: try TensorBoardTracker(in: folder, settings: settings)
      case .mlflow: try MLflowTracker(in: folder, record: record, settings: settings)
      case .csv: CSVTracker(in: folder)
      }
    }
    if trackers.isEmpty { return }
    let steps = metrics.split(separator: UInt8(ascii: "\n")).compactMap { Self.step(Data($0)) }
    for tracker in trackers { try tracker.begin(steps) }
  }

  /// Adds a line.
  func add(_ line: String) throws {
    guard !trackers.isEmpty, let step = Self.step(Data(line.utf8)) else { return }
    for tracker in trackers { try tracker.add(step) }
  }

  /// Ends the run, with the held-out figures of its report if it has one.
  func finish(in folder: URL) throws {
    guard !trackers.isEmpty else { return }
    struct Report: Decodable {
      struct Figure: Decodable {
        var metric: String
        var value: Double
      }
      var held_out: [Figure]?
    }
    let file = folder.appending(path: "report.json")
    let report = (try? Data(contentsOf: file)).flatMap {
      try? JSONDecoder().decode(Report.self, from: $0)
    }
    let figures = (report?.held_out ?? []).map { ("held_out/" + $0.metric, $0.value) }
    for tracker in trackers { try tracker.finish(figures) }
  }

  private static func step(_ line: Data) -> TrackedStep? {
    guard
      case .object(let fields)? = try? JSONTree(
        parsing: String(decoding: line, as: UTF8.self), place: "metrics.jsonl")
    else { return nil }
    var found = TrackedStep(step: 0, time: 0, values: [])
    for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
      let number: Double
      switch value {
      case .int(let whole): number = Double(whole)
      case .double(let real): number = real
      default: continue
      }
      switch name {
      case "step": found.step = Int(number)
      case "time": found.time = number
      default: found.values.append((name, number))
      }
    }
    return found
  }
}

extension RunRecord {
  /// Every knob, the stage and the digests of what is read, in words.
  var trackedSettings: [(name: String, value: String)] {
    [("stage", stage), ("version", version)]
      + settings.byPath.sorted { $0.key < $1.key }.map { path, value in
        if case .string(let text) = value { (path, text) } else { (path, value.line) }
      }
      + inputs.sorted { $0.key < $1.key }.map { ("input \($0.key)", String($0.value.prefix(16))) }
  }
}

// MARK: - CSV

/// `metrics.csv`: a column a metric. Metrics come and go, so the file is written anew: at the beginning, at the
/// end and now and then.
private final class CSVTracker: Tracker {
  private let url: URL
  private var steps: [TrackedStep] = []
  private var written = ContinuousClock.now

  init(in folder: URL) { url = folder.appending(path: "metrics.csv") }

  func begin(_ steps: [TrackedStep]) throws {
    self.steps = steps
    try write()
  }

  func add(_ step: TrackedStep) throws {
    steps.append(step)
    if written.duration(to: .now) > .seconds(5) || steps.count < 20 { try write() }
  }

  func finish(_ figures: [(name: String, value: Double)]) throws {
    if let last = steps.last, !figures.isEmpty {
      steps.append(TrackedStep(step: last.step, time: last.time, values: figures))
    }
    try write()
  }

  private func write() throws {
    var names: [String] = []
    var known: Set<String> = []
    for step in steps {
      for (name, _) in step.values where known.insert(name).inserted { names.append(name) }
    }
    func quoted(_ text: String) -> String {
      text.contains { ",\"\n\r".contains($0) } ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
    }
    var text = (["step", "time"] + names).map(quoted).joined(separator: ",") + "\n"
    for step in steps {
      let values = Dictionary(step.values.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
      text += ["\(step.step)", fixed(step.time, 3)].joined(separator: ",")
      for name in names { text += "," + (values[name].map { "\($0)" } ?? "") }
      text += "\n"
    }
    try AtomicFile.write(text, to: url)
    written = .now
  }
}
