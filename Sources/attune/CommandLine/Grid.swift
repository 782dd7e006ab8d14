// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneStudies
import AttuneTraining
import Foundation

/// A command that is run once for each combination of some values, one run after the other, into
/// folders that are named by them.
///
/// Each run decides by its own record whether it goes on, is finished or is another: the grid keeps
/// nothing of its own but `grid.json`, the table of what came out.
struct Grid {
  /// One run.
  struct Run: Encodable {
    /// Its folder in the grid's.
    let folder: String
    /// Its values by the names of the axes.
    let values: [String: JSONTree]
    /// `finished`, or why it has no numbers.
    var state: String
    /// Its last numbers by name.
    var numbers: [String: Double]
  }

  /// Runs that differ by their seeds alone.
  struct Group: Encodable {
    /// What they have in common.
    let values: [String: JSONTree]
    /// How many came to an end.
    let runs: Int
    /// Means over them.
    let mean: [String: Double]
    /// Standard deviations over them, where there are two or more.
    let deviation: [String: Double]
  }

  /// What a grid came to: `grid.json`, and `--json`.
  struct Table: Encodable {
    var formatVersion = 1
    let command: String
    let output: String
    let axes: [String]
    var runs: [Run]
    var groups: [Group]
  }

  private let line: CommandLineValues
  private let command: String
  private let output: String
  private let asJSON: Bool

  /// A grid of a command's line.
  ///
  /// - Throws: `TrainingError` if the command writes no folder of its own.
  init(_ line: CommandLineValues, _ shape: CommandShape) throws {
    self.line = line
    command = shape.name
    let axes = line.axes.map(\.name).joined(separator: ", ")
    guard shape.option("output")?.valueName == "dir" else {
      throw TrainingError(
        .badUsage,
        "\(axes): a list of values is a grid of runs, and attune \(shape.name) writes no run's folder: "
          + "give one value")
    }
    guard let output = line.value(of: "output") else {
      throw TrainingError(.badUsage, "\(axes): a grid needs --output, the folder of its runs")
    }
    self.output = output
    asJSON = line.has(flag: "json")
  }

  /// Every combination, the last axis fastest.
  private var points: [[JSONTree]] {
    line.axes.reduce([[]]) { points, axis in
      points.flatMap { point in axis.values.map { point + [$0] } }
    }
  }

  /// `beta=0.05,seed=1`: the values as a folder's name.
  private func name(_ point: [JSONTree]) -> String {
    let name = zip(line.axes, point).map { axis, value in
      let text = if case .string(let text) = value { text } else { value.line }
      return "\(axis.name)=\(text)"
    }.joined(separator: ",")
    let safe = String(
      name.map { $0.isLetter || $0.isNumber || "=,._+-@".contains($0) ? $0 : "-" })
    guard safe.utf8.count > 200 else { return safe }
    return safe.prefix(100) + "-" + Fingerprint.of(Data(name.utf8)).prefix(16)
  }

  /// Runs what is not finished, and says what all of them came to.
  func run() throws {
    let points = points
    let names = points.map(name)
    if let twice = names.first(where: { name in names.count(where: { $0 == name }) > 1 }) {
      throw TrainingError(.badSetting, "two runs of the grid would share the folder \(twice)")
    }
    let folder = URL(filePath: output, directoryHint: .isDirectory)
    let there = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    if !there.contains("grid.json"), let stranger = there.first(where: { !names.contains($0) }) {
      throw TrainingError(
        .badOutput,
        "\(output): holds no grid but other files (\(stranger)); give a new or empty folder")
    }
    try AtomicFile.makeFolder(folder)
    var table = Table(
      command: command, output: output, axes: line.axes.map(\.name), runs: [], groups: [])
    try write(table, in: folder)
    var failed = 0
    for (index, (point, name)) in zip(points, names).enumerated() {
      guard !Interrupt.isRequested else { throw stopped(index, of: points.count, nil) }
      Output.note("Run \(index + 1) of \(points.count): \(name)")
      let values = Dictionary(
        zip(line.axes.map(\.name), point), uniquingKeysWith: { $1 })
      var run = Run(folder: name, values: values, state: "finished", numbers: [:])
      let capture = Output.Capture()
      do {
        try Output.$capture.withValue(capture) {
          try line.run(
            point,
            replacing: [("output", folder.appending(path: name).relativePath), ("json", nil)])
        }
      } catch let error as TrainingError where error.code == .finished {
        Output.note("finished before")
      } catch let error as TrainingError where error.code == .interrupted {
        throw stopped(index, of: points.count, error)
      } catch let error as TrainingError where error.code == .diverged {
        // The others may do better.
        Output.note("error: \(error.message)")
        run.state = error.message
        failed += 1
      }
      if run.state == "finished" {
        run.numbers = Self.numbers(in: folder.appending(path: name), printed: capture.text)
      }
      table.runs.append(run)
      table.groups = groups(table.runs)
      try write(table, in: folder)
    }
    if asJSON { try Output.json(table) } else { try Output.write(text(table)) }
    if failed > 0 {
      throw TrainingError(.diverged, "\(failed) of \(points.count) runs have no result")
    }
  }

  private func stopped(_ done: Int, of count: Int, _ error: TrainingError?) -> TrainingError {
    TrainingError(
      .interrupted,
      "stopped in the grid with \(done) of \(count) runs finished; the same command goes on"
        + (error.map { " (\($0.message))" } ?? ""))
  }

  private func write(_ table: Table, in folder: URL) throws {
    try AtomicFile.write(try JSONText.pretty(table), to: folder.appending(path: "grid.json"))
  }

  /// The last value of every metric in a run's folder; of a run without metrics of its own what it
  /// printed.
  static func numbers(in folder: URL, printed: String) -> [String: Double] {
    var numbers: [String: Double] = [:]
    let metrics = folder.appending(path: "metrics.jsonl")
    if let text = try? String(contentsOf: metrics, encoding: .utf8) {
      for line in text.split(separator: "\n") {
        guard let row = try? JSONValue(parsing: String(line)) else { continue }
        for field in row.fields where field.key != "time" {
          if case .number(let digits) = field.value { numbers[field.key] = Double(digits) }
        }
      }
      return numbers
    }
    guard let report = try? JSONTree(parsing: printed, place: "") else { return [:] }
    for (path, value) in report.leaves() {
      if let number = value.number { numbers[path] = number }
    }
    return numbers
  }

  /// Runs with the same values but for seeds.
  private func groups(_ runs: [Run]) -> [Group] {
    let others = line.axes.map(\.name).filter { !$0.hasSuffix("seed") }
    guard others.count < line.axes.count else { return [] }
    var keys: [[String: JSONTree]] = []
    for run in runs {
      let key = run.values.filter { others.contains($0.key) }
      if !keys.contains(key) { keys.append(key) }
    }
    return keys.map { key in
      let members = runs.filter { run in
        run.state == "finished" && key.allSatisfy { run.values[$0.key] == $0.value }
      }
      var mean: [String: Double] = [:]
      var deviation: [String: Double] = [:]
      for name in Set(members.flatMap(\.numbers.keys)) {
        let values = members.compactMap { $0.numbers[name] }
        guard values.count == members.count else { continue }
        let average = values.reduce(0, +) / Double(values.count)
        mean[name] = average
        guard values.count > 1 else { continue }
        let squares = values.reduce(0) { $0 + ($1 - average) * ($1 - average) }
        deviation[name] = (squares / Double(values.count - 1)).squareRoot()
      }
      return Group(values: key, runs: members.count, mean: mean, deviation: deviation)
    }
  }

  /// Numbers that say how good a run is, the best known first.
  private static let telling = [
    "reward/held_out_accuracy", "loss/held_out", "reward/gold_mean", "reward/policy_mean",
    "reward/mean", "reward/fresh_accuracy", "reward/accuracy", "reward/margin", "kl/sequence",
    "evaluation.win_rate.rate", "evaluation.policy.kl.mean", "perplexity", "loss",
    "response/length",
  ]

  private func text(_ table: Table) -> String {
    let known = Set(table.runs.flatMap(\.numbers.keys))
    var columns = Self.telling.filter(known.contains)
    if columns.isEmpty { columns = known.sorted() }
    columns = Array(columns.prefix(6))
    func number(_ value: Double?) -> String {
      value.map { fixed($0, abs($0) >= 100 ? 1 : 4) } ?? "–"
    }
    var rows: [[String]] = []
    for run in table.runs {
      rows.append(
        [run.folder] + columns.map { run.state == "finished" ? number(run.numbers[$0]) : "failed" })
    }
    let folders = table.runs.filter { $0.state == "finished" }.map {
      URL(filePath: output, directoryHint: .isDirectory)
        .appending(path: $0.folder, directoryHint: .isDirectory)
    }
    // Held-out figures with their intervals; a stage that has none of its own shows its last numbers.
    var text =
      (try? RunComparison(folders))?.text ?? TextTable(columns: ["run"] + columns, rows: rows).text
    if !table.groups.isEmpty {
      var rows: [[String]] = []
      for group in table.groups {
        let name = table.axes.compactMap { axis in
          group.values[axis].map { "\(axis)=\($0.line)" }
        }.joined(separator: ",")
        rows.append(
          [name.isEmpty ? "all" : name, "\(group.runs)"]
            + columns.map { column in
              number(group.mean[column])
                + (group.deviation[column].map { " ± \(number($0))" } ?? "")
            })
      }
      text +=
        "\n"
        + TextTable(columns: ["mean ± sd over seeds", "runs"] + columns, rows: rows).text
    }
    return text
      + "\nEvery number: \(output)/grid.json; curves: attune compare \(output)/*/ --output "
      + "\(output)/compare.html\n"
  }
}
