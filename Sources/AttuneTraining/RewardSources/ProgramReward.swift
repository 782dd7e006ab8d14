// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import Foundation

/// A program's rewards: `exec:COMMAND` or `exec:SECONDSs:COMMAND`, run by `/bin/sh`.
///
/// The program reads one JSON object a line on standard input, `{"prompt", "completion",
/// "finish_reason"}` (with `"messages"` where a data file holds the answer as turns), and writes a
/// line for each on standard output, in the same order: `{"score": x}` or the bare number. It is
/// started once and kept over batches; where it dies it is started again, up to three times a batch,
/// and given what it has not answered. Its standard error is shown. SECONDS (60 unless given) is how
/// long it may stay silent while answers are due. Its input ends when its rewards are no longer
/// wanted.
public final class ProgramReward: RewardSource {
  /// `exec:./score.py`.
  public let name: String
  /// What tells it from others: the command, and digests of the files that it names.
  let fingerprint: String
  private let command: String
  private let seconds: Double
  private var program: ProgramProcess?
  private static let restartsOfBatch = 3

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - argument: `COMMAND` or `SECONDSs:COMMAND`.
  ///   - name: What it is called in reports; `exec:` and the argument unless given.
  /// - Throws: `TrainingError` if it can't be started, or ends at once.
  public init(_ argument: String, name: String? = nil) throws {
    let name = name ?? "exec:\(argument)"
    (seconds, command) = try Self.parts(argument)
    self.name = name
    let files = command.split(whereSeparator: { $0.isWhitespace || "'\"".contains($0) })
    var mark = [command]
    for file in Set(files).sorted() {
      let path = String(file)
      // A device has no digest, and no end.
      let kind =
        try? FileManager.default.attributesOfItem(
          atPath: URL(filePath: path).resolvingSymlinksInPath().path)[.type] as? FileAttributeType
      guard kind == .typeRegular else { continue }
      mark.append(try Fingerprint.of(file: URL(filePath: path)))
    }
    fingerprint = mark.joined(separator: " ")
    // A misspelt name is found out before any answer is sampled.
    let program = try ProgramProcess(command, show: Self.showing(name))
    self.program = program
    let deadline = ContinuousClock.now + .milliseconds(200)
    while ContinuousClock.now < deadline {
      if let line = try program.exchange(for: deadline - .now).first { throw tooMuch(line) }
      if program.isOver {
        throw TrainingError(
          .unavailable, "\(name): \(program.stop()) before it was asked anything")
      }
    }
  }

  /// Seconds of silence and command of an argument.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> (seconds: Double, command: String) {
    guard let match = argument.prefixMatch(of: /([0-9]+(?:\.[0-9]+)?)s:/) else {
      return (60, argument)
    }
    let command = String(argument[match.range.upperBound...])
    guard let seconds = Double(match.output.1), seconds > 0, seconds < 1e6,
      !command.allSatisfy(\.isWhitespace)
    else {
      throw TrainingError(
        .badSetting,
        "reward source exec:\(argument): write exec:COMMAND or exec:SECONDSs:COMMAND with seconds "
          + "above 0")
    }
    return (seconds, command)
  }

  /// What the program answers for every answer.
  public func scores(
    prompts: [Content], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    do {
      return try ask(zip(prompts, completions).map { Self.row($0, $1) }, completions)
    } catch {
      // What it still owes is not mistaken for the next batch's.
      _ = program?.stop(patiently: false)
      program = nil
      throw error
    }
  }

  private func ask(_ rows: [String], _ completions: [Completion]) throws -> [Double] {
    var scores: [Double] = []
    var restarts = 0
    var program = try self.program ?? ProgramProcess(command, show: Self.showing(name))
    self.program = program
    try refuseMore(program)
    if program.isOver {
      // It died between two batches.
      standardError("warning: \(name): \(program.stop()); starting it again")
      program = try ProgramProcess(command, show: Self.showing(name))
      self.program = program
    }
    program.send(rows[...])
    var deadline = ContinuousClock.now + .seconds(seconds)
    while scores.count < rows.count {
      let left = deadline - .now
      for line in try program.exchange(for: max(.zero, min(left, .milliseconds(500)))) {
        guard scores.count < rows.count else { throw tooMuch(line) }
        scores.append(
          try score(line, answer: scores.count, of: completions[scores.count]))
        deadline = .now + .seconds(seconds)
      }
      if scores.count == rows.count { break }
      if program.isOver {
        let end = program.stop()
        restarts += 1
        guard restarts <= Self.restartsOfBatch else {
          throw AnswerFault(
            source: name, answer: scores.count,
            message: "the program \(end), for the \(restarts)th time in one batch; it must answer "
              + "every line until its input ends")
        }
        standardError("warning: \(name): \(end); starting it again")
        program = try ProgramProcess(command, show: Self.showing(name))
        self.program = program
        program.send(rows[scores.count...])
        deadline = .now + .seconds(seconds)
      } else if deadline < .now {
        throw AnswerFault(
          source: name, answer: scores.count,
          message: "the program was silent for \(seconds.formatted()) s over "
            + "“\(completions[scores.count].excerpt)” (does it answer line by line, and flush? "
            + "more time: exec:SECONDSs:COMMAND)")
      }
    }
    try refuseMore(program)
    return scores
  }

  /// Refuses lines that nothing was asked for: every later score would be another answer's.
  private func refuseMore(_ program: ProgramProcess) throws {
    if let line = try program.exchange(for: .zero).first { throw tooMuch(line) }
  }

  private func tooMuch(_ line: [UInt8]) -> TrainingError {
    TrainingError(
      .badData,
      "\(name): said “\(Self.shown(line))” without being asked; it must write one line for each "
        + "that it reads")
  }

  private static func row(_ prompt: Content, _ completion: Completion) -> String {
    var fields: [AttuneData.JSONValue.Field] = [
      .init("prompt", prompt.json), .init("completion", .string(completion.text)),
      .init("finish_reason", .string(completion.endedByItself ? "stop" : "length")),
    ]
    if let messages = completion.messages {
      fields.append(.init("messages", .array(messages.map(\.json))))
    }
    return AttuneData.JSONValue.object(fields).text
  }

  private func score(
    _ line: [UInt8], answer: Int, of completion: Completion
  ) throws -> Double {
    let value = line.withUnsafeBufferPointer { try? JSONParser.parse($0) }
    if case .number(let digits)? = value?["score"] ?? value, let score = Double(digits),
      score.isFinite
    {
      return score
    }
    throw AnswerFault(
      source: name, answer: answer,
      message: "said “\(Self.shown(line))” of “\(completion.excerpt)”, which is neither a finite "
        + "number nor {\"score\": number}")
  }

  private static func shown(_ line: [UInt8]) -> String {
    let text = String(decoding: line.prefix(200), as: UTF8.self)
    return text.count <= 80 ? text : text.prefix(79) + "…"
  }

  /// What puts a line of the program's standard error on ours.
  private static func showing(_ name: String) -> (String) -> Void {
    { standardError("\(name): \($0)") }
  }
}
