// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
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
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure("can't be written", path) }
      defer { close(descriptor) }
      return try write(data, to: descriptor, name: path)
    }
    do {
      try AtomicFileWriter.write(data, to: url)
    } catch let error as EngineError {
      throw TrainingError(.file, error.message)
    }
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
}
