// SPDX-License-Identifier: Apache-2.0

/// Comma-separated text (RFC 4180): fields in double quotes may hold commas, line ends and, doubled,
/// quotes.
public enum CommaSeparated {
  /// A record and where it begins.
  public struct Record: Sendable, Equatable {
    /// The line that it begins on, from 1.
    public var line: Int
    /// Its fields.
    public var fields: [String]
  }

  /// Reads all records; empty lines are none.
  ///
  /// - Parameters:
  ///   - bytes: The text in UTF-8; what is none becomes the replacement character.
  ///   - source: What the text is called in errors.
  /// - Throws: `DataError` for a quoted field that does not end, or goes on behind its quote.
  public static func records(_ bytes: [UInt8], source: String) throws -> [Record] {
    let (quote, comma, newline, carriage) = (
      UInt8(ascii: "\""), UInt8(ascii: ","), UInt8(ascii: "\n"), UInt8(ascii: "\r")
    )
    var records: [Record] = []
    var fields: [String] = []
    var field: [UInt8] = []
    var (line, first) = (1, 1)
    // Inside of quotes; behind a quote that may end them; neither.
    var (isQuoted, isBehindQuote) = (false, false)
    func endField() {
      fields.append(String(decoding: field, as: UTF8.self))
      field = []
      isBehindQuote = false
    }
    func endRecord() {
      let isEmpty = fields.isEmpty && field.isEmpty && !isBehindQuote
      if !isEmpty {
        endField()
        records.append(Record(line: first, fields: fields))
      }
      fields = []
    }
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
      switch byte {
      case quote where isBehindQuote:
        field.append(quote)
        (isQuoted, isBehindQuote) = (true, false)
      case quote where field.isEmpty: isQuoted = true
      case comma: endField()
      case carriage: break
      case newline:
        endRecord()
        line += 1
        first = line
      default:
        guard !isBehindQuote else {
          throw DataError(
            .badData, "\(source), line \(line): a quoted field goes on behind its quote")
        }
        field.append(byte)
      }
    }
    guard !isQuoted else {
      throw DataError(.badData, "\(source), line \(first): a quoted field does not end")
    }
    endRecord()
    return records
  }
}
