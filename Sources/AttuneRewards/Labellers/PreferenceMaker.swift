// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneTraining

/// Turns a model's answers into preferences by a labeller: what `attune label` does.
public struct PreferenceMaker: Sendable {
  /// What is made of the answers to a prompt.
  public enum Shape: String, CaseIterable, Codable, Sendable {
    /// Rows of two answers, the better one and the worse one.
    case pairs
    /// Rows of all answers with a score each.
    case rankings

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .pairs: "two answers a row: chosen and rejected"
      case .rankings: "all answers to a prompt in a row, with the scores that rank them"
      }
    }
  }

  /// Two answers of which one was preferred.
  public struct Pair: Sendable, Hashable {
    /// The row, in TRL's format.
    public var row: Preference
    /// Why the preferred answer ended.
    public var chosenFinishReason: SampleRow.FinishReason
    /// Why the other one did.
    public var rejectedFinishReason: SampleRow.FinishReason
    /// Who gave the preferred answer, where that is known.
    public var chosenModel: SampleRow.Model?
    /// Who gave the other one.
    public var rejectedModel: SampleRow.Model?

    /// The row with `chosen_finish_reason` and `rejected_finish_reason`, so that an answer that was
    /// cut gets no end-of-sequence token in training; and with `chosen_model` and `rejected_model`, so
    /// that models can be ranked by it.
    public var json: JSONValue {
      var json = row.json
        .setting("chosen_finish_reason", .string(chosenFinishReason.rawValue))
        .setting("rejected_finish_reason", .string(rejectedFinishReason.rawValue))
      if let chosenModel { json = json.setting("chosen_model", chosenModel.json) }
      if let rejectedModel { json = json.setting("rejected_model", rejectedModel.json) }
      return json
    }
  }

  /// Several answers in the order in which they were perceived.
  public struct Ranking: Sendable, Hashable {
    /// The row; its scores are perceived ones, the labeller's plus noise, and rank the answers.
    public var row: RankingRow
    /// The labeller's own scores.
    public var labellerScores: [Double]
    /// Why each answer ended.
    public var finishReasons: [SampleRow.FinishReason]
    /// Who gave each answer, where that is known.
    public var models: [SampleRow.Model?]

    /// The row with `labeller_scores`, `finish_reasons` and `models`.
    public var json: JSONValue {
      PreferenceMaker.naming(
        models,
        in: row.json
          .setting("labeller_scores", .array(labellerScores.map { .double($0) }))
          .setting("finish_reasons", .array(finishReasons.map { .string($0.rawValue) })))
    }
  }

  /// What came of a file of samples.
  public struct Summary: Codable, Sendable, Equatable {
    /// Prompts that came in.
    public var prompts = 0
    /// Prompts left out, because fewer than two answers to them differ.
    public var promptsLeftOut = 0
    /// Answers left out, because they repeat another one to their prompt word for word.
    public var answersLeftOut = 0
    /// Rows made.
    public var rows = 0
    /// Pairs of answers in them.
    public var pairs = 0
    /// Pairs in which the labeller scores both answers the same.
    public var equalPairs = 0
    /// Share of the other pairs in which the answer with the higher score is the preferred one:
    /// what a perfect reward model could reach.
    public var agreement = 0.0

    /// Nothing made.
    public init() {}
  }

  private let scorer: Labeller.Scorer
  private let noise: LabelNoise
  private let pairsPerPrompt: Int

  /// Makes one.
  ///
  /// - Parameters:
  ///   - scorer: The labeller.
  ///   - noise: How labels are drawn from its scores.
  ///   - pairsPerPrompt: How many distinct pairs of a prompt's answers are compared at most; 0 is
  ///     all. Rankings don't read it.
  /// - Throws: `TrainingError` for fewer than 0 pairs.
  public init(_ scorer: Labeller.Scorer, _ noise: LabelNoise, pairsPerPrompt: Int = 0) throws {
    guard pairsPerPrompt >= 0 else {
      throw TrainingError(.badSetting, "pairs per prompt must be 0 (all) or more")
    }
    self.scorer = scorer
    self.noise = noise
    self.pairsPerPrompt = pairsPerPrompt
  }

  /// The labeller's score of each answer.
  public func scores(_ row: SampleRow) -> [Double] {
    let prompt = row.prompt.lastText
    return row.completions.map {
      scorer.score(prompt: prompt, completion: $0.text, endedByItself: $0.finishReason == .stop)
    }
  }

  /// Compares random distinct pairs of the answers to a prompt.
  ///
  /// - Parameters:
  ///   - row: The answers; those that repeat an earlier one are left out.
  ///   - prompt: The prompt's place in the file: labels are drawn by it.
  public func pairs(_ row: SampleRow, prompt: Int) -> [Pair] {
    let scores = scores(row)
    let chosenPairs = noise.pairs(
      of: Self.distinct(row), count: pairsPerPrompt, prompt: prompt)
    return chosenPairs.map { i, j in
      let (winner, loser) =
        noise.prefersFirst(scores, i, j, prompt: prompt) ? (i, j) : (j, i)
      let (chosen, rejected) = (row.completions[winner], row.completions[loser])
      return Pair(
        row: Preference(
          prompt: row.prompt, chosen: row.prompt.answer(chosen.text),
          rejected: row.prompt.answer(rejected.text), chosenScore: scores[winner],
          rejectedScore: scores[loser], labeller: scorer.labeller.rawValue),
        chosenFinishReason: chosen.finishReason, rejectedFinishReason: rejected.finishReason,
        chosenModel: row.model(of: chosen), rejectedModel: row.model(of: rejected))
    }
  }

  /// Ranks the answers to a prompt; `nil` if fewer than two differ.
  ///
  /// - Parameters:
  ///   - row: The answers; those that repeat an earlier one are left out.
  ///   - prompt: The prompt's place in the file: noise is drawn by it.
  public func ranking(_ row: SampleRow, prompt: Int) -> Ranking? {
    let kept = Self.distinct(row)
    guard kept.count > 1 else { return nil }
    let scores = scores(row)
    let perceived = noise.perceived(scores, prompt: prompt)
    return Ranking(
      row: RankingRow(
        prompt: row.prompt, completions: kept.map { row.prompt.answer(row.completions[$0].text) },
        scores: kept.map { perceived[$0] }, labeller: scorer.labeller.rawValue),
      labellerScores: kept.map { scores[$0] },
      finishReasons: kept.map { row.completions[$0].finishReason },
      models: kept.map { row.model(of: row.completions[$0]) })
  }

  /// Labels a file of samples.
  ///
  /// - Parameters:
  ///   - rows: The answers, a row a prompt.
  ///   - shape: What is made of them.
  /// - Returns: The rows to write, and what came of it.
  public func label(
    _ rows: [SampleRow], as shape: Shape
  ) -> (rows: [JSONValue], summary: Summary) {
    var summary = Summary()
    var made: [JSONValue] = []
    var agreeing = 0
    func count(better: Double, worse: Double) {
      summary.pairs += 1
      if better == worse { summary.equalPairs += 1 } else if better > worse { agreeing += 1 }
    }
    for (prompt, row) in rows.enumerated() {
      summary.prompts += 1
      summary.answersLeftOut += row.completions.count - Self.distinct(row).count
      let before = made.count
      switch shape {
      case .pairs:
        for pair in pairs(row, prompt: prompt) {
          made.append(pair.json)
          count(better: pair.row.chosenScore ?? 0, worse: pair.row.rejectedScore ?? 0)
        }
      case .rankings:
        guard let ranking = ranking(row, prompt: prompt) else { break }
        made.append(ranking.json)
        let perceived = ranking.row.scores
        let scores = ranking.labellerScores
        for i in perceived.indices {
          for j in perceived.indices where perceived[i] > perceived[j] {
            count(better: scores[i], worse: scores[j])
          }
        }
      }
      if made.count == before { summary.promptsLeftOut += 1 }
    }
    summary.rows = made.count
    let decided = summary.pairs - summary.equalPairs
    summary.agreement = decided > 0 ? Double(agreeing) / Double(decided) : 0
    return (made, summary)
  }

  /// A ranking row that says who gave each answer, where any of them is known.
  static func naming(
    _ models: [SampleRow.Model?], in row: JSONValue
  ) -> JSONValue {
    guard models.contains(where: { $0 != nil }) else { return row }
    return row.setting("models", .array(models.map { $0?.json ?? .null }))
  }

  /// The answers whose text no earlier one has: two equal answers can't be told apart.
  static func distinct(_ row: SampleRow) -> [Int] {
    var seen: Set<String> = []
    return row.completions.indices.filter { seen.insert(row.completions[$0].text).inserted }
  }
}
