// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneTraining

/// What a judge that rewards is told behind its name: `judge:http://localhost:8000,votes=9`.
///
/// Those of ``JudgeSettings`` keep their names, meanings and ranges.
struct JudgedKnobs: Settings {
  /// The grades of `judge:`.
  var scale = "1-5"
  /// Answers, or criteria, that one request is about.
  var together = 1
  /// Orders in which `rank:` shows a prompt's answers, and averages over.
  var orders = 1
  /// A file of `rubric:`'s criteria; empty: they stand in the row.
  var criteria = ""
  /// The row's column of criteria.
  var column = "rubric"
  /// How the judge is asked.
  var judge = JudgeSettings()

  static let knobs: [Knob] = [
    Knob("scale", "The grades: two digits, or letters of which A is the best.", .text),
    Knob("together", "Answers, or criteria, that one request is about.", .whole(1...64)),
    Knob("orders", "Orders in which a prompt's answers are shown.", .whole(1...2)),
    Knob("criteria", "A file of criteria.", .text),
    Knob("column", "The row's column of criteria.", .text),
    Knob("judge", "How the judge is asked.", .knobs(of: JudgeSettings.self)),
  ]

  /// The knobs of `JudgeSettings` that are a server's.
  private static let ofServers: Set = [
    "server_model", "reading", "votes", "parallel", "retries", "retry_seconds", "timeout",
    "key_variable", "together",
  ]

  /// The knobs that each kind reads.
  private static func read(by kind: RewardSpecification.Kind) -> [String] {
    let asked = [
      "reasoning", "reasoning_tokens", "server_model", "parallel", "retries", "retry_seconds",
      "timeout", "key_variable", "piece_tokens",
    ]
    return switch kind {
    case .judge:
      ["scale", "together", "constitution", "principles", "seed", "reading", "votes"] + asked
    case .rubric: ["criteria", "column", "together", "seed", "reading", "votes"] + asked
    default: ["orders", "constitution", "principles", "seed"] + asked
    }
  }

  /// Reads what stands behind the kind.
  ///
  /// - Parameters:
  ///   - argument: A judge, with knobs behind commas.
  ///   - kind: `judge`, `rubric` or `rank`.
  /// - Throws: `TrainingError.badSetting` that names source and knob.
  static func reading(
    _ argument: String, of kind: RewardSpecification.Kind
  ) throws -> JudgedKnobs {
    let parts = RewardSpecification.list(argument)
    let source = "reward source \(kind.rawValue):\(argument)"
    func refuse(_ what: String) -> TrainingError {
      TrainingError(.badSetting, "\(source): \(what)")
    }
    guard !parts[0].isEmpty, !parts[0].contains("=") || JudgeModels.isServer(parts[0]) else {
      throw refuse("write \(kind.rawValue):\(kind.form), the judge first")
    }
    let isServer = JudgeModels.isServer(parts[0])
    let known = read(by: kind)
    var given: [(option: String, knob: String, json: String)] = []
    for part in parts.dropFirst() {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        .map(String.init)
      guard pair.count == 2, known.contains(pair[0]) else {
        throw refuse(
          "“\(part)” is none of its knobs\(hint(for: pair[0], among: known)); they stand behind commas "
            + "as KNOB=VALUE (\\, is a comma in a name)")
      }
      guard !given.contains(where: { $0.option.hasSuffix(" \(pair[0])") }) else {
        throw refuse("\(pair[0]) is given twice")
      }
      guard !pair[1].isEmpty else { throw refuse("nothing stands behind \(pair[0])=") }
      guard isServer || !ofServers.contains(pair[0]) else {
        throw refuse("\(pair[0]) is of servers, and \(parts[0]) is a model here; leave it out")
      }
      guard !isServer || pair[0] != "piece_tokens" else {
        throw refuse("piece_tokens is of a model here, and \(parts[0]) is a server; leave it out")
      }
      let isOwn = Self.knobs.contains { $0.name == pair[0] }
      let path = isOwn ? pair[0] : "judge.\(pair[0])"
      let isText = if case .text? = Self.knobs.knob(at: path)?.kind { true } else { false }
      let value = isText ? nil : try? JSONTree(parsing: pair[1], place: source)
      given.append(
        ("\(source): \(pair[0])", path, (value ?? .string(pair[1])).line))
    }
    var knobs: JudgedKnobs = try ConfigFile.settings(JudgedKnobs(), options: given)
    knobs.judge.judges = [parts[0]]
    guard GradeScale(knobs.scale) != nil else {
      throw refuse(
        "scale is two digits as 1-5, the lower one first, or letters as A-E; not \(knobs.scale)")
    }
    let names = Set(given.map(\.knob))
    if !knobs.judge.reasoning, names.contains("judge.reasoning_tokens") {
      throw refuse("reasoning_tokens is set but not read: reasoning is off")
    }
    if names.contains("criteria"), names.contains("column") {
      throw refuse("criteria and column both say where the criteria are; give one of them")
    }
    return knobs
  }
}
