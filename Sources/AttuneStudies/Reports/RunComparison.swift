// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneTraining
public import Foundation

/// Runs side by side: their held-out figures, where their curves end, and the settings in which they
/// differ. The object of `attune compare --json`.
public struct RunComparison: Codable, Sendable, Equatable {
  /// A run.
  public struct Run: Codable, Sendable, Equatable {
    /// What it is called here.
    public var name: String
    /// What its folder says.
    public var report: RunReport
  }

  /// A setting in which the runs differ.
  public struct Difference: Codable, Sendable, Equatable {
    /// The setting.
    public var name: String
    /// Its value in each run; nil where the run has no such setting.
    public var values: [String?]
  }

  /// The version of this format.
  public var formatVersion = 1
  /// The runs in their order.
  public var runs: [Run]
  /// The settings in which they differ.
  public var differences: [Difference]

  /// Reads the folders.
  ///
  /// - Parameter folders: Run folders of any stages.
  /// - Throws: `TrainingError` that names a folder that holds no run.
  public init(_ folders: [URL]) throws {
    let names = Self.names(folders)
    runs = try zip(names, folders).map { try Run(name: $0, report: RunReport(run: $1)) }
    differences = Self.differences(runs.map(\.report))
  }

  /// The folders' last parts, with what stands before them where two are alike.
  private static func names(_ folders: [URL]) -> [String] {
    let parts = folders.map { $0.standardizedFileURL.pathComponents }
    var count = 1
    while true {
      let names = parts.map { $0.suffix(count).joined(separator: "/") }
      if Set(names).count == names.count || count >= (parts.map(\.count).max() ?? 0) {
        return names
      }
      count += 1
    }
  }

  private static func differences(_ reports: [RunReport]) -> [Difference] {
    let stages = Set(reports.map(\.stage))
    let knobs = reports.map { report in
      // Knobs of one name mean the same in trainers; a whole job's carry their stage.
      Dictionary(
        report.settings.map { setting in
          let isOwn = [report.stage, "run", "input"].contains(setting.stage)
          let name = isOwn ? setting.name : "\(setting.stage).\(setting.name)"
          return (setting.stage == "input" ? "input \(setting.name)" : name, setting.value)
        }, uniquingKeysWith: { first, _ in first })
    }
    var list: [Difference] = []
    if stages.count > 1 { list.append(Difference(name: "stage", values: reports.map(\.stage))) }
    for name in Set(knobs.flatMap(\.keys)).sorted() {
      let values = knobs.map { $0[name] }
      // What a stage alone has says which stage it is, not how runs differ.
      let known = values.compactMap(\.self)
      if Set(known).count > 1 || (stages.count == 1 && known.count < values.count) {
        list.append(Difference(name: name, values: values))
      }
    }
    return list
  }

  // MARK: Tables

  /// The held-out figures of all runs by metric, in the order in which they come.
  private var figures: [(name: String, ofRuns: [HeldOutFigure?])] {
    var order: [(metric: String, name: String)] = []
    for figure in runs.flatMap(\.report.heldOut)
    where !order.contains(where: { $0.metric == figure.metric }) {
      order.append((figure.metric, figure.name))
    }
    return order.map { metric, name in
      (name, runs.map { run in run.report.heldOut.first { $0.metric == metric } })
    }
  }

  private var heldOutTable: TextTable? {
    let figures = figures
    guard !figures.isEmpty else { return nil }
    var table = TextTable(columns: ["held out"] + runs.map(\.name))
    for (name, ofRuns) in figures {
      table.rows.append(
        [name]
          + ofRuns.map { figure in
            guard let figure else { return "–" }
            return (figure.beforeText.map { "\($0) → " } ?? "") + figure.text
              + ", n \(figure.countText)"
          })
    }
    return table
  }

  private var trainingTable: TextTable? {
    var table = TextTable(columns: ["end of training"] + runs.map(\.name))
    table.rows.append(
      ["\(Set(runs.map(\.report.unit)).sorted().joined(separator: "/"))s"]
        + runs.map { run in
          run.report.training.last.map {
            "\($0.step)\(run.report.isFinished ? "" : ", not finished")"
          }
            ?? "–"
        })
    for curve in ReportCurve.all {
      for line in curve.lines where line.metric != .heldOutLoss && line.metric != .heldOutAccuracy {
        let values = runs.map { $0.report.last(line.metric) }
        guard values.contains(where: { $0 != nil }) else { continue }
        table.rows.append([line.metric.rawValue] + values.map { readable($0, digits: 3) })
      }
    }
    return table.rows.count > 1 ? table : nil
  }

  private var differenceTable: TextTable? {
    guard !differences.isEmpty else { return nil }
    var table = TextTable(columns: ["setting"] + runs.map(\.name))
    for difference in differences {
      table.rows.append([difference.name] + difference.values.map { $0 ?? "–" })
    }
    return table
  }

  private var confidence: String { HeldOutFigure.confidence(of: runs.flatMap(\.report.heldOut)) }

  /// The tables for a terminal.
  public var text: String {
    let tables = [heldOutTable, trainingTable, differenceTable].compactMap { $0?.text }
    let note =
      heldOutTable == nil
      ? [] : ["Brackets hold \(confidence) intervals over prompts; a → b is before → after.\n"]
    let same =
      differences.isEmpty && runs.count > 1 ? ["The runs have the same settings and inputs.\n"] : []
    return (tables + same + note).joined(separator: "\n")
  }

  // MARK: The page

  /// The page: tables and curves, one line a run. Of a single run its own report.
  public var html: String {
    guard runs.count > 1 else { return runs.first?.report.html ?? "" }
    let title = runs.map(\.name).joined(separator: ", ")
    var body = "<h1>Runs side by side</h1>\n<p class=\"quiet\">"
    body += runs.map { "\(escapedHTML($0.name)) (\(escapedHTML($0.report.stage)))" }
      .joined(separator: " · ")
    body += "</p>\n"
    if let table = differenceTable {
      body += "<h2>What differs</h2>\n\(table.html)"
    } else {
      body += "<p>The runs have the same settings and inputs.</p>\n"
    }
    if let table = heldOutTable {
      body +=
        "<h2>On what was held out</h2>\n\(table.html)<p class=\"quiet\">Brackets hold \(confidence) intervals "
      body += "over prompts; a → b is before → after.</p>\n"
    }
    let units = Set(runs.filter { !$0.report.training.isEmpty }.map(\.report.unit)).sorted()
    body += "<h2>Over training</h2>\n"
    body += ReportSection.charts(
      runs.map { ($0.name, $0.report.training) }, xLabel: units.joined(separator: ", "))
    if let table = trainingTable { body += table.html }
    body += answers
    return standalonePage(title: title, body: body)
  }

  /// What the runs answer to the prompts that all of them were asked.
  private var answers: String {
    let asked = runs.map {
      Dictionary($0.report.greedy.map { ($0.prompt, $0) }) { first, _ in first }
    }
    guard let first = runs.first else { return "" }
    let shared = first.report.greedy.filter { pair in
      asked.allSatisfy { $0[pair.prompt] != nil }
    }.prefix(10)
    guard !shared.isEmpty else { return "" }
    var out = "<h2>Greedy answers</h2>\n"
    for pair in shared {
      out += "<article class=\"pair\"><h3>\(escapedHTML(pair.prompt))</h3>\n"
      for (name, pairs) in zip(runs.map(\.name), asked) {
        guard let answer = pairs[pair.prompt]?.after else { continue }
        out += "<section><span class=\"quiet\"><b>\(escapedHTML(name))</b></span><blockquote>"
        out += "\(escapedHTML(answer.text))\(answer.completed ? "" : " …")</blockquote></section>\n"
      }
      out += "</article>\n"
    }
    return out
  }
}
