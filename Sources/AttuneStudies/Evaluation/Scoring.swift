// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
import AttuneObjectives
public import AttuneTraining
public import Foundation

/// What scoring a file came to: the object of `score --json`.
public struct ScoringReport: Codable, Sendable, Equatable {
  /// One source's part in the scores.
  public struct Source: Codable, Sendable, Equatable {
    /// Its name.
    public var name: String
    /// What its score is multiplied by.
    public var weight: Double
    /// Mean of its scores of all answers, before the weight.
    public var mean: Double
    /// Standard deviation of those scores.
    public var sd: Double
    /// What its judge took; nil without one.
    public var judge: RewardCost?
  }

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
  /// Every source.
  public var sources: [Source]
  /// Share of preference rows whose chosen answer scores higher; equal scores count one half.
  public var accuracy: Double?
  /// Share of the steps of stepwise rows that the first source which says something of steps tells right, those
  /// that it holds likelier right than wrong being the right ones.
  public var stepAccuracy: Double?
  /// Seconds.
  public var seconds: Double
}

/// Scores rows with reward sources: the row that came in plus `score`.
public enum Scoring {
  /// Answers that are scored at once, so that Ctrl-C and progress come between.
  private static let answersAtOnce = 256

  /// Scores a file.
  ///
  /// Rows with one answer get a number, rows with several a list: of chosen and rejected, or of
  /// all completions in their order. `score` is the weighted sum of several sources, and `rewards`
  /// what each said by itself. An answer in steps is one answer; its row gets `steps` too, how likely each
  /// step is right, from a source that says so.
  ///
  /// - Parameters:
  ///   - sources: The sources, each with its weight.
  ///   - data: Rows with answers.
  ///   - output: The file to write.
  ///   - style: Where progress goes.
  /// - Returns: What it came to.
  /// - Throws: An error that names the line or file at fault.
  public static func run(
    _ sources: [(source: any RewardSource, weight: Double)], data: DataFile, output: URL,
    style: ProgressLine.Style = .automatic
  ) throws -> ScoringReport {
    let began = ContinuousClock.now
    try data.check(for: sources.map(\.source))
    let separator = try separator(of: sources.map(\.source))
    let rows = try data.rows.map { row in
      do {
        return try answers(of: row, separator: separator)
      } catch let error as TrainingError {
        throw TrainingError(
          error.code, "\(data.place(of: row)): \(error.message)")
      }
    }
    var progress = ProgressLine("score", total: rows.count, unit: "rows", style: style)
    let sizes = rows.map(\.completions.count)
    let all: [[Double]]
    do {
      all = try scores(of: rows, data.rows, by: sources.map(\.source)) {
        try Interrupt.check()
        progress.update($0)
      }
    } catch let fault as AnswerFault {
      throw TrainingError(
        .badData,
        "\(data.url.path), line \(fault.line ?? 0): \(fault.source): \(fault.message)")
    }
    let scores = RewardSources.sum(all, weights: sources.map(\.weight))
    let steps =
      try data.kind == .stepwise ? steps(of: rows, data.rows, by: sources.map(\.source)) : nil
    var text = ""
    var wins = 0.0
    var next = 0
    var told: [Double] = []
    for (row, size) in zip(data.rows, sizes) {
      let own = next..<next + size
      next += size
      let isOne = size == 1 && row.example.kind != .ranking && row.example.kind != .samples
      var scored =
        isOne
        ? ScoreRow(row: row.json, score: scores[own.lowerBound]).json
        : ScoreRow(row: row.json, scores: Array(scores[own])).json
      if sources.count > 1 {
        let rewards = zip(sources, all).map { source, scores in
          JSONValue.Field(
            source.source.name,
            isOne
              ? .double(scores[own.lowerBound]) : .array(scores[own].map { .double($0) }))
        }
        scored = scored.setting("rewards", .object(rewards))
      }
      if case .stepwise(let said) = row.example, let steps = steps?[own.lowerBound] {
        scored = scored.setting("steps", .array(steps.map { .double($0) }))
        told += zip(steps, said.labels).map { ($0 > 0.5) == $1 ? 1 : 0 }
      }
      text += scored.text + "\n"
      if row.example.kind == .preference {
        let (chosen, rejected) = (scores[own.lowerBound], scores[own.lowerBound + 1])
        wins += chosen > rejected ? 1 : chosen == rejected ? 0.5 : 0
      }
    }
    try AtomicFile.write(text, to: output)
    return ScoringReport(
      output: output.path, rows: data.rows.count, mean: Statistics.mean(scores),
      sd: Statistics.standardDeviation(scores),
      sources: zip(sources, all).map { source, scores in
        ScoringReport.Source(
          name: source.source.name, weight: source.weight, mean: Statistics.mean(scores),
          sd: Statistics.standardDeviation(scores), judge: source.source.takeCost())
      },
      accuracy: data.kind == .preference ? wins / Double(data.rows.count) : nil,
      stepAccuracy: told.isEmpty ? nil : Statistics.mean(told),
      seconds: seconds(ContinuousClock.now - began))
  }

  /// What ends a step of an answer: what the sources that read steps learned from, else a line end.
  ///
  /// - Throws: `TrainingError` where two of them learned from steps that ended otherwise.
  private static func separator(of sources: [any RewardSource]) throws -> String {
    let separators = Set(sources.compactMap(\.stepSeparator)).sorted()
    guard separators.count < 2 else {
      let said = separators.map { JSONValue.string($0).text }.joined(separator: " and ")
      throw TrainingError(
        .badSetting,
        "the rewards read steps that end in \(said); score with one of them at a time")
    }
    return separators.first ?? RewardModelSettings().stepSeparator
  }

  /// How likely each step of every row's answer is right, from the first source that says so.
  private static func steps(
    of answers: [(prompt: Content, completions: [Completion])], _ rows: [DataRow],
    by sources: [any RewardSource]
  ) throws -> [[Double]]? {
    guard let source = sources.first(where: { $0.stepSeparator != nil }) else { return nil }
    var steps: [[Double]] = []
    for piece in cutIntoPieces(answers.map(\.completions.count), budget: answersAtOnce) {
      try Interrupt.check()
      let prompts = zip(answers[piece], rows[piece]).map { DataPrompt($0.prompt, row: $1) }
      let completions = answers[piece].flatMap(\.completions)
      steps += try source.steps(prompts: prompts, completions: completions) ?? []
    }
    return steps
  }

  /// For each source the score of every answer of rows, one row's after another's.
  ///
  /// - Parameters:
  ///   - answers: The rows' prompts and answers.
  ///   - rows: The rows themselves.
  ///   - sources: Where scores come from.
  ///   - onPiece: Called after each piece with the number of rows that are done.
  /// - Throws: `AnswerFault` that names the answer at fault, what a source or `onPiece` throws.
  package static func scores(
    of answers: [(prompt: Content, completions: [Completion])], _ rows: [DataRow],
    by sources: [any RewardSource], onPiece: (Int) throws -> Void = { _ in }
  ) throws -> [[Double]] {
    var all = sources.map { _ in [Double]() }
    for piece in cutIntoPieces(answers.map(\.completions.count), budget: answersAtOnce) {
      let prompts = zip(answers[piece], rows[piece]).flatMap { answers, row in
        answers.completions.map { _ in DataPrompt(answers.prompt, row: row) }
      }
      let completions = answers[piece].flatMap(\.completions)
      for (i, source) in sources.enumerated() {
        all[i] += try source.checkedScores(
          prompts: prompts, completions: completions, shared: nil)
      }
      try onPiece(piece.upperBound)
    }
    return all
  }

  /// A row's prompt and answers. A text by itself is an answer to nothing; a conversation one to what
  /// stands before the assistant first speaks.
  ///
  /// - Parameters:
  ///   - row: The row.
  ///   - separator: What stands between the steps of an answer that is in steps.
  /// - Throws: `TrainingError` for a row without an answer.
  package static func answers(
    of row: DataRow, separator: String = RewardModelSettings().stepSeparator
  ) throws -> (prompt: Content, completions: [Completion]) {
    func ended(_ key: String) -> Bool { row.json[key] != .string("length") }
    switch row.example {
    case .text(.text(let text)): return (.text(""), [try completion(.text(text), ended: true)])
    case .text(.messages(let messages)):
      let answers = messages.indices.dropFirst(messages.answersFrom)
      guard let first = answers.first(where: { messages[$0].role == "assistant" }) else {
        throw TrainingError(.badData, "there is no answer to score")
      }
      return (
        .messages(Array(messages[..<first])),
        [try completion(.messages(Array(messages[first...])), ended: true)]
      )
    case .prompt: throw TrainingError(.badData, "there is no answer to score")
    case .completion(let prompt, let answer), .unpaired(let prompt, let answer, _):
      return (prompt, [try completion(answer, ended: true)])
    case .preference(let pair):
      return (
        pair.prompt,
        [
          try completion(pair.chosen, ended: ended("chosen_finish_reason")),
          try completion(pair.rejected, ended: ended("rejected_finish_reason")),
        ]
      )
    case .ranking(let ranking):
      var reasons: [JSONValue] = []
      if case .array(let list)? = row.json["finish_reasons"] { reasons = list }
      return (
        ranking.prompt,
        try ranking.completions.enumerated().map { i, answer in
          try completion(answer, ended: i >= reasons.count || reasons[i] != .string("length"))
        }
      )
    case .stepwise(let row):
      return (
        row.prompt, [try completion(.text(row.steps.joined(separator: separator)), ended: true)]
      )
    case .samples(let sample):
      guard !sample.completions.isEmpty else {
        throw TrainingError(.badData, "there is no answer to score")
      }
      return (
        sample.prompt,
        sample.completions.map {
          Completion(ids: $0.ids ?? [], text: $0.text, endedByItself: $0.finishReason == .stop)
        }
      )
    }
  }

  private static func completion(_ content: Content, ended: Bool) throws -> Completion {
    switch content {
    case .text(let text): return Completion(ids: [], text: text, endedByItself: ended)
    case .messages(let messages):
      guard let last = messages.last(where: { $0.role == "assistant" }) else {
        throw TrainingError(.badData, "the answer has no turn of the assistant")
      }
      let isText = messages.count == 1 && last.fields.isEmpty
      return Completion(
        ids: [], text: last.content, endedByItself: ended, messages: isText ? nil : messages)
    }
  }
}
