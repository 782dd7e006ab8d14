// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneTraining

/// 1 where an answer follows every instruction of its row, else 0 or a part of it: `ifeval`.
///
/// The row holds `instruction_id_list` and `kwargs`, as IFEval's rows do. `ifeval:loose` also takes an
/// answer that follows one without its first or last line or its asterisks; `partial=1` gives the share
/// of instructions that are followed.
public struct InstructionReward: RewardSource {
  /// `ifeval:loose`.
  public let name: String
  private let isLoose: Bool
  private let knobs: GraderKnobs

  /// Makes a source.
  ///
  /// - Parameter argument: What stands behind `ifeval:`; empty where nothing does.
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  public init(_ argument: String) throws {
    (isLoose, knobs) = try Self.parts(argument)
    name = argument.isEmpty ? "ifeval" : "ifeval:\(argument)"
  }

  /// Whether it is loose, and knobs.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> (isLoose: Bool, knobs: GraderKnobs) {
    var parts = argument.isEmpty ? [] : RewardSpecification.list(argument)[...]
    let isLoose = parts.first == "loose"
    if isLoose || parts.first?.isEmpty == true { parts.removeFirst() }
    return (
      isLoose,
      try GraderKnobs(
        parts, known: [.partial], source: "ifeval:\(argument) (ifeval:[loose][,partial=x])")
    )
  }

  /// True: the instructions stand there.
  public var readsRows: Bool { true }
  /// True: 1 follows all of them.
  public var isChecked: Bool { true }

  /// Refuses a row whose instructions can't be read.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    _ = try Self.instructions(row.json, at: place)
  }

  private static func instructions(_ row: JSONValue, at place: DataPlace) throws -> [Instruction] {
    guard let ids = row.present("instruction_id_list")?.asArray, !ids.isEmpty else {
      throw place.error(
        "column \"instruction_id_list\" is missing or no list, which ifeval reads beside \"kwargs\""
      )
    }
    guard let arguments = row.present("kwargs")?.asArray, arguments.count == ids.count else {
      throw place.error(
        "column \"kwargs\" must be a list with an object for each of the \(ids.count) of "
          + "\"instruction_id_list\"")
    }
    let names = InstructionKind.allCases.map(\.rawValue)
    return try zip(ids, arguments).map { id, arguments in
      let name = id.asString ?? id.text
      guard let kind = InstructionKind(rawValue: name) else {
        throw place.error(
          "column \"instruction_id_list\": there is no instruction \(name)\(hint(for: name, among: names))"
        )
      }
      return try Instruction(kind, arguments, at: place)
    }
  }

  /// 1 where all are followed, else `partial` times the share that is.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    var instructions: [Instruction] = []
    return try completions.indices.map { i in
      if i == 0 || prompts[i] != prompts[i - 1] {
        instructions = try prompts[i].reading(for: name, answer: i) {
          try Self.instructions($0.json, at: $1)
        }
      }
      let texts = isLoose ? Self.loose(completions[i].text) : [completions[i].text]
      let followed = instructions.count { instruction in
        texts.contains { !$0.allSatisfy(\.isWhitespace) && instruction.isFollowed($0) }
      }
      return followed == instructions.count
        ? 1 : knobs.partial * Double(followed) / Double(instructions.count)
    }
  }

  /// The text, without its first, last, first and last line, and each of these without asterisks.
  private static func loose(_ text: String) -> [String] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    func joined(_ lines: ArraySlice<Substring>) -> String {
      String(lines.joined(separator: "\n")[...].trimmed)
    }
    let texts = [
      text, joined(lines.dropFirst()), joined(lines.dropLast()),
      joined(lines.dropFirst().dropLast()),
    ]
    return texts + texts.map { $0.replacing("*", with: "") }
  }
}
