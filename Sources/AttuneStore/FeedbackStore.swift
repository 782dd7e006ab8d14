// SPDX-License-Identifier: Apache-2.0

package import AttuneFiles
public import Foundation
import GRDB

/// Feedback of people and of models, in one SQLite file that nothing is ever taken out of.
///
/// Rule 1: open a file once in a process. A second store of the same file works, but the two wait
/// for one another. Rule 2: what a function here has written when it returns is on the disk, a power
/// cut notwithstanding (WAL with `synchronous=FULL`). Rule 3: rows are added and never changed, which
/// the file itself enforces by triggers; a changed mind is a row that supersedes another.
public struct FeedbackStore: Sendable {
  /// The file.
  public let url: URL
  let pool: DatabasePool

  /// Opens a store, and makes it where there is none.
  ///
  /// - Parameters:
  ///   - url: The file.
  ///   - create: Whether a store that is not there is made.
  /// - Throws: ``StoreError`` if it is not there, is no store, is damaged, can't be written or is a
  ///   later version's.
  public init(_ url: URL, create: Bool = true) throws {
    self.url = url
    pool = try Self.open(url, create: create)
  }

  /// How many rows each table has.
  public func counts() throws -> [String: Int] {
    try read { db in
      var counts: [String: Int] = [:]
      for table in Schema.tables {
        counts[table] = try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0
      }
      return counts
    }
  }

  /// Runs statements in one transaction.
  func write<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try pool.write(body) } catch let error as DatabaseError {
      throw Self.failure(error, url)
    }
  }

  /// Runs statements in one transaction, on a thread of the database's own.
  func writeAside<Value: Sendable>(
    _ body: @escaping @Sendable (Database) throws -> Value
  ) async throws -> Value {
    do { return try await pool.write(body) } catch let error as DatabaseError {
      throw Self.failure(error, url)
    }
  }

  /// Reads one state of the store.
  func read<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try pool.read(body) } catch let error as DatabaseError {
      throw Self.failure(error, url)
    }
  }
}

extension FeedbackStore {
  /// Takes the right to ask people out of this store: one process at a time has it. Others may still
  /// import, export and count.
  ///
  /// Its lock is on a file beside the store: closing the store itself a second time would drop SQLite's
  /// own locks.
  ///
  /// - Throws: ``StoreError`` that names the process that has it.
  package func lock() throws -> FileLock {
    try FileLock(url.resolvingSymlinksInPath().path + ".lock", namesHolder: true) { holder in
      StoreError(
        .inUse,
        "\(url.relativePath): \(holder) asks people out of this store already; go to its page, or end "
          + "it first")
    }
  }
}
