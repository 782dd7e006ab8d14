// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Keeps a second process out of a folder for as long as it lives.
final class FolderLock {
  private let descriptor: Int32

  init(_ folder: URL) throws {
    let path = folder.appending(path: ".lock").path
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw AtomicFile.failure("can't be written", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw TrainingError(
        .badOutput, "\(folder.path): another process is at work in this folder")
    }
  }

  deinit { close(descriptor) }
}
