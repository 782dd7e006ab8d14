// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import Foundation

/// A file written beside its place and renamed onto it once it is whole and on the disk: under the
/// final name there is the old file or the new one, never a part.
///
/// Everything that Attune replaces is written by this. A killed process leaves its part behind, as
/// `.NAME.PID.NUMBER.part`; the lock that its writer holds on a part dies with the process, so that
/// the next one knows what nobody writes any more (`removeParts`).
///
/// Where several processes make one run all of them write the same, and rank 0 alone puts it on the disk;
/// an error on the way is told by `finish`, to all.
package final class AtomicFile {
  private let path: String
  private let part: String
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private let bufferSize = 1 << 20
  private let ranks = Collective.current
  private var earlier: (any Error)?

  /// Opens the file beside `url`, whose folder must exist, and takes away what killed processes left
  /// of it there.
  ///
  /// - Throws: `FileError` that names it.
  package init(_ url: URL) throws {
    path = url.path
    let folder = url.deletingLastPathComponent()
    let name = url.lastPathComponent
    part =
      folder.appendingPathComponent(".\(name).\(getpid()).\(UInt32.random(in: 0 ... .max)).part")
      .path
    descriptor = -1
    try writing {
      Self.removeParts(of: name, in: folder)
      repeat {
        descriptor = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure() }
        // Some network file systems have no locks: there parts stay.
        flock(descriptor, LOCK_EX)
      } while wasRemovedBeforeItWasLocked
    }
  }

  /// Does a part of the work, on rank 0.
  private func writing(_ body: () throws -> Void) throws {
    guard ranks.rank == 0, earlier == nil else { return }
    do {
      try body()
    } catch {
      guard !ranks.isAlone else { throw error }
      earlier = error
    }
  }

  /// Whether another process took the part for a dead one's and removed it.
  private var wasRemovedBeforeItWasLocked: Bool {
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_nlink == 0 else { return false }
    close(descriptor)
    return true
  }

  deinit {
    if descriptor >= 0 {
      unlink(part)
      close(descriptor)
    }
  }

  /// Appends bytes.
  ///
  /// - Throws: `FileError` if they cannot be written; the file is then gone.
  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    try writing {
      if buffer.count + bytes.count < bufferSize {
        buffer.append(contentsOf: bytes)
        return
      }
      try flush()
      try writeThrough(bytes)
    }
  }

  package func write(_ data: Data) throws {
    try data.withUnsafeBytes { try write($0) }
  }

  /// Puts the file under its name.
  ///
  /// - Throws: `FileError`; what was under the name before is then still there.
  package func finish() throws {
    try ranks.first {
      if let earlier { throw earlier }
      try publish()
    }
  }

  private func publish() throws {
    try flush()
    guard fsync(descriptor) == 0, rename(part, path) == 0 else { throw failure() }
    // Closed, and so unlocked, only now that no other process can take it for a dead one's.
    close(descriptor)
    descriptor = -1
    // The rename itself lasts once the folder is on the disk; not every file system can say so.
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    let opened = open(folder, O_RDONLY | O_CLOEXEC)
    if opened >= 0 {
      _ = fsync(opened)
      close(opened)
    }
  }

  private func flush() throws {
    guard !buffer.isEmpty else { return }
    try buffer.withUnsafeBytes { try writeThrough($0) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws {
    guard Self.writeAll(bytes, to: descriptor) else { throw failure() }
  }

  /// Whether all bytes were written; if not, `errno` says why.
  private static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    var done = 0
    while done < bytes.count {
      // Linux writes at most 2 GB at once.
      let count = Foundation.write(descriptor, base + done, min(bytes.count - done, 1 << 30))
      if count < 0 {
        if errno == EINTR { continue }
        return false
      }
      done += count
    }
    return true
  }

  private func failure() -> FileError {
    switch errno {
    case ENOSPC: FileError("\(path): can't be written: the disk is full")
    case EFBIG:
      FileError(
        "\(path): can't be written: larger than a file may be here (ulimit -f, or the file system's "
          + "own limit)")
    default: FileError("can't be written", path)
    }
  }
}

extension AtomicFile {
  /// Writes a whole file at once; a device or a pipe is written to as it is.
  ///
  /// - Throws: `FileError` if it can't be written; nothing is then left under its name.
  package static func write(_ data: Data, to url: URL) throws {
    var status = stat()
    if stat(url.path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      return try Collective.current.first {
        let descriptor = open(url.path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("can't be written", url.path) }
        defer { close(descriptor) }
        try write(data, to: descriptor, name: url.path)
      }
    }
    let file = try AtomicFile(url)
    try file.write(data)
    try file.finish()
  }

  /// Writes a whole text file at once.
  ///
  /// - Throws: `FileError` if it can't be written.
  package static func write(_ text: String, to url: URL) throws {
    try write(Data(text.utf8), to: url)
  }

  /// Makes a folder and those above it.
  ///
  /// - Throws: `FileError` if it can't be made.
  package static func makeFolder(_ url: URL) throws {
    try Collective.current.first {
      do {
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      } catch {
        throw FileError("\(url.path): the folder can't be made: \(reason(error))")
      }
    }
  }

  /// Writes all bytes to an open file.
  package static func write(_ data: Data, to descriptor: Int32, name: String) throws {
    guard data.withUnsafeBytes({ writeAll($0, to: descriptor) }) else {
      throw FileError("can't be written", name)
    }
  }
}

extension AtomicFile {
  /// Whether a file's name is that of a part.
  package static func isPart(_ name: String) -> Bool {
    name.wholeMatch(of: /\..+\.[0-9]+\.[0-9]+\.part/) != nil
  }

  /// Removes the parts in a folder that killed processes left; those that are being written stay.
  ///
  /// - Parameters:
  ///   - name: Only those of this file; nil: of all.
  ///   - folder: Where they are.
  ///   - depth: How many levels of folders below it are looked through too.
  package static func removeParts(of name: String? = nil, in folder: URL, depth: Int = 0) {
    guard let directory = opendir(folder.path) else { return }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let type = Int32(entry.pointee.d_type)
      let found = withUnsafePointer(to: &entry.pointee.d_name) {
        String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if type == DT_DIR, depth > 0, !found.hasPrefix(".") {
        removeParts(of: name, in: folder.appendingPathComponent(found), depth: depth - 1)
      } else if type == DT_REG || type == DT_UNKNOWN, found.hasSuffix(".part"), isPart(found),
        name.map({ found.hasPrefix(".\($0).") }) ?? true
      {
        removeIfDead(folder.appendingPathComponent(found).path)
      }
    }
  }

  private static func removeIfDead(_ part: String) {
    let descriptor = open(part, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unlink(part) }
    close(descriptor)
  }
}
