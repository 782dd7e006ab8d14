// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import Foundation

/// What a reference says of every response of a data file, kept beside it: the most costly part of a
/// contrastive run that is the same for every loss, β and seed.
struct ReferenceFile {
  private struct Content: Codable {
    var formatVersion = 1
    /// Fingerprint of the reference and how it is computed, of the tokens and of what is scored of them.
    var key: String
    /// Of each row's responses, in nats.
    var logProbabilities: [[Double]]
  }

  private struct Key: Encodable {
    var reference: String
    /// Of products and of kept matrices: a policy that starts elsewhere than its reference has a loss
    /// and a gradient that are off from the first step on.
    var precision: String
    var basePrecision: String
    var prompts: [[Int32]]
    var answers: [[[Int32]]]
    var scored: [[[[Int]]]]
  }

  /// Where it is: the data's own name with the first letters of the key.
  let url: URL
  private let key: String
  private let counts: [Int]

  /// Names the file.
  ///
  /// - Parameters:
  ///   - data: The data file.
  ///   - reference: The model.
  ///   - groups: The rows as tokens: another tokenizer, template or length is another file, and so
  ///     is another precision.
  init(data: DataFile, reference: LoadedModel, groups: [EncodedGroup]) throws {
    let record = reference.model.engine.record
    key = try Fingerprint.of(
      value: Key(
        reference: reference.fingerprint, precision: record.precision.rawValue,
        basePrecision: record.basePrecision.rawValue, prompts: groups.map(\.prompt),
        answers: groups.map { $0.answers.map(\.ids) },
        scored: groups.map { group in
          group.answers.map { $0.scored.map { [$0.lowerBound, $0.upperBound] } }
        }))
    counts = groups.map(\.answers.count)
    url = data.url.deletingLastPathComponent().appending(
      path: "\(data.url.lastPathComponent).reference-\(key.prefix(12)).json")
  }

  /// What is kept; nil if there is none, or if it is of something else or damaged.
  func read() -> [[Double]]? {
    guard let bytes = try? Data(contentsOf: url),
      let content = try? JSONText.read(Content.self, from: bytes),
      content.formatVersion == 1, content.key == key,
      content.logProbabilities.map(\.count) == counts,
      content.logProbabilities.allSatisfy({ $0.allSatisfy(\.isFinite) })
    else { return nil }
    return content.logProbabilities
  }

  /// Keeps the values.
  ///
  /// - Returns: Why that failed: the data may lie where nothing can be written.
  func write(_ values: [[Double]]) -> String? {
    do {
      let text = try JSONText.line(Content(key: key, logProbabilities: values))
      try AtomicFile.write(text + "\n", to: url)
      return nil
    } catch {
      return "\(error)"
    }
  }
}
