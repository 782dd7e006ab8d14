// SPDX-License-Identifier: Apache-2.0

/// Two numbered answers and a column that says which is better: AlpacaEval's `output_1`, `output_2`
/// and `preference`, Label Studio's `answer1`, `answer2` and `left` or `right`, the arena's
/// `response_a`, `response_b` and `winner`.
struct PairwiseChoice {
  private static let stems = [
    "output", "answer", "response", "completion", "reply", "generation", "summary", "conversation",
    "text",
  ]
  private static let endings = [
    ("_1", "_2"), ("1", "2"), ("_a", "_b"), ("_A", "_B"), ("_0", "_1"), ("0", "1"),
  ]
  private static let choices = [
    "preference", "choice", "winner", "preferred", "better", "chosen", "verdict", "judgement",
    "judgment", "label", "vote",
  ]

  /// What the answers' columns are called but for their numbers.
  private let stem: String
  /// The ends of the names of the answers' columns.
  private let ending: (String, String)

  /// The answers of a row; nil where it has no two that are numbered.
  init?(_ row: JSONValue) {
    for stem in Self.stems {
      for ending in Self.endings
      where row.present(stem + ending.0) != nil && row.present(stem + ending.1) != nil {
        self.stem = stem
        self.ending = ending
        return
      }
    }
    return nil
  }

  /// Whether the answers are conversations that begin with the prompt.
  var holdsPrompt: Bool { stem == "conversation" }

  /// The answers' columns.
  var names: (first: String, second: String) { (stem + ending.0, stem + ending.1) }

  private enum Verdict: Equatable {
    case first, second, tie, bothBad
    /// How probable it is that the second is better.
    case soft(Double)

    /// Whether the second answer is the chosen one.
    var isSwapped: Bool {
      switch self {
      case .second: true
      case .soft(let probability): probability > 0.5
      case .first, .tie, .bothBad: false
      }
    }
  }

  /// What the columns that name the models of the answers begin with, AlpacaEval's and the arena's.
  private static let modelStems = ["generator", "model"]

  private func modelStem(in row: JSONValue) -> String? {
    Self.modelStems.first {
      row.present($0 + ending.0) != nil || row.present($0 + ending.1) != nil
    }
  }

  /// The columns of a row that name the models of the answers.
  func modelColumns(in row: JSONValue) -> Set<String> {
    modelStem(in: row).map { [$0 + ending.0, $0 + ending.1] } ?? []
  }

  /// What the row says of who gave the chosen answer and who the other one.
  func models(_ columns: Columns) throws -> (chosen: JSONValue?, rejected: JSONValue?) {
    let json = columns.json
    guard let stem = modelStem(in: json) else { return (nil, nil) }
    let (first, second) = (json.present(stem + ending.0), json.present(stem + ending.1))
    return try verdict(columns).isSwapped ? (second, first) : (first, second)
  }

  /// Reads the row.
  func preference(_ columns: Columns, prompt: Content?) throws -> Preference {
    let first = try columns.answer(names.first)
    let second = try columns.answer(names.second)
    let verdict = try verdict(columns)
    var pair =
      if verdict.isSwapped {
        try RowFormat.pair(prompt, second, first, columns, names: (names.second, names.first))
      } else {
        try RowFormat.pair(prompt, first, second, columns, names: (names.first, names.second))
      }
    switch verdict {
    case .tie: pair.outcome = .tie
    case .bothBad: pair.outcome = .bothBad
    case .soft(let probability): pair.probability = max(probability, 1 - probability)
    case .first, .second: break
    }
    return pair
  }

  private func verdict(_ columns: Columns) throws -> Verdict {
    if let verdict = try flags(columns) { return verdict }
    let named = Self.choices + ["better_\(stem)_id", "preferred_\(stem)", "better_\(stem)"]
    let column: String
    if let known = named.first(where: { columns.json[$0] != nil && !columns.used.contains($0) }) {
      column = known
    } else {
      // Label Studio's field is called as its project has it.
      let sides = columns.json.fields.filter { field in
        guard case .string(let word) = field.value else { return false }
        return !columns.used.contains(field.key)
          && ["left", "right"].contains(word.lowercased())
      }.map(\.key)
      guard let only = sides.first, sides.count == 1 else {
        throw columns.place.error(
          "the row has two answers, \"\(names.first)\" and \"\(names.second)\", but "
            + (sides.isEmpty
              ? "no column that is known says which is better: call it \"preference\""
              : "\(sides.count) columns say left or right: call the one that counts \"preference\"")
        )
      }
      column = only
    }
    guard let value = columns.value(column) else {
      throw UnusableRow(reason: "\"\(column)\" is null: nobody said which answer is better")
    }
    if column == "preference", base == 1, case .number(let digits) = value,
      let number = Double(digits)
    {
      columns.note(choice: number, in: column)
    }
    guard let verdict = verdict(value, in: column) else {
      throw columns.place.error(
        "key \"\(column)\" is \(value.text.prefix(60)); expected \(expected), \"\(names.first)\", "
          + "\"\(names.second)\", \"left\", \"right\", \"tie\" or \"both_bad\"")
    }
    return verdict
  }

  /// The arena's `winner_model_a`, `winner_model_b`, `winner_tie`, of which one is 1.
  private func flags(_ columns: Columns) throws -> Verdict? {
    let names = ["winner_model_a", "winner_model_b", "winner_tie"]
    guard columns.has("winner_model_a", "winner_model_b") else { return nil }
    let set = try names.filter { try columns.optionalInt($0) == 1 }
    guard let only = set.first, set.count == 1 else {
      throw columns.place.error("one of \(names.joined(separator: ", ")) must be 1, the others 0")
    }
    return only == names[0] ? .first : only == names[1] ? .second : .tie
  }

  private var isNumbered: Bool { ending.0.last?.isNumber == true }

  private var base: Int { ending.0.last?.wholeNumberValue ?? 0 }

  private var expected: String {
    isNumbered ? "\(base) or \(base + 1)" : "\"\(ending.0.suffix(1))\" or \"\(ending.1.suffix(1))\""
  }

  private func verdict(_ value: JSONValue, in column: String) -> Verdict? {
    switch value {
    case .number(let digits):
      guard isNumbered, let number = Double(digits) else { return nil }
      let place = number - Double(base)
      if place == 0 { return .first }
      if place == 1 { return .second }
      if place == 0.5 { return .tie }
      // AlpacaEval's preference: 1 to 2 where its judge weighs, 0 for a draw in its older files.
      if column == "preference", base == 1 {
        if number == 0 { return .tie }
        if place > 0, place < 1 { return .soft(place) }
      }
      return nil
    case .string(let text):
      let word = text.lowercased()
      let ends = (String(ending.0.suffix(1)).lowercased(), String(ending.1.suffix(1)).lowercased())
      let letters = ["", "model_", "model ", "\(stem)_", "\(stem) ", stem]
      if word == "left" || word == "first" || letters.contains(where: { word == $0 + ends.0 }) {
        return .first
      }
      if word == "right" || word == "second" || letters.contains(where: { word == $0 + ends.1 }) {
        return .second
      }
      if ["tie", "tied", "draw", "equal", "same", "both", "both_good", "tie (bothgood)"].contains(
        word)
      {
        return .tie
      }
      return ["both_bad", "bothbad", "tie (bothbad)", "neither"].contains(word) ? .bothBad : nil
    default: return nil
    }
  }
}

extension DataRow {
  /// What the row of a pair says of who gave the chosen answer and who the rejected one: a name, or an
  /// object that has one.
  public var pairModels: (chosen: JSONValue?, rejected: JSONValue?) {
    func named(_ side: String) -> JSONValue? {
      namedModel(of: side).flatMap { json.present($0) }
    }
    let given = (chosen: named("chosen"), rejected: named("rejected"))
    guard given.chosen == nil, given.rejected == nil, let choice = PairwiseChoice(json) else {
      return given
    }
    let columns = Columns(json, at: DataPlace(file: "row", line: line))
    return (try? choice.models(columns)) ?? given
  }

  /// The columns of the row that ``pairModels`` reads.
  public var pairModelColumns: Set<String> {
    let named = Set(["chosen", "rejected"].compactMap(namedModel))
    return named.isEmpty ? PairwiseChoice(json)?.modelColumns(in: json) ?? [] : named
  }

  private func namedModel(of side: String) -> String? {
    ["\(side)_model", "\(side)-model"].first { json.present($0) != nil }
  }
}
