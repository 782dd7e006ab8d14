// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

/// Where a session's runs keep their checkpoints: a folder of the app's, or a temporary one that goes with
/// the session.
final class SessionFolder: Sendable {
  private let url: URL
  private let isTemporary: Bool

  init(_ url: URL?) {
    isTemporary = url == nil
    self.url =
      url
      ?? FileManager.default.temporaryDirectory.appending(
        path: "attune-\(UUID().uuidString)", directoryHint: .isDirectory)
  }

  deinit {
    if isTemporary { try? FileManager.default.removeItem(at: url) }
  }

  /// The folder of a run.
  ///
  /// - Throws: `FileError` if it can't be made.
  func folder(of digest: String) throws -> URL {
    try AtomicFile.makeFolder(url)
    return url.appending(path: String(digest.prefix(16)), directoryHint: .isDirectory)
  }
}
