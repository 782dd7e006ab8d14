// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
public import Foundation

/// VADER's lexicon: the mean rating of each word and emoticon, and what emoji are called.
///
/// Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
/// Media Text"; the files are those of its Python package (MIT), fetched by `attune pull vader`.
public struct SentimentLexicon: Sendable {
  /// Ratings from about −4 to 4 by word.
  let ratings: [String: Double]
  /// Descriptions of emoji that are one code point.
  let emoji: [Unicode.Scalar: String]

  /// Reads the two files of a folder.
  ///
  /// - Parameter folder: Where `vader_lexicon.txt` and `emoji_utf8_lexicon.txt` are.
  /// - Throws: `TrainingError` that names the file and line, or says how to fetch them.
  public init(folder: URL) throws {
    func lines(_ name: String) throws -> [Substring] {
      let url = folder.appending(path: name)
      guard let data = try? Data(contentsOf: url) else {
        throw TrainingError(
          .unavailable, "\(url.path): can't be read; run `attune pull vader` to fetch the lexicon")
      }
      return String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
    }
    var ratings: [String: Double] = [:]
    for (number, line) in try lines("vader_lexicon.txt").enumerated() {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard fields.count > 1, let rating = Double(fields[1]), rating.isFinite else {
        throw TrainingError(
          .file, "\(folder.path)/vader_lexicon.txt:\(number + 1): no word and rating")
      }
      // The first of two words that differ in white space alone would be the last there too.
      ratings[fields[0].trimmingCharacters(in: .whitespaces)] = rating
    }
    var emoji: [Unicode.Scalar: String] = [:]
    for line in try lines("emoji_utf8_lexicon.txt") {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      let sign = fields[0].unicodeScalars
      // The Python package looks up one code point at a time, so longer emoji never match.
      guard fields.count > 1, sign.count == 1, let first = sign.first else { continue }
      emoji[first] = String(fields[1])
    }
    self.ratings = ratings
    self.emoji = emoji
  }
}
