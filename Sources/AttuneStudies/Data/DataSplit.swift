// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
import AttuneTraining
public import Foundation

/// What a split came to: the object of `split --json`.
public struct SplitReport: Codable, Sendable, Equatable {
  /// Rows and prompts of one file.
  public struct Part: Codable, Sendable, Equatable {
    /// The file.
    public var file: String
    /// Its rows.
    public var rows: Int
    /// The different prompts among them.
    public var prompts: Int
  }

  /// Version of this object's format.
  public var formatVersion = 1
  /// What is trained on.
  public var train: Part
  /// What is held out.
  public var heldOut: Part
  /// Rows that can't be used and stand in neither file.
  public var skipped: Int

  /// The report for people.
  public var text: String {
    "\(train.file): \(train.rows) rows, \(train.prompts) prompts; "
      + "\(heldOut.file): \(heldOut.rows) rows, \(heldOut.prompts) prompts"
      + (skipped > 0 ? "; \(skipped) rows that can't be used are in neither" : "")
  }
}

/// Parts a data file in rows to train on and rows to hold out: what `attune split` does.
public enum DataSplit {
  /// Writes two files. All rows of one prompt go to the same of them, and a row is written byte for
  /// byte as it came; of a JSON list it becomes a line.
  ///
  /// A row's prompt is what is answered; of a conversation, all of whose answers are learned, it is
  /// what comes before the first answer, and of a text it is the text. Those that differ in white
  /// space alone are one.
  ///
  /// - Parameters:
  ///   - data: Rows of any kind.
  ///   - train: The file of rows to train on.
  ///   - heldOut: The file of those held out.
  ///   - share: The share of the prompts that is held out.
  ///   - seed: The seed of the draw.
  /// - Throws: An error that names the file or option at fault.
  public static func run(
    _ data: DataFile, train: URL, heldOut: URL, share: Double, seed: UInt64
  ) throws -> SplitReport {
    guard share > 0, share < 1 else {
      throw TrainingError(.badSetting, "--share must lie between 0 and 1, not \(share)")
    }
    let files = [data.url, train, heldOut].map(\.standardizedFileURL.path)
    guard Set(files).count == 3 else {
      throw TrainingError(
        .badSetting, "--data, --train and --held-out must be three files, not \(files[1]) twice")
    }
    var places: [[String]: Int] = [:]
    let prompts = data.rows.map { row in
      let key = key(row)
      let place = places[key] ?? places.count
      places[key] = place
      return place
    }
    let held = Int((Double(places.count) * share).rounded())
    guard held > 0, held < places.count else {
      throw TrainingError(
        .badData,
        "\(data.url.relativePath): a share of \(share) of \(places.count) different prompts leaves "
          + "one of the two files empty")
    }
    let isHeld = Set(
      Shuffle.order(count: places.count, seed: seed, epoch: 0).prefix(held))
    var texts = (train: Data(), heldOut: Data())
    var report = SplitReport(
      train: .init(file: train.relativePath, rows: 0, prompts: places.count - held),
      heldOut: .init(file: heldOut.relativePath, rows: 0, prompts: held),
      skipped: data.skipped.count)
    var left = prompts[...]
    try data.forEachText { _, text in
      if let prompt = left.popFirst(), isHeld.contains(prompt) {
        texts.heldOut += text
        texts.heldOut.append(10)
        report.heldOut.rows += 1
      } else {
        texts.train += text
        texts.train.append(10)
        report.train.rows += 1
      }
    }
    try AtomicFile.write(texts.train, to: train)
    try AtomicFile.write(texts.heldOut, to: heldOut)
    return report
  }

  private static func key(_ row: DataRow) -> [String] {
    switch row.example {
    case .text(.text(let text)): return PromptChoice.key(.text(text)) ?? [""]
    case .text(.messages(let messages)):
      let start = Array(messages.prefix { $0.role != "assistant" })
      return PromptChoice.key(.messages(start.isEmpty ? messages : start)) ?? [""]
    default: return row.example.prompt.flatMap { PromptChoice.key($0) } ?? [""]
    }
  }
}
