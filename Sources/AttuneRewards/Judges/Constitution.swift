// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneObjectives
import AttuneTraining
public import Foundation

/// Written principles that an AI judge reads: a text file, one a line.
///
/// Paper: Bai et al. 2022 (Constitutional AI), arXiv:2212.08073.
public struct Constitution: Sendable, Equatable {
  /// The principles, each a sentence that says what a better answer is like.
  public let principles: [String]

  /// Reads a text: a principle a line, empty lines and those that begin with # left out.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - name: What it is called in errors.
  /// - Throws: `TrainingError.badData` if there is no principle in it.
  public init(text: String, name: String) throws {
    principles = text.split(whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty && !$0.hasPrefix("#") }
    guard !principles.isEmpty else {
      throw TrainingError(
        .badData, "\(name): has no principle; write one a line, in words that a judge can read")
    }
  }

  /// Reads a file.
  ///
  /// - Throws: `TrainingError` if it can't be read, is no UTF-8 text or has no principle.
  public init(contentsOf url: URL) throws {
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be read: \(reason(error))")
    }
    guard let text = String(data: data, encoding: .utf8) else {
      throw TrainingError(.badData, "\(url.path): is no UTF-8 text")
    }
    try self.init(text: text, name: url.path)
  }

  /// Attune's own sixteen principles: harmless, honest, helpful, respectful, humble.
  public static var standard: Constitution {
    get throws {
      try Constitution(
        text: String(decoding: PackageResources.constitution_txt, as: UTF8.self),
        name: "the standard constitution")
    }
  }

  /// The constitution that settings name: a file, or the standard one.
  package static func named(_ path: String) throws -> Constitution {
    path.isEmpty ? try standard : try Constitution(contentsOf: URL(filePath: path))
  }

  /// Different principles, drawn by a counter-based generator.
  ///
  /// - Parameters:
  ///   - count: How many; all of them in random order if there are fewer.
  ///   - random: The draws: numbers 0, 1, … of it are used.
  /// - Returns: Their places.
  func draw(_ count: Int, _ random: CounterRandom) -> [Int] {
    Array(random.shuffled(principles.indices).prefix(count))
  }
}
