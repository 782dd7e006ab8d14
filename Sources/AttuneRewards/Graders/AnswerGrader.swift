// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTraining

/// A right answer as a rule reads it: what answers are held against.
enum RightAnswer: Sendable {
  case text(String)
  case number(SaidNumber)
  case letter(Character)
  case maths(MathsAnswer)
  case json(JSONValue)
  case pattern(RegularExpression)
}

/// Reads and compares answers by a rule.
struct AnswerGrader: Sendable {
  /// How right an answer is.
  struct Grade: Sendable, Equatable {
    /// Whether all of it is.
    var isRight: Bool
    /// What share of it is, where the rule knows parts; of others 1 where it has the form of an answer.
    var share: Double

    static let none = Grade(isRight: false, share: 0)
  }

  let rule: AnswerRule
  let place: AnswerPlace
  private let numbers = NumberReader()
  private let choices = ChoiceReader()

  init(_ rule: AnswerRule, place: AnswerPlace) {
    self.rule = rule
    self.place = place
  }

  /// A right answer of a row; several if the column is a list of strings or numbers.
  ///
  /// - Throws: ``DataError`` that names column and place.
  func rightAnswers(_ row: JSONValue, column: String, at place: DataPlace) throws -> [RightAnswer] {
    guard let value = row.present(column) else {
      throw place.error("column \"\(column)\" is missing, which answer:\(rule.rawValue) reads")
    }
    if rule == .json {
      // A string of the column is JSON itself, if it can be.
      let json = value.asString.flatMap { try? JSONValue(parsing: $0) }
      return [.json(json ?? value)]
    }
    let values = value.asArray ?? [value]
    guard !values.isEmpty else { throw place.error("column \"\(column)\" is an empty list") }
    return try values.map { value in
      let text: String
      switch value {
      case .string(let string): text = string
      case .number(let digits): text = digits
      case .bool(let flag): text = "\(flag)"
      default:
        throw place.error(
          "column \"\(column)\" holds \(value.kindName), and answer:\(rule.rawValue) reads a string, a "
            + "number or a list of such")
      }
      return try right(text, column: column, at: place)
    }
  }

  private func right(_ text: String, column: String, at place: DataPlace) throws -> RightAnswer {
    func refuse(_ what: String) -> DataError {
      let shown = text.count <= 60 ? text : text.prefix(59) + "…"
      return place.error("column \"\(column)\" holds “\(shown)”, \(what)")
    }
    // GSM8K's answers are worked out before their number.
    let answer = AnswerPlace.any.answer(in: text) ?? text
    switch rule {
    case .exact: return .text(answer)
    case .json: return .text(text)
    case .number:
      guard let number = numbers.number(in: answer) else { throw refuse("which has no number") }
      return .number(number)
    case .choice:
      guard let letter = choices.letter(in: answer) else {
        throw refuse("which names no letter from A to J")
      }
      return .letter(letter)
    case .maths:
      let maths = MathsAnswer(answer)
      if case .words("") = maths { throw refuse("which is empty") }
      return .maths(maths)
    case .regex:
      do {
        return .pattern(try RegularExpression(text))
      } catch let error as DataError {
        throw refuse("and \(error.message)")
      }
    }
  }

  /// How right a text is.
  func grade(_ text: String, _ right: [RightAnswer]) -> Grade {
    guard let answer = place.answer(in: text) else { return .none }
    let grades = right.map { grade(answer: answer, $0) }
    return grades.first(where: \.isRight)
      ?? Grade(isRight: false, share: grades.map(\.share).max() ?? 0)
  }

  private func grade(answer: String, _ right: RightAnswer) -> Grade {
    func grade(_ isRight: Bool, share: Double = 1) -> Grade {
      Grade(isRight: isRight, share: isRight ? 1 : share)
    }
    switch right {
    case .text(let text):
      // An answer that holds the right one among other words, less the more of them there are.
      let holds = !text.isEmpty && answer.contains(text)
      return grade(
        answer == text,
        share: holds ? Double(text.unicodeScalars.count) / Double(answer.unicodeScalars.count) : 0)
    case .number(let number):
      return numbers.number(in: answer).map { grade(SaidNumber.areEqual($0, number)) } ?? .none
    case .letter(let letter):
      return choices.letter(in: answer).map { grade($0 == letter) } ?? .none
    case .maths(let maths):
      let said = Self.maths(in: answer)
      return grade(MathsAnswer.areEqual(said, maths), share: said.isExact ? 1 : 0)
    case .json(let json):
      guard let said = Self.json(in: answer) else { return .none }
      let fields = JSONFields(json).fields
      let ours = JSONFields(said).fields
      let same = fields.filter { ours[$0.key] == $0.value }.count
      return grade(
        same == fields.count && ours.count == fields.count,
        share: Double(same) / Double(max(fields.count, ours.count, 1)))
    case .pattern(let pattern): return grade(pattern.isFound(in: answer) == true, share: 0)
    }
  }

  /// What a text answers, in a form in which equal answers are equal; nil where it has none.
  func given(in text: String) -> String? {
    guard let answer = place.answer(in: text), !answer.isEmpty else { return nil }
    switch rule {
    case .exact, .regex: return answer
    case .number:
      return numbers.number(in: answer).map { "\($0.value)\($0.isPercent ? "%" : "")" }
    case .choice: return choices.letter(in: answer).map(String.init)
    case .maths:
      let said = Self.maths(in: answer)
      if case .value(let value, let isPercent) = said, let number = value.number {
        return "\(number)\(isPercent ? "%" : "")"
      }
      return answer
    case .json: return Self.json(in: answer).map { JSONFields($0).text }
    }
  }

  /// What of an answer in words is mathematics: all of it, the last of its formulas, or what stands
  /// behind the last “is”, “=” or colon.
  private static func maths(in answer: String) -> MathsAnswer {
    let whole = MathsAnswer(answer)
    guard !whole.isExact else { return whole }
    var parts: [Substring] = []
    if let formula = answer.matches(of: /\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]/).last {
      parts.append(formula.output.1 ?? formula.output.2 ?? formula.output.3 ?? "")
    }
    let line =
      answer.split(whereSeparator: \.isNewline).last { !$0.allSatisfy(\.isWhitespace) } ?? ""
    parts.append(line)
    for mark in [" is ", "=", ":"] {
      if let end = line.ranges(of: mark).last?.upperBound { parts.append(line[end...]) }
    }
    return parts.lazy.map { MathsAnswer(String($0)) }.first(where: \.isExact) ?? whole
  }

  /// The JSON of an answer: all of it, its last fenced block, or what stands from a bracket to the last
  /// one that closes.
  static func json(in answer: String) -> JSONValue? {
    if let value = try? JSONValue(parsing: answer) { return value }
    if let value = fenced(in: answer) { return value }
    guard let end = answer.lastIndex(where: { "}]".contains($0) }) else { return nil }
    let opening: Character = answer[end] == "}" ? "{" : "["
    for start in answer.indices.filter({ answer[$0] == opening && $0 < end }).prefix(32) {
      if let value = try? JSONValue(parsing: String(answer[start...end])) { return value }
    }
    return nil
  }

  private static func fenced(in answer: String) -> JSONValue? {
    guard let block = answer.matches(of: /```(?:json|JSON)?\s*\n?([\s\S]*?)```/).last else {
      return nil
    }
    return try? JSONValue(parsing: String(block.output.1.trimmed))
  }
}
