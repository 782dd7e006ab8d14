// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneObjectives
public import AttuneTraining
public import Foundation

/// What judging came to: the object of `judge --json`.
public struct JudgeReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The judge, as rows name it.
  public var judge: String
  /// Principles of the constitution.
  public var principles: Int
  /// The file that was written, if any.
  public var output: String?
  /// Rows that came in.
  public var prompts = 0
  /// Rows written.
  public var rows = 0
  /// Rows written as ties.
  public var ties = 0
  /// Pairs or answers to which no judge gave a valid answer; they are left out.
  public var unanswered = 0
  /// What the judge said of one of them, if anything is known.
  public var unread: String?
  /// Mean probability that the letters have together, where log-probabilities are known; far below 1
  /// the judge does not understand what it is asked.
  public var letterMass: Double?
  /// What the judge leans towards on the data.
  public var bias: JudgeBias?
  /// How far it agrees with people.
  public var check: JudgeCheck?
  /// Questions put to the judge.
  public var asked = 0
  /// Questions that it had answered before.
  public var remembered = 0
  /// Seconds.
  public var seconds = 0.0
}

/// Preferences by AI judges with a constitution: what `attune judge` does.
///
/// Paper: Bai et al. 2022, arXiv:2212.08073. Differs from the paper: both orders are asked and
/// averaged.
public enum Judging {
  /// What there is to judge.
  public struct Inputs {
    /// Samples or pairs.
    public var data: DataFile?
    /// Where preferences go.
    public var output: URL?
    /// People's preferences to hold the judge against.
    public var check: DataFile?
    /// Where the judge's answers are kept; nil: beside the output, if there is one.
    public var answers: URL?

    /// Makes inputs.
    ///
    /// - Parameters:
    ///   - data: Samples or pairs.
    ///   - output: Where preferences go.
    ///   - check: People's preferences.
    ///   - answers: Where the judge's answers are kept.
    public init(
      data: DataFile? = nil, output: URL? = nil, check: DataFile? = nil, answers: URL? = nil
    ) {
      self.data = data
      self.output = output
      self.check = check
      self.answers = answers
    }
  }

  /// Judges.
  ///
  /// - Parameters:
  ///   - inputs: What there is to judge.
  ///   - settings: The knobs.
  ///   - engine: What computes models.
  ///   - neighbour: A model that is open already.
  ///   - style: Where progress goes.
  /// - Returns: What it came to.
  /// - Throws: An error that names the file, line, server or setting at fault; `interrupted` after
  ///   Ctrl-C. All that a judge had answered by then is kept.
  public static func run(
    _ inputs: Inputs, settings: JudgeSettings, on engine: any Engine,
    beside neighbour: LoadedModel? = nil, style: ProgressLine.Style = .automatic
  ) throws -> JudgeReport {
    let began = ContinuousClock.now
    let answers = inputs.answers ?? inputs.output?.appendingPathExtension("answers")
    let panel = try JudgePanel(
      settings, answers: answers, on: engine, beside: neighbour, style: style)
    var report = JudgeReport(
      judge: panel.name, principles: panel.constitution.principles.count,
      output: inputs.output?.path)
    if let data = inputs.data, let output = inputs.output {
      let rows =
        settings.by == .comparison
        ? try compared(data, panel, &report) : try graded(data, panel, &report)
      guard !rows.isEmpty else {
        throw TrainingError(
          .badData,
          report.unanswered > 0
            ? "\(panel.name): gave no valid answer to any question"
              + "\(panel.unread.map { " (\($0))" } ?? ""); try another judge"
            : "\(data.url.path): no prompt has two different answers to compare")
      }
      try AtomicFile.write(rows.map { $0.text + "\n" }.joined(), to: output)
      report.rows = rows.count
    }
    if let check = inputs.check { report.check = try agreement(check, panel) }
    report.unread = panel.unread
    report.asked = panel.judges.reduce(0) { $0 + $1.asked }
    report.remembered = panel.judges.reduce(0) { $0 + $1.remembered }
    report.seconds = seconds(ContinuousClock.now - began)
    return report
  }

  // MARK: Comparisons

  /// A pair with what its row says beside the labels.
  private struct Candidate {
    var pair: JudgedPair
    var reasons: (first: SampleRow.FinishReason, second: SampleRow.FinishReason)?
    /// Who gave each answer, where that is known.
    var models: (first: JSONValue?, second: JSONValue?)
  }

  private static func compared(
    _ data: DataFile, _ panel: JudgePanel, _ report: inout JudgeReport
  ) throws -> [JSONValue] {
    let noise = try LabelNoise(sharpness: 1, seed: panel.settings.seed)
    var candidates: [Candidate] = []
    for (index, row) in data.rows.enumerated() {
      report.prompts += 1
      switch row.example {
      case .samples(let sample):
        let pairs = noise.pairs(
          of: PreferenceMaker.distinct(sample), count: panel.settings.pairsPerPrompt,
          prompt: index)
        for (i, j) in pairs {
          let (a, b) = (sample.completions[i], sample.completions[j])
          candidates.append(
            Candidate(
              pair: JudgedPair(
                prompt: sample.prompt, first: a.text, second: b.text,
                place: [UInt64(index), UInt64(i), UInt64(j)]),
              reasons: (a.finishReason, b.finishReason),
              models: (sample.model(of: a)?.json, sample.model(of: b)?.json)))
        }
      case .preference(let preference):
        candidates.append(
          Candidate(
            pair: pair(preference, index),
            models: (row.json.present("chosen_model"), row.json.present("rejected_model"))))
      default:
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): is \(row.example.kind.rawValue) data; judge reads "
            + "samples or pairs")
      }
    }
    let (verdicts, mass) = try panel.compare(candidates.map(\.pair))
    report.letterMass = mass
    let answered = zip(candidates, verdicts).filter { $0.1.probability != nil }
    report.unanswered = verdicts.count - answered.count
    report.bias = JudgeBias(answered.map(\.1), words: answered.map { words($0.0.pair) })
    return answered.map { candidate, verdict in
      let row = row(candidate, verdict, panel)
      if verdict.probability == 0.5 { report.ties += 1 }
      return row
    }
  }

  private static func row(
    _ candidate: Candidate, _ verdict: Verdict, _ panel: JudgePanel
  ) -> JSONValue {
    let p = verdict.probability ?? 0.5
    let isSwapped = p < 0.5
    let pair = candidate.pair
    let row = Preference(
      prompt: pair.prompt, chosen: pair.prompt.answer(isSwapped ? pair.second : pair.first),
      rejected: pair.prompt.answer(isSwapped ? pair.first : pair.second),
      outcome: p == 0.5 ? .tie : .preferred, probability: max(p, 1 - p), labeller: panel.name)
    // P(chosen) where it is shown first, and where it is shown second.
    let readings = verdict.readings.map { reading -> JSONValue in
      .array(
        isSwapped
          ? [.double(reading.swappedA), .double(1 - reading.asA)]
          : [.double(reading.asA), .double(1 - reading.swappedA)])
    }
    var json = row.json
      .setting(
        "principles", .array(verdict.principles.map { .string(panel.constitution.principles[$0]) })
      )
      .setting("readings", .array(readings))
    if let reasons = candidate.reasons {
      let (chosen, rejected) = isSwapped ? (reasons.second, reasons.first) : reasons
      json = json.setting("chosen_finish_reason", .string(chosen.rawValue))
        .setting("rejected_finish_reason", .string(rejected.rawValue))
    }
    let (first, second) = candidate.models
    if let model = isSwapped ? second : first { json = json.setting("chosen_model", model) }
    if let model = isSwapped ? first : second { json = json.setting("rejected_model", model) }
    return json
  }

  /// A pair as people or a file compared it: the chosen answer first.
  private static func pair(_ preference: Preference, _ index: Int) -> JudgedPair {
    JudgedPair(
      prompt: preference.prompt, first: preference.chosen.lastText,
      second: preference.rejected.lastText, place: [UInt64(index), 0, 1])
  }

  private static func words(_ pair: JudgedPair) -> (first: Int, second: Int) {
    (JudgePanel.words(pair.first), JudgePanel.words(pair.second))
  }

  // MARK: Grades

  private static func graded(
    _ data: DataFile, _ panel: JudgePanel, _ report: inout JudgeReport
  ) throws -> [JSONValue] {
    var rows: [(sample: SampleRow, answers: [Int])] = []
    for row in data.rows {
      guard case .samples(let sample) = row.example else {
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): is \(row.example.kind.rawValue) data; by=rubric reads "
            + "samples")
      }
      rows.append((sample, PreferenceMaker.distinct(sample)))
    }
    report.prompts = rows.count
    // All answers to a prompt are graded under the same principles.
    let flat = rows.enumerated().flatMap { index, row in
      row.answers.map {
        (prompt: row.sample.prompt, text: row.sample.completions[$0].text, place: [UInt64(index)])
      }
    }
    let grades = try panel.grade(flat)
    report.unanswered = grades.count { $0 == nil }
    let noise = try LabelNoise(sharpness: 1, seed: panel.settings.seed)
    var made: [JSONValue] = []
    var next = 0
    for (index, row) in rows.enumerated() {
      var scores: [Int: Double] = [:]
      for answer in row.answers {
        scores[answer] = grades[next]
        next += 1
      }
      let kept = row.answers.filter { scores[$0] != nil }
      guard kept.count > 1 else { continue }
      let sample = row.sample
      func text(_ answer: Int) -> Content {
        sample.prompt.answer(sample.completions[answer].text)
      }
      if panel.settings.shape == .rankings {
        let ranking = RankingRow(
          prompt: sample.prompt, completions: kept.map { text($0) },
          scores: kept.map { scores[$0] ?? 0 }, labeller: panel.name
        ).json.setting(
          "finish_reasons",
          .array(kept.map { .string(sample.completions[$0].finishReason.rawValue) }))
        made.append(
          PreferenceMaker.naming(
            kept.map { sample.model(of: sample.completions[$0]) }, in: ranking))
        continue
      }
      for (i, j) in noise.pairs(of: kept, count: panel.settings.pairsPerPrompt, prompt: index) {
        let (a, b) = (scores[i] ?? 0, scores[j] ?? 0)
        let (winner, loser) = a >= b ? (i, j) : (j, i)
        if a == b { report.ties += 1 }
        let pair = Preference(
          prompt: sample.prompt, chosen: text(winner), rejected: text(loser),
          outcome: a == b ? .tie : .preferred, chosenScore: max(a, b), rejectedScore: min(a, b),
          labeller: panel.name)
        made.append(
          PreferenceMaker.Pair(
            row: pair, chosenFinishReason: sample.completions[winner].finishReason,
            rejectedFinishReason: sample.completions[loser].finishReason,
            chosenModel: sample.model(of: sample.completions[winner]),
            rejectedModel: sample.model(of: sample.completions[loser])
          ).json)
      }
    }
    return made
  }

  // MARK: People

  private static func agreement(_ data: DataFile, _ panel: JudgePanel) throws -> JudgeCheck {
    var pairs: [JudgedPair] = []
    var undecided = 0
    for (index, row) in data.rows.enumerated() {
      guard case .preference(var preference) = row.example else {
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): is \(row.example.kind.rawValue) data; --check reads "
            + "people's preferences")
      }
      guard let isSwapped = preference.isSwapped else {
        undecided += 1
        continue
      }
      if isSwapped { swap(&preference.chosen, &preference.rejected) }
      pairs.append(pair(preference, index))
    }
    guard !pairs.isEmpty else {
      throw TrainingError(.badData, "\(data.url.path): people have decided no pair of it")
    }
    let (verdicts, mass) = try panel.compare(pairs)
    guard verdicts.contains(where: { $0.probability != nil }) else {
      throw TrainingError(
        .badData,
        "\(panel.name): gave no valid answer to any of \(pairs.count) pairs of \(data.url.path)"
          + "\(panel.unread.map { " (\($0))" } ?? ""); try another judge")
    }
    return JudgeCheck(
      data: data.url.path, verdicts: verdicts, words: pairs.map { words($0) },
      undecided: undecided, letterMass: mass)
  }
}

extension Preference {
  /// Whether the rejected answer is the one that is more probably the better; nil where neither is.
  package var isSwapped: Bool? {
    guard outcome == .preferred, probability != 0.5 else { return nil }
    return probability.map { $0 < 0.5 } ?? false
  }
}
