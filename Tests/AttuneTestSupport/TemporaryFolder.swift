// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A folder that goes when the test is over.
public final class TemporaryFolder {
  /// Where it is.
  public let url: URL

  /// Makes one.
  public init() throws {
    url = URL.testFiles.appending(path: "attune-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// Puts a text file into it.
  public func file(_ name: String, _ text: String) -> URL {
    let file = url.appending(path: name)
    _ = FileManager.default.createFile(atPath: file.path, contents: Data(text.utf8))
    return file
  }

  /// What a file in it holds; nil where there is none.
  public func bytes(_ path: String) -> Data? {
    try? Data(contentsOf: url.appending(path: path))
  }

  /// Whether there is such a file in it.
  public func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: url.appending(path: path).path)
  }
}
