// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
package import AttuneObjectives
package import Foundation

/// What a run says of one held-out row: a line of its `evaluation.jsonl`, from which every figure with
/// its interval follows.
package struct HeldOutRow: Equatable, Codable {
  /// The line of the data file.
  var line: Int
  /// Which of the held-out prompts, numbered as they come.
  package var prompt: Int
  /// What the row weighs: tokens where the figure is of a token.
  var weight = 1.0
  /// What was measured, by metric.
  package var values: [Metric: Double]
  /// The same under the start, where it is known.
  package var before: [Metric: Double] = [:]

  /// The file of a run's folder.
  package static let file = "evaluation.jsonl"

  /// Numbers for prompts in the order in which they come.
  static func numbers(_ prompts: [[Int32]]) -> [Int] {
    var known: [[Int32]: Int] = [:]
    return prompts.map { prompt in
      let number = known[prompt] ?? known.count
      known[prompt] = number
      return number
    }
  }

  private var json: String {
    func members(_ values: [Metric: Double]) -> String {
      values.sorted { $0.key < $1.key }.filter(\.value.isFinite)
        .map { ",\"\($0.key.rawValue)\":\($0.value)" }.joined()
    }
    let start = members(before).dropFirst()
    return "{\"line\":\(line),\"prompt\":\(prompt)"
      + (weight == 1 ? "" : ",\"tokens\":\(Int(weight))")
      + members(values) + (start.isEmpty ? "" : ",\"before\":{\(start)}") + "}\n"
  }

  /// Writes a run's rows, where there are any.
  static func write(_ rows: [HeldOutRow], to folder: URL) throws {
    guard !rows.isEmpty else { return }
    try AtomicFile.write(rows.map(\.json).joined(), to: folder.appending(path: file))
  }

  /// Reads a run's rows; a reward model's pairs have a margin, whose sign is right or wrong.
  package static func read(_ folder: URL) throws -> [HeldOutRow] {
    let url = folder.appending(path: file)
    guard let size = try? Data(contentsOf: url).count, size > 0 else { return [] }
    var rows: [HeldOutRow] = []
    try JSONLines.forEach(in: url) { row, _ in
      func number(_ value: JSONValue?) -> Double? {
        guard case .number(let digits)? = value else { return nil }
        return Double(digits)
      }
      func values(_ row: JSONValue) -> [Metric: Double] {
        var found: [Metric: Double] = [:]
        for field in row.fields {
          if let metric = Metric(rawValue: field.key), let value = number(field.value) {
            found[metric] = value
          }
        }
        return found
      }
      let line = Int(number(row["line"]) ?? 0)
      var own = HeldOutRow(
        line: line, prompt: Int(number(row["prompt"]) ?? Double(line)),
        weight: number(row["tokens"]) ?? 1, values: values(row),
        before: row["before"].map(values) ?? [:])
      if let margin = number(row["margin"]) {
        own.values[.margin] = margin
        own.values[.accuracy] = margin > 0 ? 1 : margin == 0 ? 0.5 : 0
      }
      rows.append(own)
    }
    return rows
  }

  /// The estimate of a metric: the weighted mean over rows, with an interval over prompts (bootstrap).
  package static func estimate(
    _ metric: Metric, of rows: [HeldOutRow],
    in part: (HeldOutRow) -> [Metric: Double] = { $0.values }
  ) -> Statistics.Estimate? {
    var groups: [Int: (sum: Double, weight: Double)] = [:]
    for row in rows {
      guard let value = part(row)[metric] else { continue }
      groups[row.prompt, default: (0, 0)].sum += value * row.weight
      groups[row.prompt, default: (0, 0)].weight += row.weight
    }
    guard !groups.isEmpty else { return nil }
    let estimate = Statistics.bootstrap(groups.sorted { $0.key < $1.key }.map(\.value)) { groups in
      groups.reduce(0) { $0 + $1.sum } / groups.reduce(0) { $0 + $1.weight }
    }
    // Where every prompt says the same, drawing them anew shows no doubt; Wilson's interval does.
    guard metric == .accuracy, estimate.interval.low == estimate.interval.high else {
      return estimate
    }
    let count = Double(groups.count)
    let wilson = Statistics.wilson(successes: estimate.value * count, trials: count)
    return Statistics.Estimate(
      value: estimate.value,
      interval: .init(low: min(wilson.low, estimate.value), high: max(wilson.high, estimate.value)))
  }
}
