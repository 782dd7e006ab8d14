// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import Foundation

/// A row that is well formed and of no use to a trainer: it is passed over, counted and named.
public struct PassedOver: Error, Sendable, CustomStringConvertible {
  /// The line of the data file.
  public var line: Int
  /// Why, in words that rows of a kind share.
  public var reason: String

  /// Passes a row over.
  public init(_ line: Int, _ reason: String) {
    self.line = line
    self.reason = reason
  }

  /// Line and reason.
  public var description: String { "line \(line): \(reason)" }
}

/// What became of every row of a data file: those read are those trained on, held out and left out.
public struct RowAccount: Codable, Sendable, Equatable {
  /// Rows left out for one reason.
  public struct LeftOut: Codable, Sendable, Equatable {
    /// Why.
    public var reason: String
    /// How many rows.
    public var rows: Int
    /// The line of the first of them.
    public var firstLine: Int
  }

  /// Rows of the file.
  public var read: Int
  /// Rows trained on.
  public var trained = 0
  /// Rows held out.
  public var heldOut = 0
  /// Rows left out, by reason.
  public private(set) var leftOut: [LeftOut] = []

  /// Begins with a file, whose unusable rows are left out.
  package init(_ data: DataFile) {
    read = data.rows.count + data.skipped.count
    for row in data.skipped { leaveOut(line: row.line, row.reason) }
  }

  /// Rows left out for whatever reason.
  public var leftOutRows: Int { leftOut.reduce(0) { $0 + $1.rows } }

  /// Leaves a row out.
  mutating func leaveOut(line: Int, _ reason: String) {
    if let place = leftOut.firstIndex(where: { $0.reason == reason }) {
      leftOut[place].rows += 1
    } else {
      leftOut.append(LeftOut(reason: reason, rows: 1, firstLine: line))
    }
  }

  /// Encodes the rows of a file one by one and leaves out those that are passed over.
  ///
  /// - Parameters:
  ///   - data: The file.
  ///   - encode: Encodes a row.
  /// - Throws: `TrainingError` that names the file.
  package mutating func rows<T>(_ data: DataFile, _ encode: (DataRow) throws -> T) throws -> [T] {
    try data.rows.compactMap { row in
      do {
        return try encode(row)
      } catch let error as PassedOver {
        leaveOut(line: error.line, error.reason)
        return nil
      } catch let error as TrainingError {
        throw TrainingError(error.code, "\(data.url.path), \(error.message)")
      }
    }
  }

  /// Counts the rows of a run by their numbers.
  package mutating func count(trained: some Sequence<Int>, heldOut: some Sequence<Int>) {
    self.trained = Set(trained).count
    self.heldOut = Set(heldOut).count
  }

  /// One line for people; nil if every row is used.
  package func summary(of file: String) -> String? {
    guard let first = leftOut.first else { return nil }
    let reasons = leftOut.map {
      "\($0.reason) (\($0.rows), \($0.rows == 1 ? "line" : "the first in line") \($0.firstLine))"
    }
    return leftOut.count == 1 && first.rows == 1
      ? "\(file): 1 of \(read) rows is passed over: \(first.reason) (line \(first.firstLine))"
      : "\(file): \(leftOutRows) of \(read) rows are passed over: "
        + reasons.joined(separator: "; ")
  }
}
