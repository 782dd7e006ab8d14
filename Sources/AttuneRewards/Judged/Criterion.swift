// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneTraining
import Foundation

/// Something that an answer is to do, and how much it counts.
struct Criterion: Equatable {
  var text: String
  /// At least 0.
  var weight: Double

  /// Criteria of a row: a list of texts, or of `{"criterion","weight"}`, the weight 1 where none is given.
  ///
  /// - Throws: `DataError` that names place, column, criterion and field.
  static func list(in row: JSONValue, column: String, at place: DataPlace) throws -> [Criterion] {
    guard let value = row.present(column) else {
      throw place.error(
        "column \"\(column)\" is missing, which rubric reads (criteria=FILE behind a comma holds all "
          + "rows' criteria)")
    }
    guard let values = value.asArray, !values.isEmpty else {
      throw place.error(
        "column \"\(column)\" must be a list of criteria, texts or {\"criterion\",\"weight\"}, not "
          + (value.asArray == nil ? value.kindName : "an empty list"))
    }
    return try counted(
      values.enumerated().map {
        try one($1, "column \"\(column)\": criterion \($0 + 1)", at: place)
      }, "column \"\(column)\"", at: place)
  }

  /// Criteria of a file: a JSON list of them, or one a line, as JSON or as plain words.
  ///
  /// - Throws: `TrainingError` if it can't be read, `DataError` that names line, criterion and field.
  static func list(inFile path: String) throws -> [Criterion] {
    let url = URL(filePath: path)
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw TrainingError(.file, "\(path): can't be read: \(reason(error))")
    }
    guard let text = String(data: data, encoding: .utf8) else {
      throw TrainingError(.badData, "\(path): is no UTF-8 text")
    }
    let top = DataPlace(url, line: 1)
    func parsed(_ text: some StringProtocol, _ place: DataPlace) throws -> JSONValue {
      do {
        return try JSONValue(parsing: String(text))
      } catch {
        throw place.error(
          "is no JSON (\(error)); write a criterion a line, as {\"criterion\": \"…\", \"weight\": 2}, or "
            + "a list of them")
      }
    }
    if text.drop(while: \.isWhitespace).first == "[" {
      let values = try parsed(text, top).asArray ?? []
      return try counted(
        values.enumerated().map { try one($1, "criterion \($0 + 1)", at: top) }, "the file", at: top
      )
    }
    var criteria: [Criterion] = []
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .enumerated() where !line.allSatisfy(\.isWhitespace)
    {
      let place = DataPlace(url, line: index + 1)
      let isJSON = line.drop(while: \.isWhitespace).first.map { "{\"".contains($0) } ?? false
      let value =
        isJSON
        ? try parsed(line, place)
        : .string(line.trimmingCharacters(in: .whitespaces))
      criteria.append(try one(value, "the criterion", at: place))
    }
    return try counted(criteria, "the file", at: top)
  }

  private static func one(
    _ value: JSONValue, _ name: String, at place: DataPlace
  ) throws -> Criterion {
    if let text = value.asString {
      guard !text.allSatisfy(\.isWhitespace) else { throw place.error("\(name) is empty") }
      return Criterion(text: text, weight: 1)
    }
    guard let fields = value.asFields else {
      throw place.error("\(name) must be a text or an object, not \(value.kindName)")
    }
    if let other = fields.first(where: { !["criterion", "weight"].contains($0.key) }) {
      throw place.error(
        "\(name) has a field \"\(other.key)\", which is not read; it holds \"criterion\" and \"weight\""
      )
    }
    guard let text = value["criterion"]?.asString, !text.allSatisfy(\.isWhitespace) else {
      throw place.error(
        "\(name): field \"criterion\" "
          + (value["criterion"].map {
            "must be a text, not \($0.asString == nil ? $0.kindName : "an empty one")"
          }
            ?? "is missing"))
    }
    guard let weight = value.present("weight") else { return Criterion(text: text, weight: 1) }
    guard let number = weight.asDouble, number.isFinite else {
      throw place.error("\(name): field \"weight\" must be a number, not \(weight.kindName)")
    }
    guard number >= 0 else {
      throw place.error(
        "\(name): field \"weight\" is \(readable(number)); it must be at least 0: write what an answer is "
          + "not to do as a criterion that it does not do it")
    }
    return Criterion(text: text, weight: number)
  }

  private static func counted(
    _ criteria: [Criterion], _ name: String, at place: DataPlace
  ) throws -> [Criterion] {
    guard !criteria.isEmpty else { throw place.error("\(name) holds no criterion") }
    guard criteria.contains(where: { $0.weight > 0 }) else {
      throw place.error("\(name): every \"weight\" is 0; one at least must be above")
    }
    // What counts nothing is not asked for.
    return criteria.filter { $0.weight > 0 }
  }
}
