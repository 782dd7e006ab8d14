// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file read at given places; the size is that at opening, and a file that shrinks afterwards is
/// an error, not a crash as with memory maps.
final class StorageFile: Sendable {
  let path: String
  /// Bytes.
  let size: Int
  private let descriptor: Int32

  /// Opens a file for reading.
  ///
  /// - Throws: `EngineError` that names it.
  init(_ url: URL) throws {
    path = url.path
    let opened = open(url.path, O_RDONLY | O_CLOEXEC)
    guard opened >= 0 else {
      throw EngineError(.file, "\(url.path): \(String(cString: strerror(errno)))")
    }
    descriptor = opened
    var status = stat()
    guard fstat(opened, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      let bytes = Int(exactly: status.st_size)
    else {
      close(opened)
      throw EngineError(.file, "\(url.path): is no regular file")
    }
    size = bytes
  }

  deinit { close(descriptor) }

  /// Fills a buffer from a place in the file. Safe from several threads.
  ///
  /// - Throws: `EngineError` if the file ends before.
  func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    guard let base = buffer.baseAddress else { return }
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, base + done, buffer.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw EngineError(.file, "\(path): \(String(cString: strerror(errno)))")
      }
      guard count > 0 else {
        throw EngineError(
          .badModel, "\(path): ends at byte \(offset + done), \(buffer.count - done) bytes early")
      }
      done += count
    }
  }

  func read(count: Int, at offset: Int) throws -> [UInt8] {
    try [UInt8](count: count) { try read(UnsafeMutableRawBufferPointer($0), at: offset) }
  }

  /// The whole file, if it is no longer than `limit`.
  func readAll(limit: Int) throws -> Data {
    guard size <= limit else {
      throw EngineError(.badModel, "\(path): \(size) bytes are too many, at most \(limit)")
    }
    return Data(try read(count: size, at: 0))
  }
}
