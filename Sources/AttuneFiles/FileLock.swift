// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Keeps other processes out for as long as it is held: a lock on a file (`flock`), which goes with
/// the process however it ends.
package final class FileLock: Sendable {
  private let descriptor: Int32
  private let path: String
  private let namesHolder: Bool

  /// Takes the lock.
  ///
  /// - Parameters:
  ///   - path: Its file, which is made where there is none.
  ///   - namesHolder: Whether the file says whose it is while it is held, and goes with the lock.
  ///   - held: The error where another process has it, of that process's name: `process 123` where the
  ///     file says it.
  /// - Throws: That error, or `FileError` if the file can't be written or locked.
  package init(_ path: String, namesHolder: Bool = false, held: (String) -> any Error) throws {
    self.path = path
    self.namesHolder = namesHolder
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw FileError("can't be written", path) }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        let isHeld = errno == EWOULDBLOCK || errno == EINTR
        let error = FileError("can't be locked", path)
        let holder = Self.holder(descriptor)
        close(descriptor)
        throw isHeld ? held(holder) : error
      }
      // Whoever held it may have removed the file meanwhile: a lock on that would keep nobody out.
      if Self.isFile(descriptor, at: path) {
        self.descriptor = descriptor
        break
      }
      close(descriptor)
    }
    guard namesHolder else { return }
    let text = Array("\(getpid())\n".utf8)
    ftruncate(descriptor, 0)
    _ = pwrite(descriptor, text, text.count, 0)
  }

  deinit {
    if namesHolder { unlink(path) }
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
