// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneStore
import Foundation
import GRDB
import Testing

/// Files that are damaged, of something else or in use.
@Suite struct StoreFileTests {
  private let bench: Bench

  init() throws { bench = try Bench() }

  private var file: URL { bench.folder.appending(path: "feedback.db") }

  /// A store with so many comparisons, closed.
  private func fill(_ count: Int = 60) throws {
    let rows = (0..<count).map {
      #"{"prompt":"question \#($0)","chosen":"good \#($0)","rejected":"bad \#($0)","labeller":"anna"}"#
    }
    let store = try bench.store()
    _ = try store.importFile(try bench.file("in.jsonl", rows.joined(separator: "\n")))
  }

  private func sqlite(_ statement: String) throws {
    let queue = try DatabaseQueue(path: file.path)
    try queue.write { try $0.execute(sql: statement) }
    try queue.close()
  }

  private func message(create: Bool = true, at url: URL? = nil) -> String {
    do {
      _ = try FeedbackStore(url ?? file, create: create)
      return ""
    } catch {
      return (error as? StoreError)?.message ?? "not a StoreError: \(error)"
    }
  }

  @Test func `the recipe for what can be saved works for any name`() throws {
    try fill()
    var bytes = [UInt8](try Data(contentsOf: file))
    bytes.replaceSubrange(
      bytes.count / 2..<bytes.count, with: repeatElement(0, count: bytes.count / 2))
    let odd = bench.folder.appending(path: "Anna's labels.db")
    try Data(bytes).write(to: odd)
    let told = message(at: odd)
    #expect(
      told.contains("Anna'\\''s labels.db' '.clone \"Anna'\\''s labels-salvaged.db\"'"), "\(told)")
    #expect(told.contains("nothing was written to it"))
  }

  @Test func `every damage that SQLite finds is told, with how to save the rest`() throws {
    try fill()
    let whole = [UInt8](try Data(contentsOf: file))
    var (damaged, indexes) = (0, 0)
    for number in 0..<90 {
      var bytes = whole
      // Places that are spread over the file, in an order of no meaning.
      let place = 100 + (number * 7919) % (bytes.count - 700)
      switch number % 3 {
      case 0: bytes[place] ^= 1 << (number % 8)
      case 1: bytes.replaceSubrange(place..<place + 600, with: [UInt8](repeating: 0, count: 600))
      default: bytes.removeSubrange(place...)
      }
      try Data(bytes).write(to: file)
      for suffix in ["-wal", "-shm"] {
        try? FileManager.default.removeItem(at: URL(filePath: file.path + suffix))
      }
      func check(_ pragma: String) -> Bool {
        let found = try? DatabaseQueue(path: file.path).read {
          try String.fetchAll($0, sql: "PRAGMA \(pragma)")
        }
        return found == ["ok"]
      }
      let isSound = check("integrity_check")
      let told = message()
      #expect(
        isSound || told.hasPrefix("feedback.db: ") || told.contains("/feedback.db: "),
        "\(number): \(told)")
      guard !isSound else { continue }
      damaged += 1
      if check("quick_check") { indexes += 1 }
      #expect(
        told.contains(".clone feedback-salvaged.db") || told.contains("no SQLite file"), "\(told)")
      #expect(try Data(contentsOf: file) == Data(bytes), "a damaged file is left as it is")
    }
    #expect(damaged > 50 && indexes > 0, "\(damaged) \(indexes)")
  }

  @Test func `a store that lacks a trigger or a column is told`() throws {
    try fill(2)
    try sqlite("DROP TRIGGER thumb_no_delete")
    #expect(message().contains("trigger thumb_no_delete is missing"))
    try FileManager.default.removeItem(at: file)
    try fill(2)
    try sqlite("ALTER TABLE comparison RENAME COLUMN margin TO margins")
    #expect(message().contains("table comparison is not what it was"))
  }

  @Test func `what is no store is told and left alone`() throws {
    #expect(message(create: false).contains("there is no such store"))
    #expect(message(at: bench.folder).contains("is a folder"))
    #expect(message(at: URL(filePath: "/dev/null")).contains("no regular file"))
    #expect(message(at: bench.folder.appending(path: "none/f.db")).contains("there is no folder"))
    try Data().write(to: file)
    #expect(message(create: false).contains("is empty"))
    // Killed before it wrote anything: the same command goes on.
    #expect(message() == "")
    try FileManager.default.removeItem(at: file)
    try sqlite("CREATE TABLE songs (title TEXT)")
    let before = try Data(contentsOf: file)
    #expect(message().contains("a SQLite database of something else"))
    #expect(try Data(contentsOf: file) == before)
  }

  @Test func `a later version's store is told`() throws {
    try fill(2)
    try sqlite("INSERT INTO grdb_migrations VALUES ('99: something new')")
    #expect(message().contains("a later version of Attune made this store"))
  }

  @Test(.enabled(if: geteuid() != 0)) func `a store that can't be written is told`() throws {
    try fill(2)
    try FileManager.default.setAttributes([.posixPermissions: 0o444], ofItemAtPath: file.path)
    #expect(message().contains("can't be written"))
  }

  @Test func `one process at a time asks out of a store, by whichever name of it`() throws {
    let store = try bench.store()
    let link = bench.folder.appending(path: "link.db")
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: file)
    var lock: FileLock? = try store.lock()
    for other in [store, try FeedbackStore(link)] {
      let error = #expect(throws: StoreError.self) { try other.lock() }
      #expect(error?.code == .inUse)
      #expect(error?.message.contains("process \(getpid()) asks people") == true)
    }
    #expect(lock != nil)
    // What others may still do.
    let rows = try bench.file("in.jsonl", #"{"prompt":"p","chosen":"a","rejected":"b"}"#)
    #expect(try FeedbackStore(file).importFile(rows).added == 1)
    lock = nil
    _ = try FeedbackStore(link).lock()
    let left = try FileManager.default.contentsOfDirectory(atPath: bench.folder.path)
    #expect(!left.contains { $0.hasSuffix(".lock") }, "\(left)")
  }
}

@Suite struct AnnotatorNamesTests {
  @Test func `names that differ in case, space or composition are one person's`() {
    var names = AnnotatorNames(["Ann", "Zoë"])
    for name in ["ann", "ANN", " Ann "] { #expect(names.spelling(of: name) == "Ann") }
    #expect(Array(names.spelling(of: "zoe\u{308}").utf8) == Array("Zoë".utf8))
    #expect(names.spelling(of: "Straße") == "Straße" && names.known("STRASSE") == "Straße")
    #expect(names.known("Anne") == nil && names.spelling(of: "Anne") == "Anne")
  }

  @Test func `their labels are one annotator's in statistics, and theirs to take back`()
    async throws
  {
    let bench = try Bench()
    let store = try bench.store()
    func submit(_ prompt: String, by name: String) async throws -> Int64 {
      let shown = try bench.answers(["a", "b"], to: prompt, in: store)
      return try await store.submit(
        Submission(
          key: prompt, annotator: name, prompt: shown.prompt, answers: shown.answers.map(\.number),
          verdict: .comparison(.preferred, ranks: [1, 2], strength: nil), time: 1000,
          milliseconds: prompt == "p" ? 400 : 4000)
      ).number
    }
    let first = try await submit("p", by: "Ann")
    let second = try await submit("q", by: "ann")
    #expect(first != second)
    #expect(try store.statistics().annotators.map(\.name) == ["Ann"])
    let pace = try #require(store.paces().first)
    #expect(try store.paces().count == 1 && pace.name == "Ann")
    #expect(pace.timed == 2 && pace.hasty == 1)
    #expect(try store.statistics().annotators.map(\.hasty) == [1])
    #expect(try store.statistics().text().contains("1 in less than a second"))
    let taken = try await store.withdraw(
      second, isThumb: false, annotator: "Ann", key: "k", time: 1001)
    #expect(taken.isNew)
    await #expect(throws: StoreError.self) {
      try await store.withdraw(first, isThumb: false, annotator: "Anne", key: "k", time: 1001)
    }
  }
}
