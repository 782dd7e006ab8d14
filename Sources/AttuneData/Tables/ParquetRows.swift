// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The rows of a Parquet file, put together from its columns: flat ones, lists, structures and lists of
/// structures, in which order they may (Dremel's levels).
final class ParquetRows {
  private let columns: [ParquetColumn]
  private var entries: [Int]
  private var values: [Int]
  private let file: ParquetFile

  /// Calls `row` for every row, with its number as its line.
  ///
  /// - Throws: ``DataError`` that names file and column, and whatever `row` throws.
  static func forEach(
    in url: URL, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    let file = try ParquetFile(url)
    var number = 0
    for group in file.groups {
      let rows = try ParquetRows(file, group.chunks)
      for _ in 0..<group.rows {
        number += 1
        try row(try rows.content(of: file.root), DataPlace(url, line: number))
      }
      guard rows.isAtEnd else { throw file.damaged("its columns are of different length") }
    }
    if number == 0 {
      throw DataError(.badData, "\(url.relativePath): the Parquet file has no rows")
    }
  }

  private init(_ file: ParquetFile, _ chunks: [ParquetFile.Chunk]) throws {
    self.file = file
    columns = try zip(file.leaves, chunks).map { try ParquetColumn(file, $0, $1) }
    entries = Array(repeating: 0, count: columns.count)
    values = entries
  }

  private var isAtEnd: Bool { zip(entries, columns).allSatisfy { $0 == $1.definitions.count } }

  /// How far down the next entry of a field is there.
  private func definition(of node: ParquetFile.Node) throws -> Int {
    let column = columns[node.column]
    guard entries[node.column] < column.definitions.count else {
      throw file.damaged("column \(node.name) ends before its rows do")
    }
    return Int(column.definitions[entries[node.column]])
  }

  private func value(of node: ParquetFile.Node) throws -> JSONValue {
    if node.repetition == 0 { return try content(of: node) }
    guard try definition(of: node) >= node.definition else {
      for column in node.columns { entries[column] += 1 }
      return node.repetition == 1 ? .null : .array([])
    }
    guard node.repetition == 2 else { return try content(of: node) }
    var list: [JSONValue] = []
    repeat { list.append(try content(of: node)) } while goesOn(node)
    return .array(list)
  }

  /// Whether the next entry is one more of a list.
  private func goesOn(_ node: ParquetFile.Node) -> Bool {
    let (column, entry) = (columns[node.column], entries[node.column])
    return entry < column.repetitions.count && Int(column.repetitions[entry]) == node.repeats
  }

  private func content(of node: ParquetFile.Node) throws -> JSONValue {
    guard node.physical == nil else {
      _ = try definition(of: node)
      entries[node.column] += 1
      defer { values[node.column] += 1 }
      guard values[node.column] < columns[node.column].values.count else {
        throw file.damaged("column \(node.name) ends before its rows do")
      }
      return columns[node.column].values[values[node.column]]
    }
    let fields = try node.children.map { JSONValue.Field($0.name, try value(of: $0)) }
    guard node.isList || node.isMap, fields.count == 1, case .array(let items) = fields[0].value,
      let inner = node.children.first, inner.repetition == 2
    else { return .object(fields) }
    if node.isMap {
      let pairs = items.map { ($0["key"], $0["value"]) }
      guard pairs.allSatisfy({ $0.0?.asString != nil }) else { return .array(items) }
      return .object(pairs.map { .init($0.0?.asString ?? "", $0.1 ?? .null) })
    }
    // The group between a list and its elements, which older files leave out.
    guard inner.children.count == 1, inner.name != "array", inner.name != node.name + "_tuple"
    else {
      return .array(items)
    }
    return .array(items.map { $0[inner.children[0].name] ?? .null })
  }
}
