// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB

/// What is looked at before a file is used as a store, so that none is that is damaged or of something
/// else.
extension FeedbackStore {
  /// Opens a file that ``inspect(_:create:)`` found good, and brings its tables up to date.
  static func open(_ url: URL, create: Bool) throws -> DatabasePool {
    do {
      try inspect(url, create: create)
      var configuration = Configuration()
      configuration.busyMode = .timeout(30)
      configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = FULL") }
      let pool = try DatabasePool(path: url.path, configuration: configuration)
      try Schema.migrator.migrate(pool)
      if let what = try pool.read({ try Schema.difference($0) }) { throw damage(url, what) }
      return pool
    } catch let error as DatabaseError {
      throw failure(error, url)
    }
  }

  /// Looks at a file without writing to it.
  private static func inspect(_ url: URL, create: Bool) throws {
    let (path, name) = (url.path, url.relativePath)
    let folder = url.deletingLastPathComponent()
    var status = stat()
    guard stat(path, &status) == 0 else {
      let code = errno
      guard code == ENOENT, create else {
        throw StoreError(
          .file,
          code == ENOENT
            ? "\(name): there is no such store; `attune feedback import` makes one"
            : "\(name): \(String(cString: strerror(code)))")
      }
      guard FileManager.default.fileExists(atPath: folder.path) else {
        throw StoreError(.file, "\(name): there is no folder \(folder.relativePath)")
      }
      return try requireWritable(folder, of: name)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let what = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "no regular file"
      throw StoreError(.file, "\(name): is \(what); a store is a file")
    }
    try requireWritable(url, of: name)
    // SQLite writes further files beside it.
    try requireWritable(folder, of: name)
    guard status.st_size > 0 else {
      guard create else { throw StoreError(.file, "\(name): is empty, no store of feedback") }
      return
    }
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(30)
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.read { db in
      let tables = try String.fetchSet(
        db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table'"
      )
      .filter { !$0.hasPrefix("sqlite_") && $0 != "grdb_migrations" }
      guard tables.isEmpty || !tables.isDisjoint(with: Schema.tables) else {
        throw StoreError(
          .file, "\(name): is a SQLite database of something else, no store of feedback")
      }
      // Not quick_check: a quarter of the files that this calls bad have only their indexes damaged.
      let found = try String.fetchAll(db, sql: "PRAGMA integrity_check(1)")
      guard found == ["ok"] else {
        // The line before the last names the database, of which there is one.
        let what = found.joined(separator: " ").split(whereSeparator: \.isNewline).last ?? ""
        throw damage(url, "\(what); nothing was written to it")
      }
      guard try !Schema.migrator.hasBeenSuperseded(db) else {
        throw StoreError(
          .file,
          "\(name): a later version of Attune made this store; take that version or a later one")
      }
    }
  }

  private static func requireWritable(_ url: URL, of name: String) throws {
    guard access(url.path, W_OK) != 0 else { return }
    let reason = String(cString: strerror(errno))
    throw StoreError(
      .file,
      "\(name): \(url.relativePath) can't be written (\(reason)); a store is used where it can be: "
        + "copy it with its -wal file if there is one")
  }

  /// That a file is damaged, and how to save what can be read. By `.clone`, which goes through the rows
  /// from both ends: Debian's `sqlite3` is built without what `.recover` needs.
  private static func damage(_ url: URL, _ what: String) -> StoreError {
    let name = url.relativePath
    let salvaged = url.deletingPathExtension().lastPathComponent + "-salvaged.db"
    // SQLite's shell parts its own commands at spaces.
    let clone = salvaged.contains(" ") ? ".clone \"\(salvaged)\"" : ".clone \(salvaged)"
    func quoted(_ word: String) -> String { "'\(word.replacing("'", with: #"'\''"#))'" }
    return StoreError(
      .file,
      "\(name): this store is damaged (\(what)). Take a copy that is whole, or save the rows that can "
        + "be read: sqlite3 \(quoted(name)) \(quoted(clone))")
  }

  /// What SQLite says, in words.
  static func failure(_ error: DatabaseError, _ url: URL) -> StoreError {
    let name = url.relativePath
    let what = error.message ?? "SQLite error \(error.resultCode.rawValue)"
    switch error.resultCode {
    case .SQLITE_CORRUPT: return damage(url, what)
    case .SQLITE_NOTADB:
      return StoreError(
        .file,
        "\(name): not usable as a store of feedback: it is no SQLite file, or its beginning is damaged"
      )
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      return StoreError(
        .file, "\(name): another process has been writing to it for more than 30 s; try again later"
      )
    case .SQLITE_FULL: return StoreError(.file, "\(name): the disk is full")
    default: return StoreError(.file, "\(name): not usable as a store of feedback: \(what)")
    }
  }
}
