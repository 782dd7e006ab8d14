// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneObjectives
public import Foundation

/// What scoring a file came to: the object of `score --json`.
public struct ScoringReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file that was written.
  public var output: String
  /// Rows.
  public var rows: Int
  /// Mean score of all answers.
  public var mean: Double
  /// Standard deviation of the scores of all answers.
  public var sd: Double
  /// Share of preference rows whose chosen answer scores higher; equal scores count one half.
  public var accuracy: Double?
  /// Seconds.
  public var seconds: Double
}

/// Scores rows with a reward model: the row that came in plus `score`.
public enum Scoring {
  /// Scores a file.
  ///
  /// Rows with one answer get a number, rows with several a list: of chosen and rejected, or of
  /// all completions in their order.
  ///
  /// - Parameters:
  ///   - loaded: A reward model.
  ///   - data: Rows with answers.
  ///   - output: The file to write.
  /// - Returns: What it came to.
  /// - Throws: An error that names the line or file at fault.
  public static func run(
    _ loaded: LoadedModel, data: DataFile, output: URL
  ) throws -> ScoringReport {
    let began = ContinuousClock.now
    guard loaded.model.hasScalarHead else {
      throw TrainingError(
        .badModel, "\(loaded.name): is no reward model (it has no scalar head score.weight)")
    }
    let encoder = try TextEncoder(loaded)
    var groups: [EncodedGroup] = []
    for row in data.rows {
      let group: EncodedGroup
      do {
        group = try encoder.group(row)
      } catch let error as TrainingError {
        throw TrainingError(error.code, "\(data.url.path): \(error.message)")
      }
      guard !group.answers.isEmpty else {
        throw TrainingError(
          .badData, "\(data.url.path), line \(row.line): there is no answer to score")
      }
      groups.append(group)
    }
    let scores = try SequenceScores.rewards(loaded.model, groups, pieceTokens: 2048)
    var text = ""
    var wins = 0.0
    for (row, scores) in zip(data.rows, scores) {
      let isOne = row.example.kind != .ranking && row.example.kind != .samples
      let scored =
        isOne && scores.count == 1
        ? ScoreRow(row: row.json, score: scores[0]) : ScoreRow(row: row.json, scores: scores)
      text += scored.json.text + "\n"
      if row.example.kind == .preference {
        wins += scores[0] > scores[1] ? 1 : scores[0] == scores[1] ? 0.5 : 0
      }
    }
    try AtomicFile.write(text, to: output)
    let all = scores.flatMap(\.self)
    return ScoringReport(
      output: output.path, rows: data.rows.count, mean: Statistics.mean(all),
      sd: Statistics.standardDeviation(all),
      accuracy: data.kind == .preference ? wins / Double(data.rows.count) : nil,
      seconds: seconds(ContinuousClock.now - began))
  }
}
