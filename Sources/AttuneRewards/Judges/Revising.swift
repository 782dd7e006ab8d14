// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneObjectives
public import AttuneTraining
public import Foundation

/// The knobs of `attune revise`, beside those of the judge that writes.
public struct ReviseSettings: Settings {
  /// Who writes critiques and revisions, and by which constitution.
  public var judge = JudgeSettings()
  /// How often an answer is revised, each time under another principle.
  public var rounds = 1
  /// Most tokens of a critique.
  public var critiqueTokens = 128
  /// Most tokens of a revision.
  public var maxTokens = 256
  /// The seed of principles.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect: of the judge all that are about choosing.
  public var unreadKnobs: [(knob: String, why: String)] {
    [
      "by", "shape", "principles", "pairs_per_prompt", "reasoning", "reasoning_tokens", "reading",
      "votes", "seed",
    ].map { ("judge.\($0)", "revise writes, it does not choose") }
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try judge.validate(in: "judge")
  }
}

/// What revising came to: the object of `revise --json`.
public struct ReviseReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file that was written.
  public var output: String
  /// Who wrote.
  public var reviser: String
  /// Answers that came in.
  public var answers: Int
  /// Rows written.
  public var rows: Int
  /// Answers whose revision is empty, which are left out.
  public var empty: Int
  /// Revisions that are the answer as it was, word for word; they are kept.
  public var unchanged: Int
  /// Mean words of an answer before.
  public var wordsBefore: Double
  /// Mean words of a revision.
  public var wordsAfter: Double
  /// Texts that the reviser wrote.
  public var asked: Int
  /// Texts that it had written before.
  public var remembered: Int
  /// Seconds.
  public var seconds: Double
}

/// Critique and revision: the supervised half of Constitutional AI.
///
/// Paper: Bai et al. 2022, arXiv:2212.08073. Differs from the paper: no examples in the request, so a
/// small model needs tuning before it is of use here.
public enum Revising {
  private struct Item {
    var prompt: Content
    var original: String
    var text: String
    var place: [UInt64]
    var principles: [String] = []
    var critiques: [String] = []
  }

  /// Writes for each answer a critique under a principle and a revision: rows to tune on.
  ///
  /// - Parameters:
  ///   - data: Samples or prompt–completion rows.
  ///   - settings: The knobs.
  ///   - output: The file of prompt–completion rows.
  ///   - answers: Where the reviser's texts are kept; nil: beside the output.
  ///   - engine: What computes models.
  ///   - style: Where progress goes.
  /// - Returns: What it came to.
  /// - Throws: An error that names the file, line, server or setting at fault; `interrupted` after
  ///   Ctrl-C. All that was written by then is kept.
  public static func run(
    _ data: DataFile, settings: ReviseSettings, output: URL, answers: URL? = nil,
    on engine: any Engine, style: ProgressLine.Style = .automatic
  ) throws -> ReviseReport {
    try settings.validate()
    let began = ContinuousClock.now
    var knobs = settings.judge
    knobs.principles = settings.rounds
    knobs.seed = settings.seed
    let panel = try JudgePanel(
      knobs, answers: answers ?? output.appendingPathExtension("answers"), on: engine,
      style: style)
    guard panel.judges.count == 1 else {
      throw TrainingError(.badSetting, "revise takes one model, not \(panel.judges.count)")
    }
    guard panel.constitution.principles.count >= settings.rounds else {
      throw TrainingError(
        .badSetting,
        "rounds is \(settings.rounds), but the constitution has "
          + "\(panel.constitution.principles.count) principles, one a round")
    }
    let judge = panel.judges[0]
    var items = try items(data)
    let drawn = items.map { panel.draw($0.place) }
    for round in 0..<settings.rounds {
      func write(_ what: String, _ asked: [[Message]], _ maxTokens: Int) throws -> [String] {
        let label = settings.rounds > 1 ? "\(what) \(round + 1)" : what
        var progress = ProgressLine(
          label, total: asked.count, unit: "texts", style: style)
        return try judge.write(asked, maxTokens: maxTokens) { progress.update($0) }
          .map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
      }
      let principles = drawn.map { panel.constitution.principles[$0[round]] }
      let requests = zip(items, principles).map {
        JudgeQuestion.critique($0.prompt, $0.text, principle: $1)
      }
      let critiques = try write("critiques", requests, settings.critiqueTokens)
      let revisions = try write(
        "revisions",
        zip(requests, critiques).map { JudgeQuestion.revision(after: $0, saying: $1) },
        settings.maxTokens)
      for i in items.indices {
        items[i].principles.append(principles[i])
        items[i].critiques.append(critiques[i])
        items[i].text = revisions[i]
      }
    }
    let kept = items.filter { !$0.text.isEmpty }
    guard !kept.isEmpty else {
      throw TrainingError(
        .unavailable, "\(judge.model.name): every revision that it wrote is empty")
    }
    try AtomicFile.write(
      kept.map { row($0, reviser: judge.model.name).text + "\n" }.joined(), to: output)
    func words(_ text: (Item) -> String) -> Double {
      Statistics.mean(kept.map { Double(JudgePanel.words(text($0))) })
    }
    return ReviseReport(
      output: output.path, reviser: judge.model.name, answers: items.count, rows: kept.count,
      empty: items.count - kept.count, unchanged: kept.count { $0.text == $0.original },
      wordsBefore: words(\.original), wordsAfter: words(\.text), asked: judge.asked,
      remembered: judge.remembered, seconds: seconds(ContinuousClock.now - began))
  }

  private static func items(_ data: DataFile) throws -> [Item] {
    try data.rows.enumerated().flatMap { index, row -> [Item] in
      func item(_ prompt: Content, _ text: String, _ answer: Int) -> Item {
        Item(
          prompt: prompt, original: text, text: text, place: [UInt64(index), UInt64(answer)])
      }
      switch row.example {
      case .samples(let sample):
        return PreferenceMaker.distinct(sample).map {
          item(sample.prompt, sample.completions[$0].text, $0)
        }
      case .completion(let prompt, let completion):
        return [item(prompt, completion.lastText, 0)]
      default:
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): is \(row.example.kind.rawValue) data; revise reads "
            + "samples or prompt–completion rows")
      }
    }
  }

  private static func row(_ item: Item, reviser: String) -> JSONValue {
    .object([
      .init("prompt", item.prompt.json),
      .init("completion", item.prompt.answer(item.text).json),
      .init("original", .string(item.original)),
      .init("principles", .array(item.principles.map { .string($0) })),
      .init("critiques", .array(item.critiques.map { .string($0) })),
      .init("reviser", .string(reviser)),
    ])
  }
}

extension ReviseSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "judge", "Who writes critiques and revisions, and by which constitution.",
      .knobs(of: JudgeSettings.self)),
    Knob(
      "rounds", "How often an answer is revised, each time under another principle.",
      .whole(atLeast: 1)),
    Knob("critique_tokens", "Most tokens of a critique.", .whole(atLeast: 1)),
    Knob("max_tokens", "Most tokens of a revision.", .whole(atLeast: 1)),
    Knob.seed("principles"),
  ]
}
