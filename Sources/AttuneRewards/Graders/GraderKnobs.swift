// SPDX-License-Identifier: Apache-2.0

import AttuneTraining

/// What a grader is told behind its name: `extract=boxed,column=target,partial=0.1`.
struct GraderKnobs: Sendable {
  /// A knob, as it is written.
  enum Knob: String, CaseIterable {
    /// The row's column.
    case column
    /// Where in the text the answer stands.
    case extract
    /// What an answer gets that is not right, for the part of it that is.
    case partial
    /// How long a program may run.
    case seconds
    /// Which model's probabilities are asked.
    case model
  }

  /// The row's column that is read.
  var column = "answer"
  /// Where in the text the answer stands.
  var place = AnswerPlace.any
  /// What the part of an answer that is right counts, where the whole is not; 0 to 1.
  var partial = 0.0
  /// Seconds that a program may run.
  var seconds = 5.0
  /// The model; nil is the one that is open.
  var model: String?

  /// Reads knobs.
  ///
  /// - Parameters:
  ///   - parts: What stood between commas.
  ///   - known: Those that this grader has.
  ///   - source: How the source was written, for errors.
  /// - Throws: `TrainingError.badSetting` that says what is wrong.
  init(_ parts: some Sequence<String>, known: [Knob], source: String) throws {
    var seen: Set<Knob> = []
    for part in parts {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      func refuse(_ what: String) -> TrainingError {
        TrainingError(.badSetting, "reward source \(source): \(what)")
      }
      let names = known.map(\.rawValue)
      guard pair.count == 2, let knob = Knob(rawValue: String(pair[0])), known.contains(knob) else {
        throw refuse(
          "“\(part)” is none of its knobs; behind a comma it has "
            + names.map { "\($0)=…" }.joined(separator: ", ") + " (\\, is a comma in a name)")
      }
      guard seen.insert(knob).inserted else { throw refuse("\(knob.rawValue) is given twice") }
      let value = String(pair[1])
      guard !value.isEmpty else { throw refuse("nothing stands behind \(knob.rawValue)=") }
      switch knob {
      case .column: column = value
      case .model: model = value
      case .extract:
        guard let found = AnswerPlace(rawValue: value) else {
          throw refuse(
            "extract is \(AnswerPlace.allCases.map(\.rawValue).joined(separator: ", ")), not \(value)"
          )
        }
        place = found
      case .partial:
        guard let number = Double(value), (0...1).contains(number) else {
          throw refuse("partial is a number from 0 to 1, not \(value)")
        }
        partial = number
      case .seconds:
        guard let number = Double(value), number > 0, number <= 600 else {
          throw refuse("seconds is a number above 0 and up to 600, not \(value)")
        }
        seconds = number
      }
    }
  }
}
