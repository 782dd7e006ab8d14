// SPDX-License-Identifier: Apache-2.0

/// Delimited text (RFC 4180, and as spreadsheets and pandas write it): fields in double quotes may hold
/// separators, line ends and, doubled, quotes. Lines end in LF or CRLF.
public struct DelimitedText {
  /// A record and where it begins.
  public struct Record: Sendable, Equatable {
    /// The line that it begins on, from 1.
    public var line: Int
    /// Its fields.
    public var fields: [String]
  }

  private let source: String
  private let separator: UInt8
  private var fields: [String] = []
  private var field: [UInt8] = []
  private var (line, first, fieldLine) = (1, 1, 1)
  /// Inside of quotes; behind a quote that may end them; behind a carriage return outside of quotes.
  private var (isQuoted, isBehindQuote, isBehindReturn) = (false, false, false)

  /// Begins a text.
  ///
  /// - Parameters:
  ///   - source: What the text is called in errors.
  ///   - separator: The byte between fields.
  public init(source: String, separator: UInt8 = UInt8(ascii: ",")) {
    self.source = source
    self.separator = separator
  }

  /// Reads all records of a text; empty lines are none.
  ///
  /// - Parameters:
  ///   - bytes: The text in UTF-8.
  ///   - source: What the text is called in errors.
  /// - Throws: `DataError` that names line and field: for a quoted field that does not end, or goes on
  ///   behind its quote, and for bytes that are no UTF-8.
  public static func records(_ bytes: [UInt8], source: String) throws -> [Record] {
    var records: [Record] = []
    var text = DelimitedText(source: source)
    try text.read(bytes) { records.append($0) }
    try text.finish { records.append($0) }
    return records
  }

  /// Takes a piece of the text and gives the records that end in it.
  mutating func read(_ bytes: [UInt8], _ record: (Record) throws -> Void) throws {
    let (quote, newline, carriage) = (
      UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r")
    )
    for byte in bytes {
      if isQuoted {
        if byte == quote {
          (isQuoted, isBehindQuote) = (false, true)
        } else {
          field.append(byte)
          if byte == newline { line += 1 }
        }
        continue
      }
      if isBehindReturn, byte != newline {
        // By itself it is no line's end: it belongs to the field.
        if isBehindQuote { throw goesOn }
        field.append(carriage)
      }
      isBehindReturn = false
      switch byte {
      case quote where isBehindQuote:
        field.append(quote)
        (isQuoted, isBehindQuote) = (true, false)
      case quote where field.isEmpty: (isQuoted, fieldLine) = (true, line)
      case separator: try endField()
      case carriage: isBehindReturn = true
      case newline:
        try endRecord(record)
        line += 1
        first = line
      default:
        guard !isBehindQuote else { throw goesOn }
        field.append(byte)
      }
    }
  }

  /// Ends the text, whose last line may lack its end.
  mutating func finish(_ record: (Record) throws -> Void) throws {
    guard !isQuoted else {
      throw failure("the quote that begins column \(fields.count + 1) is never closed", fieldLine)
    }
    try endRecord(record)
  }

  private var goesOn: DataError {
    failure(
      "column \(fields.count + 1) goes on behind its closing quote; double quotes within it", line)
  }

  private func failure(_ what: String, _ line: Int) -> DataError {
    DataPlace(file: source, line: line).error(what)
  }

  private mutating func endField() throws {
    guard let text = String(validating: field, as: UTF8.self) else {
      throw failure(
        "column \(fields.count + 1) is not UTF-8; convert the file: iconv -f WINDOWS-1252 -t UTF-8 "
          + "FILE > NEW (or whatever it was saved as)", first)
    }
    fields.append(text)
    field.removeAll(keepingCapacity: true)
    isBehindQuote = false
  }

  private mutating func endRecord(_ record: (Record) throws -> Void) throws {
    let isEmpty = fields.isEmpty && field.isEmpty && !isBehindQuote
    if !isEmpty {
      try endField()
      try record(Record(line: first, fields: fields))
    }
    fields.removeAll(keepingCapacity: true)
    isBehindReturn = false
  }
}
