// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// The one way to the rows of a data file, whatever it is: JSON lines, one JSON list, a table, Parquet, and
/// of JSON the exports of Label Studio and Argilla too.
public enum RowFile {
  /// Calls `row` for every row, with where it stands: its line, of Parquet its number.
  ///
  /// - Throws: ``DataError`` that names file and line, and whatever `row` throws.
  public static func forEach(
    in url: URL, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    let kind = try kind(of: url)
    switch kind {
    case .table: try TableRows.forEach(in: url, row)
    case .parquet: try ParquetRows.forEach(in: url, row)
    case .list, .lines:
      var isEmpty = true
      try JSONLines.forEach(in: url, isList: kind == .list) { value, place in
        for value in try AnnotationExport.rows(of: value, at: place) {
          isEmpty = false
          try row(value, place)
        }
      }
      if isEmpty {
        throw DataError(.badData, "\(url.relativePath): nobody has annotated any of its tasks")
      }
    }
  }

  /// What a data file is.
  enum Kind {
    case lines, list, table, parquet
  }

  /// - Throws: ``DataError`` if it can't be read, or holds no rows by its first bytes.
  static func kind(of url: URL) throws -> Kind {
    if TableRows.isTable(url) { return .table }
    let source = try ByteSource(url)
    if try source.begins(with: ParquetFile.magic) { return .parquet }
    return try JSONLines.isList(source) ? .list : .lines
  }
}
