// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
public import AttuneTraining
public import Foundation

/// What `attune logprobs` came to.
public struct LogProbabilityReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file that was written.
  public var output: String
  /// Rows.
  public var rows: Int
  /// Tokens of all completions.
  public var tokens: Int
  /// Sum of all log-probabilities, in nats.
  public var sum: Double
  /// exp of the mean negative log-probability of a token.
  public var perplexity: Double?
  /// Seconds.
  public var seconds: Double
}

/// The log-probability of every token of answers that are given.
public enum LogProbabilities {
  private struct Line: Codable {
    var promptIds: [Int32]
    var completionIds: [Int32]
    var logprobs: [Double]
    var sum: Double
    var entropies: [Double]
  }

  /// Writes for each prompt–completion row its ids, log-probabilities, their sum and the entropies
  /// of the distributions that they come from, in nats.
  ///
  /// Strings are tokenised apart, as they are, and joined, nothing added but what the tokenizer puts
  /// before a text; conversations go through the chat template.
  ///
  /// - Parameters:
  ///   - loaded: The model.
  ///   - data: Prompt–completion rows.
  ///   - output: The file to write.
  /// - Returns: What it came to.
  /// - Throws: An error that names the line or file at fault.
  public static func run(
    _ loaded: LoadedModel, data: DataFile, output: URL
  ) throws -> LogProbabilityReport {
    let began = ContinuousClock.now
    let encoder = try TextEncoder(loaded)
    let groups = try data.rows.map { row in
      guard case .completion(let prompt, let completion) = row.example else {
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): is \(row.example.kind.rawValue) data; logprobs "
            + "reads prompt–completion rows")
      }
      do {
        let group = try encoder.group(
          prompt: prompt, answers: [(completion, prompt.isConversational)], line: row.line)
        guard group.promptCut == 0, group.answers.allSatisfy({ !$0.isCut }) else {
          throw TrainingError(
            .badData,
            "line \(row.line): is longer than the \(encoder.maximumLength) tokens that "
              + "\(loaded.name) reads")
        }
        return group
      } catch let error as PassedOver {
        throw TrainingError(.badData, "\(data.url.path), \(error)")
      } catch let error as TrainingError {
        throw TrainingError(error.code, "\(data.url.path), \(error.message)")
      }
    }
    // An answer without tokens has nothing to score.
    let full = groups.indices.filter { !groups[$0].answers[0].ids.isEmpty }
    let wanted = full.map { index in
      var group = groups[index]
      group.answers[0].scored = [0..<group.answers[0].ids.count]
      return group
    }
    let scores = try SequenceScores.tokens(
      loaded.model, wanted, temperature: 1, pieceTokens: 2048)
    var text = ""
    var report = LogProbabilityReport(
      output: output.path, rows: groups.count, tokens: 0, sum: 0, seconds: 0)
    var next = 0
    for (index, group) in groups.enumerated() {
      var row = Line(
        promptIds: group.prompt, completionIds: group.answers[0].ids, logprobs: [], sum: 0,
        entropies: [])
      if next < full.count, full[next] == index {
        row.logprobs = scores[next][0].logProbabilities
        row.entropies = scores[next][0].entropies
        row.sum = row.logprobs.reduce(0, +)
        next += 1
      }
      report.tokens += row.logprobs.count
      report.sum += row.sum
      text += try JSONText.line(row) + "\n"
    }
    try AtomicFile.write(text, to: output)
    report.perplexity = report.tokens > 0 ? exp(-report.sum / Double(report.tokens)) : nil
    report.seconds = seconds(ContinuousClock.now - began)
    return report
  }
}
