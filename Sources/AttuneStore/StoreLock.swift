// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Keeps a second process from asking people out of the same store, for as long as it is held.
///
/// A lock on a file beside the store (`flock`), which goes with the process however it ends. Not on the
/// store itself: closing that file a second time would drop SQLite's own locks.
package final class StoreLock: Sendable {
  private let descriptor: Int32
  private let path: String

  /// Takes the lock of a store.
  init(_ store: URL) throws {
    path = store.resolvingSymlinksInPath().path + ".lock"
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else {
        throw StoreError(.file, "\(path): can't be written: \(String(cString: strerror(errno)))")
      }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        let code = errno
        let holder = Self.holder(descriptor)
        close(descriptor)
        guard code == EWOULDBLOCK || code == EINTR else {
          throw StoreError(.file, "\(path): can't be locked: \(String(cString: strerror(code)))")
        }
        throw StoreError(
          .inUse,
          "\(store.relativePath): \(holder) asks people out of this store already; go to its page, or end "
            + "it first")
      }
      // Whoever held it may have removed the file meanwhile: a lock on that would keep nobody out.
      if Self.isFile(descriptor, at: path) {
        self.descriptor = descriptor
        break
      }
      close(descriptor)
    }
    let text = Array("\(getpid())\n".utf8)
    ftruncate(descriptor, 0)
    _ = pwrite(descriptor, text, text.count, 0)
  }

  deinit {
    unlink(path)
    close(descriptor)
  }

  private static func holder(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    guard let process = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      return "another process"
    }
    return "process \(process)"
  }

  private static func isFile(_ descriptor: Int32, at path: String) -> Bool {
    var (ours, there) = (stat(), stat())
    return fstat(descriptor, &ours) == 0 && stat(path, &there) == 0
      && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev
  }
}

extension FeedbackStore {
  /// Takes the right to ask people out of this store: one process at a time has it. Others may still
  /// import, export and count.
  ///
  /// - Throws: ``StoreError`` that names the process that has it.
  package func lock() throws -> StoreLock { try StoreLock(url) }
}
