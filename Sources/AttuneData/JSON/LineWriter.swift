// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Writes a file of JSON lines that is whole or not there: rows go to a file beside, which is
/// flushed to the disk and renamed by ``finish()``. A writer that is dropped before removes it.
/// What is no regular file (`/dev/stdout`, a pipe) is written to as it is.
public final class LineWriter {
  private let path: String
  private let name: String
  /// The file beside; nil where it is written to as it is.
  private let beside: String?
  private var descriptor: Int32
  private var buffer: [UInt8] = []

  /// Opens a file for writing.
  ///
  /// - Throws: ``DataError`` if there can be no such file.
  public init(_ url: URL) throws {
    name = url.relativePath
    path = url.resolvingSymlinksInPath().path
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT == S_IFDIR {
      throw DataError(.file, "\(name): is a folder, so no file can be written under this name")
    }
    if exists, status.st_mode & S_IFMT != S_IFREG {
      beside = nil
      descriptor = open(path, O_WRONLY | O_CLOEXEC)
    } else {
      let final = URL(filePath: path)
      let other = final.deletingLastPathComponent()
        .appending(path: ".\(final.lastPathComponent).\(getpid()).part").path
      beside = other
      descriptor = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    }
    if descriptor < 0 { throw failure("cannot be written") }
  }

  deinit { abandon() }

  /// Writes a row.
  ///
  /// - Throws: ``DataError`` if the disk takes no more; nothing is left under the final name.
  public func write(_ row: some JSONRow) throws { try write(row.json) }

  /// Writes an object, or any JSON value, as one line.
  public func write(_ value: JSONValue) throws {
    value.write(into: &buffer)
    buffer.append(10)
    if buffer.count >= 1 << 16 { try flush() }
  }

  /// Hands on what is buffered, for readers of a pipe.
  public func flush() throws {
    if descriptor < 0 { throw DataError(.file, "\(name): written to after it was closed") }
    var done = 0
    while done < buffer.count {
      let count = buffer.withUnsafeBytes { bytes in
        Foundation.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        let error = failure("cannot be written")
        abandon()
        throw error
      }
      done += count
    }
    buffer.removeAll(keepingCapacity: true)
  }

  /// Flushes all to the disk and puts the file under its name.
  ///
  /// - Throws: ``DataError`` if that fails; nothing is left under the final name.
  public func finish() throws {
    try flush()
    guard let beside else {
      _ = close(descriptor)
      descriptor = -1
      return
    }
    let isFlushed = fsync(descriptor) == 0
    let isClosed = close(descriptor) == 0
    descriptor = -1
    guard isFlushed, isClosed, rename(beside, path) == 0 else {
      let error = failure("cannot be written")
      unlink(beside)
      throw error
    }
    // The folder's entry too, so that the name outlives a power cut.
    let folder = open(URL(filePath: path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      _ = close(folder)
    }
  }

  private func abandon() {
    guard descriptor >= 0 else { return }
    _ = close(descriptor)
    descriptor = -1
    if let beside { unlink(beside) }
  }

  private func failure(_ what: String) -> DataError {
    DataError(.file, "\(name): \(what): \(String(cString: strerror(errno)))")
  }
}
