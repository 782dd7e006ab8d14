// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
public import AttuneTraining
import Foundation

/// A program's rewards: `exec:COMMAND` or `exec:SECONDSs:COMMAND`, run by `/bin/sh`.
///
/// The program reads one JSON object a line on standard input, `{"id", "prompt", "completion",
/// "finish_reason"}` (with `"messages"` where a data file holds the answer as turns, and with `"row"`,
/// the whole row of the prompt, where it stands in a data file), and writes a line for each on standard
/// output, in the same order: `{"id": n, "score": x}`, `{"score": x}` or the bare number.
///
/// A line too many must never become another answer's score, whenever it comes. Which answer a line
/// with an `id` belongs to is sure; after each batch its last line is asked for once more, so that
/// what was said too often of it comes before that. Lines without an `id` can only be counted, and
/// the count is sure when the output has ended: so the program's input ends with each batch, and it is
/// started again for the next one.
///
/// Its standard error is shown. SECONDS (60 unless given) is how long it may stay silent while
/// something is due.
public final class ProgramReward: RewardSource {
  /// `exec:./score.py`.
  public let name: String
  /// What tells it from others: the command, and digests of the files that it names.
  let fingerprint: String
  private let command: String
  private let seconds: Double
  private var program: ProgramProcess?
  /// Whether it writes `id`; nil until it has answered.
  private var echoesID: Bool?
  private var nextID = 0
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
    try Collective.current.first { try start() }
  }

  /// Starts the program: a misspelt name is found out before any answer is sampled.
  private func start() throws {
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

  /// True: the program is given the whole row.
  public var readsRows: Bool { true }

  /// What the program answers for every answer; of many ranks the first one asks.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    try Collective.current.first {
      do {
        return try ask(zip(prompts, completions).map { Self.fields($0, $1) }, completions)
      } catch {
        // What it still owes is not mistaken for the next batch's.
        _ = program?.stop(patiently: false)
        program = nil
        throw error
      }
    }
  }

  /// A line of the program's input, without its `id`.
  private typealias Fields = [JSONValue.Field]

  private func ask(_ rows: [Fields], _ completions: [Completion]) throws -> [Double] {
    guard !rows.isEmpty else { return [] }
    var scores: [Double] = []
    var deaths = 0
    while true {
      let program = try running()
      // What was counted, and not named, of a program that died is worth nothing.
      if echoesID != true { scores = [] }
      if try take(rows, completions, from: program, &scores) { break }
      let end = program.stop()
      deaths += 1
      guard deaths <= Self.restartsOfBatch else {
        throw AnswerFault(
          source: name, answer: min(scores.count, rows.count - 1),
          message: "the program \(end), for the \(deaths)th time in one batch; it must answer "
            + "every line until its input ends")
      }
      standardError("warning: \(name): \(end); starting it again")
      self.program = nil
    }
    return scores
  }

  /// The program, started again if it died between two batches.
  private func running() throws -> ProgramProcess {
    if let program {
      if let line = try program.exchange(for: .zero).first { throw tooMuch(line) }
      if !program.isOver { return program }
      standardError("warning: \(name): \(program.stop()); starting it again")
    }
    let program = try ProgramProcess(command, show: Self.showing(name))
    self.program = program
    return program
  }

  /// Takes the scores that are still due from a program.
  ///
  /// - Returns: False if it died before it had given them.
  private func take(
    _ rows: [Fields], _ completions: [Completion], from program: ProgramProcess,
    _ scores: inout [Double]
  ) throws -> Bool {
    let first = nextID - scores.count
    program.send(rows[scores.count...].enumerated().map { line($1, id: nextID + $0) }[...])
    nextID += rows.count - scores.count
    while scores.count < rows.count {
      let answer = scores.count
      let silent = AnswerFault(
        source: name, answer: answer,
        message: "the program was silent for \(seconds.formatted()) s over "
          + "“\(completions[answer].excerpt)” (does it answer line by line, and flush? "
          + "more time: exec:SECONDSs:COMMAND)")
      guard let lines = try lines(from: program, orElse: silent) else { return false }
      for line in lines {
        guard scores.count < rows.count else { throw tooMuch(line) }
        let due = scores.count
        scores.append(try score(line, answer: due, id: first + due, of: completions[due]))
      }
    }
    if echoesID == true {
      return try probe(program, rows[rows.count - 1], completions)
    }
    program.endInput()
    let endless = AnswerFault(
      source: name, answer: rows.count - 1,
      message:
        "the program goes on \(seconds.formatted()) s after its input has ended, so that nobody "
        + "can tell whether a further line comes: let it end with its input, or write {\"id\": …, "
        + "\"score\": …} with each line's own id")
    while let lines = try lines(from: program, orElse: endless) {
      if let line = lines.first { throw tooMuch(line) }
    }
    guard !program.hasUnendedLine else { throw tooMuch(Array("… (without a line end)".utf8)) }
    _ = program.stop()
    // Its start is over by the time the next batch is there.
    self.program = try ProgramProcess(command, show: Self.showing(name))
    return true
  }

  /// Asks for the last line's score once more, since what was said too often of it comes before that.
  ///
  /// - Returns: False if the program died before it had given it.
  private func probe(
    _ program: ProgramProcess, _ row: Fields, _ completions: [Completion]
  ) throws -> Bool {
    let id = nextID
    nextID += 1
    program.send([line(row, id: id)])
    let last = completions.count - 1
    let silent = AnswerFault(
      source: name, answer: last,
      message:
        "the program was silent for \(seconds.formatted()) s over the batch's last line, which "
        + "is asked for twice (more time: exec:SECONDSs:COMMAND)")
    guard let lines = try lines(from: program, orElse: silent) else { return false }
    _ = try score(lines[0], answer: last, id: id, of: completions[last])
    if lines.count > 1 { throw tooMuch(lines[1]) }
    return true
  }

  /// What the program says next.
  ///
  /// - Parameter fault: What is wrong if it says nothing in time.
  /// - Returns: At least one line; nil if its output has ended.
  private func lines(
    from program: ProgramProcess, orElse fault: AnswerFault
  ) throws -> [[UInt8]]? {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      let left = deadline - .now
      let lines = try program.exchange(for: max(.zero, min(left, .milliseconds(500))))
      if !lines.isEmpty { return lines }
      if program.isOver { return nil }
      if left < .zero { throw fault }
    }
  }

  private func tooMuch(_ line: [UInt8]) -> TrainingError {
    TrainingError(
      .badData,
      "\(name): said “\(Self.shown(line))” without being asked; it must write one line for each "
        + "that it reads (and what else it has to say on standard error)")
  }

  private static func fields(_ prompt: DataPrompt, _ completion: Completion) -> Fields {
    var fields: Fields = [
      .init("prompt", prompt.content.json), .init("completion", .string(completion.text)),
      .init("finish_reason", .string(completion.endedByItself ? "stop" : "length")),
    ]
    if let messages = completion.messages {
      fields.append(.init("messages", .array(messages.map(\.json))))
    }
    if let row = prompt.row { fields.append(.init("row", row.json)) }
    return fields
  }

  private func line(_ fields: Fields, id: Int) -> String {
    JSONValue.object([.init("id", .int(id))] + fields).text
  }

  /// The score that a line says.
  ///
  /// - Parameters:
  ///   - line: The line.
  ///   - answer: Which answer is due.
  ///   - id: The id of the line that the program was given for it.
  ///   - completion: The answer.
  private func score(
    _ line: [UInt8], answer: Int, id: Int, of completion: Completion
  ) throws -> Double {
    let value = line.withUnsafeBufferPointer { try? JSONParser.parse($0) }
    guard case .number(let digits)? = value?["score"] ?? value, let score = Double(digits),
      score.isFinite
    else {
      throw AnswerFault(
        source: name, answer: answer,
        message: "said “\(Self.shown(line))” of “\(completion.excerpt)”, which is neither a finite "
          + "number nor {\"score\": number}")
    }
    let said = value?["id"]
    let echoes = echoesID ?? (said != nil)
    guard echoes == (said != nil), said == nil || said == .int(id) else {
      let due = echoes ? "the answer with id \(id)" : "an answer without an id"
      throw TrainingError(
        .badData,
        "\(name): said “\(Self.shown(line))” where \(due) is due; it must write one line for each "
          + "that it reads, in their order, and with the id of each or of none")
    }
    echoesID = echoes
    return score
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
