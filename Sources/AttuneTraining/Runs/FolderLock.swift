// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
package import Foundation

/// Keeps a second process out of a folder for as long as it lives; who holds it clears away what
/// killed processes left half-written there.
package final class FolderLock {
  /// The lock's file, which stays.
  static let name = ".lock"
  /// How deep a run's files lie: `round-1/policy/checkpoint.safetensors`.
  private static let depth = 3
  private let descriptor: Int32

  /// Takes the lock.
  ///
  /// - Parameter folder: A folder that exists.
  /// - Throws: `TrainingError` if another process holds it.
  package init(_ folder: URL) throws {
    let path = folder.appending(path: Self.name).path
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw AtomicFile.failure("can't be written", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let isHeld = errno == EWOULDBLOCK
      let error = AtomicFile.failure("can't be locked", path)
      close(descriptor)
      throw isHeld
        ? TrainingError(
          .badOutput, "\(folder.path): another process is at work in this folder") : error
    }
    AtomicFileWriter.removeParts(in: folder, depth: Self.depth)
  }

  deinit { close(descriptor) }
}
