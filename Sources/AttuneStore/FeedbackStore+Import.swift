// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
public import Foundation
import GRDB

/// What `attune feedback import` did.
public struct ImportReport: Codable, Sendable, Equatable {
  /// A row that could not be taken.
  public struct Broken: Codable, Sendable, Equatable {
    /// The line, from 1.
    public var line: Int
    /// What is wrong with it.
    public var reason: String
  }

  /// The version of this object.
  public var formatVersion = 1
  /// The file.
  public var file: String
  /// What its rows were taken for; nil where none could be read.
  public var format: String?
  /// Rows that were added.
  public var added = 0
  /// Rows that the store had already.
  public var known = 0
  /// Rows that could not be taken, by their line.
  public var broken: [Broken] = []
  /// Columns that the store has no place for; the rows are kept whole beside what it has.
  public var unused: [UnusedColumn] = []

  /// That columns are not used, in one line for people; nil where all are.
  public var warning: String? { UnusedColumn.warning(unused, of: file) }

  /// The report for people.
  public var text: String {
    var lines = [
      "\(file): \(format ?? "no format that is known"); \(added) rows added, \(known) known"
    ]
    for row in broken { lines.append("\(file):\(row.line): passed over: \(row.reason)") }
    return lines.joined(separator: "\n")
  }
}

extension FeedbackStore {
  /// Takes the rows of a file of any format that Attune reads, all of them or, if the disk fails,
  /// none. A row that is broken stops nothing else.
  ///
  /// A row is known by its text and by who gave it: what is imported again adds nothing, and two
  /// equal rows of one file stay two.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - annotator: Who gave the feedback of rows that do not say.
  ///   - origin: Whether that was a person or a model, where that is known.
  ///   - ignored: Columns that may stay unused whatever they say.
  /// - Throws: ``StoreError`` if no row can be used, and `DataError` if the file can't be read at all.
  public func importFile(
    _ file: URL, annotator: String? = nil, origin: Comparison.Origin = .file,
    ignored: Set<String> = []
  ) throws -> ImportReport {
    try write { db in
      var report = ImportReport(file: file.relativePath)
      var seen: [String: Int] = [:]
      let use = ColumnUse(ignored: ignored, readLater: RecordReader.columns(of:))
      report.unused = try RowReader.forEach(in: file, use: use) { line, reason in
        report.broken.append(.init(line: line, reason: reason))
      } row: { raw in
        let place = DataPlace(file, line: raw.row.line)
        let reader: RecordReader
        do throws(DataError) {
          reader = try RecordReader(row: raw.row, annotator: annotator, origin: origin, at: place)
        } catch {
          report.broken.append(.init(line: raw.row.line, reason: place.reason(of: error)))
          return
        }
        report.format = raw.format.rawValue
        let key = SHA256Digest.of("\(raw.format.rawValue)\n\(annotator ?? "")\n\(raw.text)")
        let occurrence = seen[key, default: 0]
        seen[key] = occurrence + 1
        try db.execute(
          sql: """
            INSERT OR IGNORE INTO record (digest, occurrence, format, text, file, line, time)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            key, occurrence, raw.format.rawValue, raw.text, file.relativePath, raw.row.line,
            Date().timeIntervalSince1970,
          ])
        guard db.changesCount > 0 else {
          report.known += 1
          return
        }
        report.added += 1
        try reader.add(to: db, record: db.lastInsertedRowID)
      }
      guard report.added + report.known > 0 else {
        let first = report.broken.first.map { ":\($0.line): \($0.reason)" } ?? ": it has none"
        throw StoreError(
          .badRequest, "\(report.file)\(first); no row of the file can be used")
      }
      return report
    }
  }
}

extension SampleRow.Completion {
  /// What a samples file says of an answer beside its text.
  var detail: JSONValue {
    var fields: [JSONValue.Field] = []
    if let ids { fields.append(.init("ids", .array(ids.map { .int(Int($0)) }))) }
    if let logProbability { fields.append(.init("logprob", .double(logProbability))) }
    return .object(fields + [.init("finish_reason", .string(finishReason.rawValue))])
  }
}
