// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Files that are whole or not there: written beside, flushed to the disk, renamed.
public enum AtomicFile {
  /// Writes a file.
  ///
  /// - Throws: `TrainingError` if it can't be written; nothing is then left under its name.
  public static func write(_ data: Data, to url: URL) throws {
    let path = url.path
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      // A device or a pipe is written to as it is.
      try put(data, path: path, flags: O_WRONLY, name: path)
      return
    }
    let beside = url.deletingLastPathComponent().appending(
      path: ".\(url.lastPathComponent).\(getpid()).part"
    ).path
    do {
      try put(data, path: beside, flags: O_WRONLY | O_CREAT | O_TRUNC, name: path)
      guard rename(beside, path) == 0 else { throw failure("can't be written", path) }
    } catch {
      unlink(beside)
      throw error
    }
    flushFolder(of: url)
  }

  /// Writes a text file.
  ///
  /// - Throws: `TrainingError` if it can't be written.
  public static func write(_ text: String, to url: URL) throws {
    try write(Data(text.utf8), to: url)
  }

  /// Makes a folder and those above it.
  ///
  /// - Throws: `TrainingError` if it can't be made.
  public static func makeFolder(_ url: URL) throws {
    do {
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    } catch {
      throw TrainingError(.file, "\(url.path): the folder can't be made: \(reason(error))")
    }
  }

  /// Flushes a folder's own entries, so that a rename outlives a power cut.
  package static func flushFolder(of url: URL) {
    let folder = open(url.deletingLastPathComponent().path, O_RDONLY)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  /// Writes all bytes to an open file.
  static func write(_ data: Data, to descriptor: Int32, name: String) throws {
    try data.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = Foundation.write(
          descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw failure("can't be written", name) }
        done += count
      }
    }
  }

  /// The error of the last system call.
  static func failure(_ what: String, _ name: String) -> TrainingError {
    TrainingError(.file, "\(name): \(what): \(String(cString: strerror(errno)))")
  }

  private static func put(_ data: Data, path: String, flags: Int32, name: String) throws {
    let descriptor = open(path, flags, 0o644)
    guard descriptor >= 0 else { throw failure("can't be written", name) }
    defer { close(descriptor) }
    try write(data, to: descriptor, name: name)
    // Devices can't be flushed and say so.
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else {
      throw failure("can't be written", name)
    }
  }
}
