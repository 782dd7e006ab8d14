// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// A file written beside its place and renamed onto it once it is whole and on the disk: under the
/// final name there is the old file or the new one, never a part.
package final class AtomicFileWriter {
  private let path: String
  private let partial: String
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private let bufferSize = 1 << 20

  /// Opens the file beside `url`; its folder must exist.
  ///
  /// - Throws: `EngineError` that names it.
  package init(_ url: URL) throws {
    path = url.path
    let folder = url.deletingLastPathComponent()
    partial =
      folder.appendingPathComponent(
        ".\(url.lastPathComponent).\(getpid()).\(UInt32.random(in: 0 ... .max)).partial"
      ).path
    descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure() }
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(partial)
    }
  }

  /// Appends bytes.
  ///
  /// - Throws: `EngineError` if they cannot be written; the file is then gone.
  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    if buffer.count + bytes.count < bufferSize {
      buffer.append(contentsOf: bytes)
      return
    }
    try flush()
    try writeThrough(bytes)
  }

  package func write(_ data: Data) throws {
    try data.withUnsafeBytes { try write($0) }
  }

  /// Puts the file under its name.
  ///
  /// - Throws: `EngineError`; what was under the name before is then still there.
  package func finish() throws {
    try flush()
    guard fsync(descriptor) == 0 else { throw failure() }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, rename(partial, path) == 0 else {
      let error = failure()
      unlink(partial)
      throw error
    }
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
    guard let base = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      // Linux writes at most 2 GB at once.
      let part = min(bytes.count - done, 1 << 30)
      #if canImport(Darwin)
        let count = Darwin.write(descriptor, base + done, part)
      #else
        let count = Glibc.write(descriptor, base + done, part)
      #endif
      if count < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      done += count
    }
  }

  private func failure() -> EngineError {
    let reason = errno == ENOSPC ? "the disk is full" : String(cString: strerror(errno))
    return EngineError(.file, "\(path): not written: \(reason)")
  }

  /// Writes a whole file at once.
  package static func write(_ data: Data, to url: URL) throws {
    let file = try AtomicFileWriter(url)
    try file.write(data)
    try file.finish()
  }
}
