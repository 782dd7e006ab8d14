// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import Foundation

/// A row as a plan sees it: how many tokens there are of what.
package struct RowShape: Sendable, Equatable {
  /// Tokens of the prompt.
  package var prompt: Int
  /// Tokens of each answer.
  package var answers: [Int]
  /// Tokens that are scored.
  package var scored: Int
  /// What it begins with that others may begin with too, and that a pass then runs once.
  package var opening: ArraySlice<Int32> = []

  /// Tokens of a prompt where nobody says how many there are.
  package static let assumedPrompt = 128

  package init(prompt: Int, answers: [Int], scored: Int) {
    self.prompt = prompt
    self.answers = answers
    self.scored = scored
  }

  /// A prompt with answers of so many tokens, all of which are scored.
  package init(prompt ids: [Int32], answers: [Int] = [], for model: any LanguageModel) {
    opening = model.opening(of: ids)
    prompt = ids.count
    self.answers = answers
    scored = answers.reduce(0, +)
  }

  /// The row with other answers, all of which are scored: so many, of as many tokens each.
  package func with(answers count: Int, of tokens: Int) -> RowShape {
    var row = self
    (row.answers, row.scored) = ([Int](repeating: tokens, count: count), count * tokens)
    return row
  }

  /// A row that was encoded for a model.
  init(_ group: EncodedGroup, for model: any LanguageModel, scoringPrompt: Bool = false) {
    opening = model.opening(of: group)
    prompt = group.prompt.count
    answers = group.answers.map(\.ids.count)
    scored = group.answers.reduce(scoringPrompt ? max(0, prompt - 1) : 0) {
      $0 + $1.scored.reduce(0) { $0 + $1.count }
    }
  }

  package var tokens: Int { answers.reduce(prompt, +) }

  /// Tokens that a pass over some rows runs.
  package static func run(_ rows: some Sequence<RowShape>) -> Int {
    var seen: Set<ArraySlice<Int32>> = []
    return rows.reduce(0) {
      $0 + $1.tokens - (seen.insert($1.opening).inserted ? 0 : $1.opening.count)
    }
  }

  /// The row with prompt and answer no longer than a number of tokens, by the rule of `too_long` cut.
  package func cut(to longest: Int) -> RowShape {
    let answer = answers.max() ?? 0
    guard prompt + answer > longest else { return self }
    let kept = min(prompt, max(TextEncoder.leastPrompt(longest), longest - answer))
    let shorter = answers.map { min($0, longest - kept) }
    let share = Double(kept + shorter.reduce(0, +)) / Double(max(1, tokens))
    var row = RowShape(
      prompt: kept, answers: shorter, scored: Int((Double(scored) * share).rounded(.up)))
    if kept == prompt { row.opening = opening }
    return row
  }
}

/// The rows of a run, or one that stands for all where there is no file.
package struct PlannedRows: Sendable {
  /// Rows that are trained on.
  package var training: [RowShape]
  /// Rows that are only scored.
  package var heldOut: [RowShape] = []
  /// Rows that are scored beside those of a batch, one for each: KTO's mismatched pairs.
  package var companions: [RowShape] = []
  /// How many rows the one in `training` stands for; nil where the rows are those of a file, or nobody
  /// said how many there are.
  package var count: Int?
  /// Whether the rows are those of a file.
  package var isOfFile = true

  package init(training: [RowShape], heldOut: [RowShape] = [], companions: [RowShape] = []) {
    self.training = training
    self.heldOut = heldOut
    self.companions = companions
  }

  /// A row that stands for all.
  package init(all row: RowShape, count: Int?) {
    training = [row]
    self.count = count
    isOfFile = false
  }

  /// All of them cut to a number of tokens.
  func cut(to longest: Int) -> PlannedRows {
    var rows = self
    rows.training = training.map { $0.cut(to: longest) }
    rows.heldOut = heldOut.map { $0.cut(to: longest) }
    rows.companions = companions.map { $0.cut(to: longest) }
    return rows
  }

  /// Tokens of all rows.
  var tokens: Int {
    (training + heldOut).reduce(0) { $0 + $1.tokens } * (isOfFile ? 1 : count ?? 1)
  }
}

/// Passes and their tokens.
package struct PassLoad: Sendable, Equatable {
  package var passes = 0.0
  package var tokens = 0.0

  package init(passes: Double = 0, tokens: Double = 0) {
    (self.passes, self.tokens) = (passes, tokens)
  }

  package mutating func add(_ other: PassLoad, times factor: Double = 1) {
    passes += factor * other.passes
    tokens += factor * other.tokens
  }

  /// So many times as much.
  package func times(_ factor: Double) -> PassLoad {
    PassLoad(passes: factor * passes, tokens: factor * tokens)
  }
}

/// What a run asks of the engine, and how often.
package struct RunWork: Sendable {
  /// What memory follows from.
  package var memory: ModelWork
  /// What the run is counted by.
  package var unit: RunUnit
  /// How many of them it has; nil where nobody said how many rows there are.
  package var units: Int?
  /// Optimiser steps of one.
  package var optimiserSteps = 1.0
  /// Passes of one that have a way back, and those that have none.
  package var gradients = PassLoad()
  package var scores = PassLoad()
  /// Passes without a way back before the first and after the last.
  package var once = PassLoad()
  /// Answers of one that are drawn at most, and tokens of the prompts that they are drawn for.
  package var answers = 0
  package var promptTokens = 0.0
  /// Tokens of a row on the average.
  package var rowTokens = 0.0

  /// The largest pass that has a way back.
  package var largestPass: PassShape? {
    memory.passes.filter { $0.kind != .scores }.max { $0.rows < $1.rows }
  }
}
