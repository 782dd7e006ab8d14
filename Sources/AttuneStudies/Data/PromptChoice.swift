// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
public import AttuneTraining
public import Foundation

/// The knobs of `attune prompts`.
public struct PromptSettings: Settings {
  /// Prompts that are drawn, those held out among them; 0 is all.
  public var count = 0
  /// Share of them that is held out.
  public var heldOutShare = 0.0
  /// The seed of both draws.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}
}

/// What taking prompts came to: the object of `prompts --json`.
public struct PromptReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file of prompts.
  public var output: String
  /// The file of held-out prompts.
  public var heldOut: String?
  /// Rows of the data.
  public var rows: Int
  /// Rows without a prompt, or with an empty one.
  public var withoutPrompt: Int
  /// Rows whose prompt an earlier row has, but for white space.
  public var repeated: Int
  /// Prompts written.
  public var prompts: Int
  /// Prompts written as held out.
  public var heldOutPrompts: Int
}

/// Takes prompts from data: what `attune prompts` does.
public enum PromptChoice {
  /// Writes the prompts of a data set, each once, some of them apart.
  ///
  /// What a row says beside its prompt goes along with it, so that a reward can still read it.
  /// Prompts
  /// that differ in white space alone are one, the first of them, so that no prompt is trained on and
  /// held out.
  ///
  /// - Parameters:
  ///   - data: Rows of any kind; those without a prompt are counted.
  ///   - settings: The knobs.
  ///   - output: The file of prompts, in the order of the data.
  ///   - heldOut: The file of those held out.
  /// - Returns: What it came to.
  /// - Throws: An error that names the setting or file at fault.
  public static func run(
    _ data: DataFile, settings: PromptSettings, output: URL, heldOut: URL? = nil
  ) throws -> PromptReport {
    try settings.validate()
    if heldOut == nil {
      try require(settings.heldOutShare == 0, "held_out_share", "0 where no file is given for it")
    } else {
      try require(
        settings.heldOutShare > 0, "held_out_share", "above 0 where a file is given for it")
      guard heldOut?.standardizedFileURL != output.standardizedFileURL else {
        throw TrainingError(
          .badSetting, "\(output.path): prompts and held-out prompts can't be one file")
      }
    }
    var report = PromptReport(
      output: output.path, heldOut: heldOut?.path, rows: data.rows.count, withoutPrompt: 0,
      repeated: 0, prompts: 0, heldOutPrompts: 0)
    var seen: Set<[String]> = []
    var prompts: [PromptRow] = []
    for row in data.rows {
      guard let prompt = data.promptRow(row), let key = key(prompt.prompt) else {
        report.withoutPrompt += 1
        continue
      }
      if seen.insert(key).inserted { prompts.append(prompt) } else { report.repeated += 1 }
    }
    guard !prompts.isEmpty else {
      throw TrainingError(.badData, "\(data.url.path): no row has a prompt")
    }
    if settings.count > prompts.count {
      throw TrainingError(
        .badSetting,
        "count is \(settings.count), and \(data.url.path) has only \(prompts.count) different prompts"
      )
    }
    let count = settings.count > 0 ? settings.count : prompts.count
    let chosen = Shuffle.order(count: prompts.count, seed: settings.seed, epoch: 0).prefix(count)
    let heldCount = Int((Double(count) * settings.heldOutShare).rounded())
    guard heldOut == nil || (heldCount > 0 && heldCount < count) else {
      throw TrainingError(
        .badData,
        "a share of \(settings.heldOutShare) of \(count) prompts leaves one of the two files empty")
    }
    // What was drawn first is held out; both files keep the order of the data.
    let held = chosen.prefix(heldCount).sorted()
    let kept = chosen.dropFirst(heldCount).sorted()
    func write(_ places: [Int], _ url: URL) throws {
      try AtomicFile.write(places.map { prompts[$0].json.text + "\n" }.joined(), to: url)
    }
    try write(kept, output)
    if let heldOut { try write(held, heldOut) }
    report.prompts = kept.count
    report.heldOutPrompts = held.count
    return report
  }

  /// What tells a prompt from others: who says what, but for white space. Nil for an empty one.
  static func key(_ prompt: Content) -> [String]? {
    func plain(_ text: String) -> String {
      text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
    switch prompt {
    case .text(let text):
      let text = plain(text)
      return text.isEmpty ? nil : [text]
    case .messages(let messages):
      let turns = messages.flatMap { [$0.role, plain($0.content)] }
      return messages.allSatisfy { plain($0.content).isEmpty } ? nil : ["messages"] + turns
    }
  }
}
