// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import Foundation
import Synchronization

/// A model of random weights over bytes, small enough for a test.
public func tinyModel(seed: UInt64 = 1, width: Int = 32, layers: Int = 2) throws -> LoadedModel {
  try LoadedModel.random(
    TransformerSpec(
      architecture: .llama, vocabularySize: 259, width: width, layers: layers, heads: 4,
      keyValueHeads: 2, mlpWidth: 2 * width, maximumPositions: 128, tiedHead: true),
    seed: seed, on: NativeEngine())
}

/// A table over bytes, for what a trainer does whatever the model is.
public func tableModel(seed: UInt64 = 1) throws -> LoadedModel {
  try LoadedModel.random(
    TabularEngine.spec(vocabulary: 259), seed: seed, on: TabularEngine(gain: 8))
}

extension RunOptions {
  /// Silent.
  public static var quiet: RunOptions {
    var options = RunOptions()
    options.progress = .silent
    options.shouldStop = { false }
    return options
  }

  /// Asks for a stop after being asked so many times.
  public static func stopping(after count: Int) -> RunOptions {
    var options = quiet
    let asked = Counter()
    options.shouldStop = { asked.next() >= count }
    return options
  }
}

/// Counts calls.
public final class Counter: Sendable {
  private let count = Atomic<Int>(0)

  public init() {}

  public func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}

extension TemporaryFolder {
  /// A data file of rows given as JSON.
  public func rows(_ name: String, _ rows: [String]) throws -> DataFile {
    try DataFile.read(file(name, rows.joined(separator: "\n") + "\n"))
  }
}

/// The metrics of a run, a dictionary a line, without what depends on the clock.
public func metrics(_ folder: URL) throws -> [[String: Double]] {
  let text = try String(contentsOf: folder.appending(path: "metrics.jsonl"), encoding: .utf8)
  return try text.split(separator: "\n").map { line in
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
    return object.compactMapValues { $0 as? Double }
      .filter {
        $0.key != "time" && !$0.key.hasPrefix("speed/") && !$0.key.hasPrefix("seconds/")
          && !$0.key.hasPrefix("memory/")
      }
  }
}
