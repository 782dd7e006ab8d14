// SPDX-License-Identifier: Apache-2.0

/// A task with a right answer that a program makes: as many problems as one wants, none of them in any
/// data set.
public enum ProceduralTask: String, CaseIterable, Codable, Sendable {
  /// Adding whole numbers.
  case sums
  /// Subtracting whole numbers.
  case differences
  /// How often a letter stands in a word.
  case letters
  /// Putting numbers in order.
  case sorting
  /// Writing a word backwards.
  case reversing
  /// Closing what is open.
  case brackets
  /// The date so many days later.
  case dates
  /// The same length, mass or time in another unit.
  case units
  /// The item at a place of a list.
  case picking
  /// What a sentence says as JSON.
  case json

  /// One line for help and documentation: what is asked, and what grows with difficulty.
  public var summary: String {
    switch self {
    case .sums: "add two numbers up to 30; from 2 on longer ones, from 4 on more of them"
    case .differences: "subtract up to 30; from 2 on longer numbers, from 4 on results below 0"
    case .letters: "count a letter in a short word; 2: in a longer one, from 3 on in several"
    case .sorting: "put 3 numbers below 10 in order; one number more each, from 3 on up to 100"
    case .reversing: "write 3 letters backwards; from 2 on made-up words, from 4 on two real ones"
    case .brackets: "close 5 open brackets; two more each, from 3 on with closed ones between"
    case .dates:
      "a day of the same month; from 2 on of the next one, from 4 on months away, or before"
    case .units: "metres of kilometres; from 2 on back, from 3 on mass and time, from 4 on decimals"
    case .picking: "the first or last of 3 words; from 2 on by number, one or two words more each"
    case .json: "two keys of a sentence; one more each, from 3 on a list, from 5 on an object"
    }
  }

  /// The reward that knows a right answer, as `--reward` takes it.
  public var reward: String {
    switch self {
    case .sums, .differences, .letters, .units: "answer:number"
    case .sorting, .json: "answer:json"
    case .reversing, .brackets, .dates, .picking: "answer:exact,extract=last"
    }
  }

  /// A problem with its answer.
  struct Problem {
    /// What is asked.
    var question: String
    /// What is right.
    var answer: String
    /// What tells it from others: 3 + 4 and 4 + 3 are one problem.
    var key: String

    init(_ question: String, _ answer: String, key: String? = nil) {
      self.question = question
      self.answer = answer
      self.key = key ?? question
    }
  }

  /// A problem.
  ///
  /// - Parameters:
  ///   - difficulty: From 1 to 5.
  ///   - draw: The random numbers.
  func problem(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    switch self {
    case .sums: Self.sum(difficulty, &draw)
    case .differences: Self.difference(difficulty, &draw)
    case .letters: Self.letters(difficulty, &draw)
    case .sorting: Self.sorting(difficulty, &draw)
    case .reversing: Self.reversing(difficulty, &draw)
    case .brackets: Self.brackets(difficulty, &draw)
    case .dates: Self.date(difficulty, &draw)
    case .units: Self.units(difficulty, &draw)
    case .picking: Self.picking(difficulty, &draw)
    case .json: Self.object(difficulty, &draw)
    }
  }
}
