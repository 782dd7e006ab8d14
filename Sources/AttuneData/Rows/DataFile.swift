// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A row of a data file.
public struct Row: Sendable, Hashable {
  /// The line on which it stands, from 1.
  public var line: Int
  /// What it says.
  public var example: Example
  /// The row as it came, every field in its place.
  public var json: JSONValue

  /// Makes a row.
  public init(line: Int, example: Example, json: JSONValue) {
    self.line = line
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
    /// The reason, in words.
    public var reason: String
  }

  /// The file.
  public var url: URL
  /// The shape of its rows.
  public var format: RowFormat
  /// What the rows are.
  public var kind: DataKind
  /// Whether they are made of messages (TRL's *conversational*) or of strings (*standard*).
  public var isConversational: Bool
  /// The rows that can be used.
  public var rows: [Row]
  /// The rows that are well formed but of no use, such as two equal answers.
  public var skipped: [Skipped]

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

  /// Reads a file of JSON lines (`.jsonl`), of one JSON list (`.json`), or either compressed
  /// (`.gz`), finds out which of ``RowFormat`` it has, and checks every row.
  ///
  /// - Parameters:
  ///   - url: The file.
  ///   - expecting: The kinds that the caller can use; any if empty.
  ///   - limit: How many rows to read at most.
  /// - Throws: ``DataError`` in one line with file, line and key: for a file that is empty, cut or
  ///   not JSON, for rows of an unknown or a second kind, for missing and mistyped keys.
  public static func read(
    _ url: URL, expecting: [DataKind] = [], limit: Int = .max
  ) throws -> DataFile {
    struct Enough: Error {}
    var format: RowFormat?
    var kind: DataKind?
    var isConversational = false
    var rows: [Row] = []
    var skipped: [Skipped] = []
    do {
      try JSONLines.forEach(in: url) { json, place in
        let shape = try format ?? RowFormat.of(json, at: place)
        format = shape
        let example: Example
        do {
          example = try shape.example(json, at: place)
        } catch let error as UnusableRow {
          skipped.append(Skipped(line: place.line, reason: error.reason))
          return
        }
        if let kind, kind != example.kind {
          throw place.error("this row is \(example.kind.rawValue), the rows above \(kind.rawValue)")
        }
        if kind == nil {
          kind = example.kind
          isConversational = example.isConversational
          if !expecting.isEmpty, !expecting.contains(example.kind) {
            let wanted = expecting.map(\.rawValue).joined(separator: " or ")
            throw place.error("this file holds \(example.kind.rawValue) data; \(wanted) is needed")
          }
        }
        rows.append(Row(line: place.line, example: example, json: json))
        if rows.count >= limit { throw Enough() }
      }
    } catch is Enough {}
    guard let format, let kind else {
      let first = skipped.first
      throw DataPlace(url, line: first?.line ?? 1)
        .error("no row of the file can be used: \(first?.reason ?? "it has none")")
    }
    return DataFile(
      url: url, format: format, kind: kind, isConversational: isConversational, rows: rows,
      skipped: skipped)
  }
}
