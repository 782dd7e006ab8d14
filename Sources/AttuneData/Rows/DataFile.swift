// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A row of a data file.
public struct DataRow: Sendable, Hashable {
  /// The line on which it stands, from 1.
  public var line: Int
  /// What it says.
  public var example: Example
  /// The row as it came, every field in its place.
  public var json: JSONValue

  /// Its place among the file's rows that are used, from 1: of a JSON list many may stand on one line.
  /// 0 for a row of no file.
  public var number: Int
  /// The file that it stands in, where the rows are of several.
  public var file: String?
  /// Which of the names that were given it is from.
  var origin = 0

  /// Makes a row.
  public init(line: Int, number: Int = 0, example: Example, json: JSONValue) {
    self.line = line
    self.number = number
    self.example = example
    self.json = json
  }
}

/// A file of examples, its format found out from the rows.
public struct DataFile: Sendable {
  /// A row that was passed over, and why.
  public struct Skipped: Sendable, Hashable {
    /// The line, from 1.
    public var line: Int
    /// The reason, in words; where the rows are of several files, the file before it.
    public var reason: String
  }

  /// The file; of rows in memory a name for messages.
  public var url: URL
  /// Whether the rows never stood in a file.
  public var isInMemory = false
  /// Whether the rows are all of one file, by its own names of columns: its bytes say which they are.
  public private(set) var isPlainFile = true
  /// The shape of its rows.
  public var format: RowFormat
  /// What the rows are.
  public var kind: DataKind
  /// Whether they are made of messages (TRL's *conversational*) or of strings (*standard*).
  public var isConversational: Bool
  /// The rows that can be used.
  public var rows: [DataRow]
  /// The rows that are well formed but of no use, such as two equal answers.
  public var skipped: [Skipped]

  /// The columns that its rows have and that are not used.
  public var unusedColumns: [UnusedColumn]
  /// Whether its reader hands rows on whole, so that such columns are not lost.
  public var carriesRows: Bool

  /// The first line whose prompt is a string while that of the first row is messages, or the other
  /// way round.
  var otherFormLine: Int?

  /// What a person should know of the file before it is used, in one line: columns that are not used,
  /// strings among conversations. Nil where there is nothing.
  public var warning: String? {
    let unused = UnusedColumn.warning(
      unusedColumns, of: url.relativePath, areCarried: carriesRows)
    guard let otherFormLine else { return unused }
    let (first, other) = isConversational ? ("messages", "a string") : ("a string", "messages")
    let mixed =
      "the first row's prompt is \(first), that of line \(otherFormLine) \(other): a chat template "
      + "puts only messages into words"
    return unused.map { "\($0); \(mixed)" } ?? "\(url.relativePath): \(mixed)"
  }

  /// What the file was taken for, in one line for people.
  public var summary: String {
    var text = "\(url.relativePath): \(rows.count) rows, \(kind.rawValue)"
    text += isConversational ? ", conversational" : ", standard"
    if format.rawValue != kind.rawValue { text += " (\(format.rawValue) rows)" }
    if let first = skipped.first {
      text += "; \(skipped.count) passed over, the first in line \(first.line): \(first.reason)"
    }
    return text
  }

  /// Where a row stands, in words.
  public func place(of row: DataRow) -> String { "\(row.file ?? url.path), line \(row.line)" }

  /// Reads a file: JSON lines (`.jsonl`), one JSON list (`.json`), a table (`.csv`, `.tsv`), any of them
  /// compressed (`.gz`), or Parquet; finds out which of ``RowFormat`` it has, and checks every row.
  ///
  /// - Parameters:
  ///   - url: The file.
  ///   - expecting: The kinds that the caller can use; any if empty.
  ///   - use: What the caller does with columns that the format does not have.
  ///   - limit: How many rows to read at most.
  /// - Throws: ``DataError`` in one line with file, line and key: for a file that is empty, cut or
  ///   not JSON, for rows of an unknown or a second kind, for missing and mistyped keys, for a column
  ///   that is not used though it would change what is learned.
  public static func read(
    _ url: URL, expecting: [DataKind] = [], use: ColumnUse = ColumnUse(), limit: Int = .max
  ) throws -> DataFile {
    try read(DataSource(url), expecting: expecting, use: use, limit: limit)
  }

  /// Reads files one after the other, or a mixture of them, each by its own format; all are of one kind.
  ///
  /// - Parameters:
  ///   - source: The files, and what their columns are called.
  ///   - expecting: The kinds that the caller can use; any if empty.
  ///   - use: What the caller does with columns that the format does not have.
  ///   - limit: How many rows to read at most.
  ///   - needsMap: Whether every part of the map must be of use.
  /// - Throws: ``DataError`` as for one file; for a map of columns that no row has.
  public static func read(
    _ source: DataSource, expecting: [DataKind] = [], use: ColumnUse = ColumnUse(),
    limit: Int = .max, needsMap: Bool = true
  ) throws -> DataFile {
    let mapping = ColumnMapping(source.map)
    var origin = 0
    var data = try read(
      source.url, expecting: expecting, use: use, limit: limit,
      origin: source.parts.count > 1 ? { origin } : nil
    ) { row in
      for part in source.parts {
        origin = part.origin
        try RowFile.forEach(in: part.url) { json, place in
          do { try row(mapping.row(json, at: place), place) } catch let error as DataError {
            throw mapping.named(error)
          }
        }
      }
      if needsMap { try mapping.finish(source.url.relativePath) }
    }
    data.isPlainFile = source.isPlainFile
    try data.mix(source)
    return data
  }

  /// Takes the rows of a mixture; the others are passed over.
  private mutating func mix(_ source: DataSource) throws {
    guard let places = source.mixture(of: rows.map(\.origin)) else { return }
    guard !places.isEmpty else {
      throw DataError(
        .badData, "\(url.relativePath): a file of the mixture has too few rows for its weight")
    }
    let taken = Set(places)
    var counts: [String: (taken: Int, all: Int)] = [:]
    for (place, row) in rows.enumerated() {
      counts[row.file ?? "", default: (0, 0)].all += 1
      if taken.contains(place) { counts[row.file ?? "", default: (0, 0)].taken += 1 }
    }
    for (place, row) in rows.enumerated() where !taken.contains(place) {
      let (file, count) = (row.file ?? "", counts[row.file ?? ""] ?? (0, 0))
      skipped.append(
        Skipped(
          line: row.line,
          reason: "\(file): the mixture takes \(count.taken) of its \(count.all) rows"))
    }
    rows = places.enumerated().map { number, place in
      var row = rows[place]
      row.number = number + 1
      return row
    }
  }

  /// Takes rows that are in memory, which are checked as those of a file are.
  ///
  /// - Parameters:
  ///   - examples: The rows, of one kind; messages name them `rows:1`, `rows:2` and so on.
  ///   - use: What the caller does with what it does not read.
  /// - Throws: ``DataError`` that names the row at fault; where there is none.
  public static func rows(_ examples: [Example], use: ColumnUse = ColumnUse()) throws -> DataFile {
    try rows(json: examples.lazy.map(\.json), use: use)
  }

  /// The same of prompts with further columns, which go along with them.
  public static func rows(_ prompts: [PromptRow]) throws -> DataFile {
    try rows(json: prompts.lazy.map(\.json), use: ColumnUse(carriesRows: true))
  }

  private static func rows(
    json: some RandomAccessCollection<JSONValue>, use: ColumnUse
  ) throws -> DataFile {
    guard let url = URL(string: "rows"), !json.isEmpty else {
      throw DataError(.badData, "there are no rows; give at least one")
    }
    var data = try read(url, expecting: [], use: use, limit: .max, origin: nil) { row in
      for (index, value) in json.enumerated() {
        try row(value, DataPlace(url, line: index + 1))
      }
    }
    data.isInMemory = true
    return data
  }

  private static func read(
    _ url: URL, expecting: [DataKind], use: ColumnUse, limit: Int, origin: (() -> Int)?,
    _ forEach: ((_ json: JSONValue, _ place: DataPlace) throws -> Void) throws -> Void
  ) throws -> DataFile {
    struct Enough: Error {}
    var format: RowFormat?
    var kind: DataKind?
    var isConversational = false
    var rows: [DataRow] = []
    var skipped: [Skipped] = []
    var otherForm: Int?
    var file: String?
    var firstFormat: RowFormat?
    let census = ColumnCensus(use)
    do {
      try forEach { json, place in
        // Each file has a format of its own.
        if file != place.file { format = nil }
        file = place.file
        let shape = try format ?? RowFormat.of(json, at: place)
        format = shape
        firstFormat = firstFormat ?? shape
        let origin = origin?()
        let columns = Columns(json, at: place)
        let example: Example
        do {
          example = try shape.example(columns)
        } catch let error as UnusableRow {
          skipped.append(
            Skipped(
              line: place.line,
              reason: origin == nil ? error.reason : "\(place.file): \(error.reason)"))
          return
        }
        try census.count(columns, example)
        if let kind, kind != example.kind {
          throw place.error("this row is \(example.kind.rawValue), the rows above \(kind.rawValue)")
        }
        if kind != nil, otherForm == nil, isConversational != example.isConversational {
          otherForm = place.line
        }
        if kind == nil {
          kind = example.kind
          isConversational = example.isConversational
          if !expecting.isEmpty, !expecting.contains(example.kind) {
            let wanted = expecting.map(\.rawValue).joined(separator: " or ")
            let near = census.unused.compactMap { column in
              column.hint.map { "; \"\(column.name)\" is not used: \($0)" }
            }
            throw place.error(
              "this file holds \(example.kind.rawValue) data; \(wanted) is needed\(near.joined())")
          }
        }
        var row = DataRow(
          line: place.line, number: rows.count + 1, example: example, json: json)
        if let origin { (row.file, row.origin) = (place.file, origin) }
        rows.append(row)
        if rows.count >= limit { throw Enough() }
      }
    } catch is Enough {}
    try census.finish(url.relativePath)
    guard let format = firstFormat, let kind else {
      let first = skipped.first
      throw DataPlace(url, line: first?.line ?? 1)
        .error("no row of the file can be used: \(first?.reason ?? "it has none")")
    }
    return DataFile(
      url: url, format: format, kind: kind, isConversational: isConversational, rows: rows,
      skipped: skipped, unusedColumns: census.unused,
      carriesRows: use.carriesRows || use.takesPrompts && format.letsColumnsGoAlong(of: kind),
      otherFormLine: otherForm)
  }

  /// Calls `body` for every row that can be used with its words: the line byte for byte as it stands
  /// in the file, or, where it is no line of one file or has got other names, the row as one line of JSON.
  ///
  /// - Throws: ``DataError`` if the file is another one by now, and whatever `body` throws.
  public func forEachText(_ body: (_ row: DataRow, _ text: Data) throws -> Void) throws {
    var left = rows[...]
    guard isPlainFile, try RowFile.kind(of: url) == .lines else {
      for row in rows { try body(row, Data(row.json.text.utf8)) }
      return
    }
    try JSONLines.forEachLine(in: url) { bytes, place in
      while let row = left.first, row.line == place.line {
        // An annotated task is several rows, and none of them as it stands.
        let isItself = try JSONLines.object(bytes, at: place) == row.json
        try body(row, isItself ? Data(bytes) : Data(row.json.text.utf8))
        left.removeFirst()
      }
    }
    guard left.isEmpty else {
      throw DataError(.file, "\(url.relativePath): the file was changed while it was read")
    }
  }
}
