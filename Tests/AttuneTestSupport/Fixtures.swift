// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files under Tests/Fixtures, found from this source file, so that no bundle is needed.
public enum Fixtures {
  /// The tiny models of every architecture under `models/`.
  public static let models = [
    "ernie", "exaone4", "gemma", "gemma2", "gemma3", "gpt2", "granite", "granite4", "helium",
    "hunyuan",
    "llama-llama3", "llama-tied", "llama-yarn", "ministral", "mistral", "olmo2", "olmo3", "phi3",
    "phi4-mini", "pythia", "qwen2", "qwen3", "smollm3", "stablelm",
  ]

  /// The place of a fixture.
  public static func url(_ path: String) -> URL {
    URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Fixtures").appendingPathComponent(path)
  }
}

extension URL {
  /// Where tests put files: in memory if there is such a place. A run has its files put on the disk one
  /// by one, which takes milliseconds each.
  public static let testFiles =
    FileManager.default.isWritableFile(atPath: "/dev/shm")
    ? URL(filePath: "/dev/shm") : FileManager.default.temporaryDirectory
}

/// Runs a body with a folder that is gone afterwards.
@discardableResult
public func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = URL.testFiles.appendingPathComponent("attune-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
