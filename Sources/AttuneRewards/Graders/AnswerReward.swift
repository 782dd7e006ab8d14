// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneTraining
import Foundation

/// 1 where an answer is the right one that its row holds, else 0 or a part of it: `answer:RULE`.
///
/// `answer:number,extract=boxed,column=target,partial=0.1`; the rules are `exact`, `number`, `choice`,
/// `maths`, `json` and `regex`. Of `answer:json:FILE` the file is a schema, and the row has no right answer.
public struct AnswerReward: RewardSource {
  /// `answer:number,extract=hashes`.
  public let name: String
  /// What tells it from others: the argument, and the digest of the schema.
  let fingerprint: String
  private let grader: AnswerGrader
  private let schema: JSONSchema?
  private let knobs: GraderKnobs

  /// Makes a source.
  ///
  /// - Parameter argument: What stands behind `answer:`.
  /// - Throws: `TrainingError` that says what is wrong with the argument or the schema.
  public init(_ argument: String) throws {
    let (rule, file, knobs) = try Self.parts(argument)
    name = "answer:\(argument)"
    grader = AnswerGrader(rule, place: knobs.place)
    self.knobs = knobs
    guard let file else {
      (schema, fingerprint) = (nil, argument)
      return
    }
    schema = try JSONSchema(file: URL(filePath: file))
    fingerprint = "\(argument) \(try Fingerprint.of(file: URL(filePath: file)))"
  }

  /// Rule, schema and knobs of an argument.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(
    _ argument: String
  ) throws -> (rule: AnswerRule, schema: String?, knobs: GraderKnobs) {
    let parts = RewardSpecification.list(argument)
    let head = parts[0].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let names = AnswerRule.allCases.map(\.rawValue)
    guard let rule = AnswerRule(rawValue: String(head[0])) else {
      throw TrainingError(
        .badSetting,
        "reward source answer:\(argument): there is no rule \(head[0])"
          + hint(for: String(head[0]), among: names))
    }
    let schema = head.count == 2 ? String(head[1]) : nil
    guard schema == nil || (rule == .json && schema != "") else {
      throw TrainingError(
        .badSetting,
        "reward source answer:\(argument): write answer:\(rule.rawValue) with knobs behind commas"
          + (rule == .json ? ", or answer:json:SCHEMA-FILE" : ""))
    }
    var known: [GraderKnobs.Knob] = [.extract, .partial]
    if schema == nil { known.insert(.column, at: 0) }
    if rule == .regex || schema != nil { known.removeAll { $0 == .partial } }
    let knobs = try GraderKnobs(parts.dropFirst(), known: known, source: "answer:\(argument)")
    guard rule.hasParts || knobs.partial < 1 else {
      throw TrainingError(
        .badSetting,
        "reward source answer:\(argument): partial=1 would make a wrong answer as good as a right "
          + "one; give less than 1")
    }
    return (rule, schema, knobs)
  }

  /// True: the right answer stands there.
  public var readsRows: Bool { true }
  /// True: 1 is right.
  public var isChecked: Bool { true }

  /// Refuses a row without a right answer that the rule can read.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    if schema == nil { _ = try grader.rightAnswers(row.json, column: knobs.column, at: place) }
  }

  /// 1 of a right answer, else `partial` times what share of it is right.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    var right: [RightAnswer] = []
    return try completions.indices.map { i in
      if let schema {
        let json = knobs.place.answer(in: completions[i].text).flatMap(AnswerGrader.json)
        return json.map(schema.describes) == true ? 1 : 0
      }
      // Answers to one prompt stand side by side.
      if i == 0 || prompts[i] != prompts[i - 1] {
        right = try prompts[i].reading(for: name, answer: i) {
          try grader.rightAnswers($0.json, column: knobs.column, at: $1)
        }
      }
      let grade = grader.grade(completions[i].text, right)
      return grade.isRight ? 1 : knobs.partial * grade.share
    }
  }

  /// The answer in a text, in a form in which equal answers are equal.
  public func given(in completion: Completion) -> String? { grader.given(in: completion.text) }
}

extension DataPrompt {
  /// Reads the prompt's row.
  ///
  /// - Parameters:
  ///   - source: Who reads.
  ///   - answer: Which answer it is about, from 0, for the error.
  ///   - read: Reads the row; is given its place.
  /// - Throws: `AnswerFault` that names source, line and column.
  func reading<Value>(
    for source: String, answer: Int, _ read: (DataRow, DataPlace) throws -> Value
  ) throws -> Value {
    guard let row else {
      throw AnswerFault(
        source: source, answer: answer,
        message:
          "its prompt stands in no row of a data file, which is where the source reads what is "
          + "right")
    }
    let place = DataPlace(file: "", line: row.line)
    do {
      return try read(row, place)
    } catch let error as DataError {
      throw AnswerFault(source: source, answer: answer, message: place.reason(of: error))
    }
  }
}
