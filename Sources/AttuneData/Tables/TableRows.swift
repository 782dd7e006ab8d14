// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Reads CSV and TSV files as rows of JSON, the first record naming the columns.
///
/// A cell is a string, an empty one is left out. Where a column's name says that it holds a number a cell
/// that is one is read as such, and a cell that is a JSON list of objects, or under the name of a list any
/// JSON list, as that: so are conversations and answers written into tables.
enum TableRows {
  /// Columns that hold numbers.
  private static let numbers: Set<String> = [
    "score", "margin", "probability", "chosen_score", "rejected_score", "rank", "preference",
  ]
  /// Columns that hold lists.
  private static let lists: Set<String> = [
    "scores", "completions", "answers", "responses", "labeller_scores", "finish_reasons",
  ]

  /// Whether a file's name says that it is a table.
  static func isTable(_ url: URL) -> Bool { separatorByName(url) != nil }

  /// The separator that a name stands for, before any `.gz`.
  private static func separatorByName(_ url: URL) -> UInt8? {
    let plain = url.pathExtension.lowercased() == "gz" ? url.deletingPathExtension() : url
    switch plain.pathExtension.lowercased() {
    case "csv": return UInt8(ascii: ",")
    case "tsv", "tab": return UInt8(ascii: "\t")
    default: return nil
    }
  }

  /// Calls `row` for every record under the first one.
  ///
  /// - Throws: ``DataError`` that names file, line and column, and whatever `row` throws.
  static func forEach(
    in url: URL, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    let source = try ByteSource(url)
    var bytes = try source.next()
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    var separator = separatorByName(url) ?? UInt8(ascii: ",")
    // What Excel writes in front, and obeys.
    if bytes.starts(with: "sep=".utf8), bytes.count > 5, bytes[5] == 10 || bytes[5] == 13 {
      separator = bytes[4]
      // The line stays one, so that lines are numbered as in the file.
      bytes.replaceSubrange(0..<5, with: [])
    } else if separator == UInt8(ascii: ",") {
      separator = Self.separator(of: bytes)
    }
    var columns: [String] = []
    var rows = 0
    func take(_ record: DelimitedText.Record) throws {
      let place = DataPlace(url, line: record.line)
      if columns.isEmpty {
        columns = try names(record.fields, at: place)
        return
      }
      rows += 1
      guard record.fields.count == columns.count else {
        throw place.error(
          "row \(rows) has \(record.fields.count) cells, the first line names \(columns.count) columns"
            + (record.fields.count > columns.count
              ? "; a cell with a separator in it needs quotes" : ""))
      }
      var fields: [JSONValue.Field] = []
      for (name, cell) in zip(columns, record.fields) where !cell.isEmpty {
        fields.append(.init(name, value(cell, of: name)))
      }
      try row(.object(fields), place)
    }
    var text = DelimitedText(source: url.relativePath, separator: separator)
    while !bytes.isEmpty {
      if bytes.contains(0) {
        throw DataError(
          .badData, "\(url.relativePath): holds a NUL byte; the file is damaged or no text")
      }
      try text.read(bytes, take)
      bytes = try source.next()
    }
    try text.finish(take)
    if columns.isEmpty || rows == 0 {
      throw DataError(
        .badData,
        "\(url.relativePath): the table has no rows; expected a line of names and rows under it")
    }
  }

  /// Comma, semicolon or tab: what stands most often outside of quotes in the first line.
  private static func separator(of bytes: [UInt8]) -> UInt8 {
    var counts: [UInt8: Int] = [:]
    var isQuoted = false
    for byte in bytes {
      if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
      if isQuoted { continue }
      if byte == 10 { break }
      if [UInt8(ascii: ","), UInt8(ascii: ";"), 9].contains(byte) { counts[byte, default: 0] += 1 }
    }
    // A comma where two are equal.
    let choices = [UInt8(ascii: ","), UInt8(ascii: ";"), 9]
    return choices.max { counts[$0, default: 0] < counts[$1, default: 0] }.flatMap {
      counts[$0, default: 0] > counts[choices[0], default: 0] ? $0 : nil
    } ?? choices[0]
  }

  private static func names(_ fields: [String], at place: DataPlace) throws -> [String] {
    let names = fields.enumerated().map { index, name in
      // pandas leaves the name of its index away.
      name.isEmpty ? "column_\(index + 1)" : name.trimmingCharacters(in: .whitespaces)
    }
    if let twice = names.first(where: { name in names.count(where: { $0 == name }) > 1 }) {
      throw place.error("the column \"\(twice)\" is there twice; rename one of them")
    }
    return names
  }

  private static func value(_ cell: String, of name: String) -> JSONValue {
    if numbers.contains(name), let number = try? JSONValue(parsing: cell), case .number = number {
      return number
    }
    if cell.hasPrefix("["), let list = try? JSONValue(parsing: cell), case .array(let values) = list
    {
      let isObjects = !values.isEmpty && values.allSatisfy { $0.asFields != nil }
      if isObjects || lists.contains(name) { return list }
    }
    return .string(cell)
  }
}
