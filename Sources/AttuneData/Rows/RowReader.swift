// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Reads a file of examples row by row and goes on after a row that is broken: for files whose rows
/// were dear to get, such as people's judgements. Trainers use ``DataFile``, which is strict.
public enum RowReader {
  /// A row and the words in which it came.
  public struct RawRow: Sendable {
    /// The line as it stood in the file; of a file that is one list, the row as one line of JSON.
    public var text: String
    /// The shape of the file's rows.
    public var format: RowFormat
    /// The row.
    public var row: DataRow
  }

  /// Calls `row` for every row that can be read and `broken` for every other one.
  ///
  /// The first row that fits a ``RowFormat`` gives the format of the file, as in ``DataFile``. Of a
  /// file that is one list, all that follows a mistake in its JSON is out of reach; the mistake is
  /// then reported as the last row.
  ///
  /// - Returns: The columns that are not used.
  /// - Throws: ``DataError`` if the file can't be read at all, and whatever the closures throw.
  public static func forEach(
    in url: URL, use: ColumnUse = ColumnUse(),
    broken: (_ line: Int, _ reason: String) throws -> Void, row: (RawRow) throws -> Void
  ) throws -> [UnusedColumn] {
    let census = ColumnCensus(use)
    var format: RowFormat?
    func take(_ text: String, _ json: JSONValue, at place: DataPlace) throws {
      let example: Example
      let shape: RowFormat
      do {
        shape = try format ?? RowFormat.of(json, at: place)
        let columns = Columns(json, at: place)
        example = try shape.example(columns)
        try census.count(columns, example)
      } catch let error as DataError {
        return try broken(place.line, place.reason(of: error))
      } catch let error as UnusableRow {
        return try broken(place.line, error.reason)
      }
      format = shape
      try row(
        RawRow(
          text: text, format: shape, row: DataRow(line: place.line, example: example, json: json)))
    }

    if try RowFile.kind(of: url) != .lines {
      // What the closures throw ends the reading; what the list itself has wrong is a row's fault.
      var thrown: (any Error)?
      var last = 0
      do {
        try RowFile.forEach(in: url) { json, place in
          last = place.line
          do {
            try take(json.text, json, at: place)
          } catch {
            thrown = error
            throw error
          }
        }
      } catch let error as DataError where thrown == nil {
        try broken(last + 1, error.message)
      }
    } else {
      try JSONLines.forEachLine(in: url) { bytes, place in
        guard bytes.contains(where: { !FileKind.isSpace($0) }) else { return }
        let json: JSONValue
        do {
          json = try JSONLines.object(bytes, at: place)
        } catch let error as DataError {
          return try broken(place.line, place.reason(of: error))
        }
        var text = String(decoding: bytes, as: UTF8.self)
        if text.utf8.last == 13 { text = String(decoding: bytes.dropLast(), as: UTF8.self) }
        let rows: [JSONValue]
        do {
          rows = try AnnotationExport.rows(of: json, at: place)
        } catch let error as DataError {
          return try broken(place.line, place.reason(of: error))
        }
        for row in rows { try take(row == json ? text : row.text, row, at: place) }
      }
    }
    try census.finish(url.relativePath)
    return census.unused
  }
}
