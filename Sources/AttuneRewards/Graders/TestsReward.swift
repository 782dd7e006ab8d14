// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
public import AttuneData
public import AttuneTraining

/// 1 where a program in an answer passes all tests of its row, else 0 or a part of it: `tests:python3`.
///
/// The program is the answer's last fenced block, or all of it. The row's `tests` are Python code, or a
/// list of such, or of `{"input","output"}`; beside `entry_point` (HumanEval) `check` is called with
/// what that names, and `test_setup_code` (MBPP) runs first.
public struct TestsReward: RewardSource {
  /// `tests:python3`.
  public let name: String
  private let knobs: GraderKnobs
  private let sandbox: PythonSandbox

  /// Makes a source, and tries whether programs can be run.
  ///
  /// - Parameter argument: What stands behind `tests:`.
  /// - Throws: `TrainingError` that says what is wrong with the argument, or missing here.
  public init(_ argument: String) throws {
    knobs = try Self.parts(argument)
    name = "tests:\(argument)"
    sandbox = try PythonSandbox(seconds: knobs.seconds)
  }

  /// The knobs of an argument.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> GraderKnobs {
    let parts = RewardSpecification.list(argument)
    guard parts[0] == "python3" else {
      throw TrainingError(
        .badSetting,
        "reward source tests:\(argument): python3 is the one language; write tests:python3")
    }
    var knobs = try GraderKnobs(
      parts.dropFirst(), known: [.column, .seconds, .partial], source: "tests:\(argument)")
    if !parts.contains(where: { $0.hasPrefix("column=") }) { knobs.column = "tests" }
    return knobs
  }

  /// True: the tests stand there.
  public var readsRows: Bool { true }
  /// True: 1 passes all of them.
  public var isChecked: Bool { true }

  /// Refuses a row without tests.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    _ = try task(row.json, at: place)
  }

  /// What a row's tests are, without a program.
  private func task(_ row: JSONValue, at place: DataPlace) throws -> PythonSandbox.Task {
    func refuse(_ what: String) -> DataError {
      place.error("column \"\(knobs.column)\" \(what)")
    }
    guard let value = row.present(knobs.column) else {
      throw refuse("is missing, which tests:python3 reads")
    }
    var tests = value.asArray ?? [value]
    guard !tests.isEmpty else { throw refuse("holds no test") }
    for test in tests {
      let isExchange = test["input"]?.asString != nil && test["output"]?.asString != nil
      guard test.asString != nil || isExchange else {
        throw refuse(
          "must hold Python code, or {\"input\",\"output\"} of strings, or a list of such, not "
            + test.kindName)
      }
    }
    if let entry = try row.optionalString("entry_point", at: place) {
      tests = tests.map { test in test.asString.map { .string("\($0)\ncheck(\(entry))") } ?? test }
    }
    return PythonSandbox.Task(
      setup: try row.optionalString("test_setup_code", at: place) ?? "", program: "", tests: tests)
  }

  /// 1 where all tests pass, else `partial` times the share that does.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    let tasks = try completions.indices.map { i in
      var task = try prompts[i].reading(for: name, answer: i) {
        try self.task($0.json, at: $1)
      }
      task.program = Self.program(in: completions[i].text)
      return task
    }
    // Each rank of a run tests its share of the answers.
    let ranks = Collective.current
    let results = try ranks.gather { try sandbox.run(Array(tasks[ranks.share(of: tasks.count)])) }
    return results.map { passed in
      let count = passed.count { $0 }
      return count == passed.count
        ? 1 : knobs.partial * Double(count) / Double(passed.count)
    }
  }

  /// The last fenced block of an answer, else all of it.
  private static func program(in text: String) -> String {
    text.matches(of: /```(?:python3?|py)?[ \t]*\n([\s\S]*?)(?:```|$)/).last.map {
      String($0.output.1)
    } ?? text
  }
}
