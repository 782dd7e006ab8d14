// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// The learning curve that `attune reward --json` printed.
public enum LearningCurveFile {
  private struct Contents: Decodable {
    struct Point: Decodable {
      var pairs: Double
      var accuracy: Double
    }
    var learning_curve: [Point]
  }

  /// Reads the points: numbers of pairs and the accuracy after them.
  ///
  /// - Throws: ``StoreError`` if the file can't be read or has no `learning_curve`.
  public static func read(_ url: URL) throws -> [(labels: Double, accuracy: Double)] {
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw StoreError(.file, "\(url.relativePath): can't be read")
    }
    guard let contents = try? JSONDecoder().decode(Contents.self, from: data) else {
      throw StoreError(
        .badRequest,
        "\(url.relativePath): expected {\"learning_curve\":[{\"pairs\",\"accuracy\"}, …]}, as "
          + "`attune reward --json` prints")
    }
    return contents.learning_curve.map { ($0.pairs, $0.accuracy) }
  }
}
