// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneFiles
package import Foundation

/// Keeps a second process out of a folder for as long as it lives; who holds it clears away what
/// killed processes left half-written there.
package struct FolderLock {
  /// The lock's file, which stays.
  static let name = ".lock"
  /// How deep a run's files lie: `round-1/policy/checkpoint.safetensors`.
  private static let depth = 3
  /// That of rank 0, where several processes are at work in the folder together.
  private let lock: FileLock?

  /// Takes the lock.
  ///
  /// - Parameter folder: A folder that exists.
  /// - Throws: `TrainingError` if another process holds it.
  package init(_ folder: URL) throws {
    var taken: FileLock?
    try Collective.current.first {
      taken = try FileLock(folder.appending(path: Self.name).path) { _ in
        TrainingError(.badOutput, "\(folder.path): another process is at work in this folder")
      }
      AtomicFile.removeParts(in: folder, depth: Self.depth)
    }
    lock = taken
  }
}
