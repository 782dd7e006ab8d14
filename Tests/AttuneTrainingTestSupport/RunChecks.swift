// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import AttuneTraining
import Foundation

/// What two runs differ in that should be alike.
public struct Difference: Error, CustomStringConvertible {
  /// In words.
  public let description: String
}

/// The metrics of a run, a dictionary a line, without what depends on the clock or on what judges were
/// asked before.
public func metrics(_ folder: URL) throws -> [[String: Double]] {
  let text = try String(contentsOf: folder.appending(path: "metrics.jsonl"), encoding: .utf8)
  return try text.split(separator: "\n").map { line in
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
    return object.compactMapValues { $0 as? Double }
      .filter {
        $0.key != "time" && !$0.key.hasPrefix("speed/") && !$0.key.hasPrefix("seconds/")
          && !$0.key.hasPrefix("memory/") && !$0.key.hasPrefix("judge/")
      }
  }
}

/// Holds the lines of two runs against one another.
public func checkAgree(
  _ a: [[String: Double]], _ b: [[String: Double]], within tolerance: Double = 1e-4
) throws {
  guard a.count == b.count, a.first?.isEmpty == false else {
    throw Difference(description: "\(a.count) and \(b.count) lines")
  }
  for (a, b) in zip(a, b) {
    guard a.keys == b.keys else { throw Difference(description: "\(a) and \(b)") }
    for (key, value) in a {
      let other = b[key] ?? .nan
      guard abs(value - other) < tolerance * max(1, abs(value)) else {
        throw Difference(description: "\(key): \(value) and \(other)")
      }
    }
  }
}

extension TemporaryFolder {
  /// Trains into `whole`, and into `parts` with a stop after so many questions whether to, for each of
  /// `stops`: both must have written the same, byte for byte.
  ///
  /// - Returns: The reports of both.
  public func checkResume<Report>(
    stops: [Int], weights: String = "model.safetensors",
    _ train: (_ output: URL, _ options: RunOptions) throws -> Report
  ) throws -> (whole: Report, parts: Report) {
    let (whole, parts) = (url.appending(path: "whole"), url.appending(path: "parts"))
    let one = try train(whole, .quiet)
    for count in stops {
      do {
        _ = try train(parts, .stopping(after: count))
        throw Difference(description: "\(count) questions did not stop it")
      } catch let error as TrainingError where error.code == .interrupted {}
    }
    let two = try train(parts, .quiet)
    guard let numbers = bytes("whole/\(weights)"), numbers == bytes("parts/\(weights)") else {
      throw Difference(description: "\(weights) differ")
    }
    let (lines, others) = (try metrics(whole), try metrics(parts))
    guard lines == others else { throw Difference(description: "\(lines) and \(others)") }
    return (one, two)
  }
}
