// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneObjectives
import AttuneTraining
import Foundation

/// What the report reads from the files of a run.
enum ReportFiles {
  /// The numbers over training, from the `metrics.jsonl` of every round, whose steps are counted on.
  static func points(of rounds: [URL]) throws -> [Report.Point] {
    var points: [Report.Point] = []
    for (round, metrics) in rounds.enumerated() {
      let before = points.last?.step ?? 0
      // A run in its first step has written no line yet.
      guard (try? Data(contentsOf: metrics).isEmpty) == false else { continue }
      try JSONLines.forEach(in: metrics) { row, _ in
        var values = rounds.count > 1 ? ["round": Double(round + 1)] : [:]
        for field in row.fields where field.key != "step" && field.key != "time" {
          if case .number(let digits) = field.value { values[field.key] = Double(digits) }
        }
        guard case .number(let digits)? = row["step"], let step = Int(digits) else { return }
        points.append(Report.Point(step: before + step, values: values))
      }
    }
    return points
  }

  /// The calibration plot, from the margins of a reward model's held-out pairs.
  static func calibration(_ margins: URL) throws -> [Report.RewardModelFacts.Bin] {
    guard (try? Data(contentsOf: margins).isEmpty) == false else { return [] }
    var predictions: [Double] = []
    var outcomes: [Double] = []
    try JSONLines.forEach(in: margins) { row, _ in
      guard case .number(let digits)? = row["margin"], let margin = Double(digits) else { return }
      predictions.append(sigmoid(abs(margin)))
      outcomes.append(margin > 0 ? 1 : margin == 0 ? 0.5 : 0)
    }
    return Statistics.calibration(predictions: predictions, outcomes: outcomes).bins
      .filter { $0.count > 0 }
      .map { .init(confidence: $0.predicted, accuracy: $0.observed, pairs: $0.count) }
  }

  /// Answers of start and policy to the same prompts: greedy ones, and the first that was sampled of each.
  ///
  /// - Parameters:
  ///   - answers: The rows.
  ///   - count: Sampled ones at most.
  static func sideBySide(
    _ answers: URL, count: Int
  ) throws -> (greedy: [Report.SideBySide], samples: [Report.SideBySide]) {
    var greedy: [Report.SideBySide] = []
    var samples: [Report.SideBySide] = []
    guard FileManager.default.fileExists(atPath: answers.path) else { return ([], []) }
    try JSONLines.forEach(in: answers) { value, _ in
      let row = try JSONText.read(EvaluatedPrompt.self, from: Data(value.text.utf8))
      func pair(
        _ before: EvaluatedAnswer?, _ after: EvaluatedAnswer?
      ) -> Report.SideBySide? {
        guard let before, let after else { return nil }
        return .init(prompt: row.prompt.lastText, before: answer(before), after: answer(after))
      }
      if let shown = pair(row.greedy?["start"], row.greedy?["policy"]) { greedy.append(shown) }
      if samples.count < count,
        let shown = pair(row.answers["start"]?.first, row.answers["policy"]?.first)
      {
        samples.append(shown)
      }
    }
    return (greedy, samples)
  }

  private static func answer(_ row: EvaluatedAnswer) -> Report.SideBySide.Side {
    .init(text: row.text, completed: row.finishReason == .stop, rewards: row.rewards)
  }

  /// Every setting as text, by stage.
  static func settings(_ settings: RLHFSettings) throws -> [Report.Setting] {
    try ConfigFile.value(of: settings).leaves().map { path, value in
      let parts = path.split(separator: ".", maxSplits: 1)
      return parts.count == 2
        ? .init(stage: String(parts[0]), name: String(parts[1]), value: value.line)
        : .init(stage: "run", name: path, value: value.line)
    }
  }

  /// The time in UTC, to the minute.
  static func now() -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "UTC")
    formatter.dateFormat = "yyyy-MM-dd HH:mm 'UTC'"
    return formatter.string(from: Date())
  }
}
