// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
import Foundation

/// Settings of a trainer from which follows what a run takes, before it begins.
package protocol PlansRuns: TrainsWeights {
  /// The trainer's name.
  static var trainer: String { get }
  /// What the names of the knobs in `training` begin with: nothing, or `dpo.` where they are another
  /// trainer's.
  static var trainingPrefix: String { get }

  /// What a run on some rows asks of the engine.
  ///
  /// - Parameters:
  ///   - rows: Rows, or one that stands for all.
  ///   - spec: The model that it starts from.
  ///   - other: `otherModel`; nil: there is none, or it is as the one that it starts from.
  ///   - asks: Whether the model answers a few prompts in the end.
  func work(
    on rows: PlannedRows, _ spec: TransformerSpec, beside other: TransformerSpec?, asks: Bool
  ) -> RunWork

  /// The rows of a file as the trainer reads them.
  func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows

  /// A row that stands for all where there is no file.
  ///
  /// - Parameters:
  ///   - tokens: Tokens of prompt and answer, of a prompt alone where answers are sampled; nil: the
  ///     most that the settings allow.
  ///   - spec: The model.
  func plannedRow(tokens: Int?, _ spec: TransformerSpec) -> RowShape

  /// The name of another model that a run opens because its settings say so; nil: none.
  var otherModel: String? { get }

  /// Changes that take less memory, each with its words, those of this trainer alone.
  var ownSavings: [(change: String, settings: Self)] { get }
}

extension PlansRuns {
  package static var trainingPrefix: String { "" }
  package var otherModel: String? { nil }

  /// The same with no other model.
  package func work(on rows: PlannedRows, _ spec: TransformerSpec, asks: Bool) -> RunWork {
    work(on: rows, spec, beside: nil, asks: asks)
  }
}

/// How a trainer passes over its rows.
package struct RowPasses {
  /// What its passes with gradients are.
  var kind = PassShape.Kind.gradients
  /// Whether tokens are scored; else the scalar head is read after each answer.
  var scoresTokens = true
  /// Answers of a row.
  package var answers = 1
  /// Whether a reference is asked, and whether once for all rows or in each step.
  var reference = false
  var precomputed = false
  /// Whether a batch that is cut is scored before its step.
  var currentScores = false
  /// Whether a row has a companion, which is scored too.
  var companions = false
  /// Share of the rows that is held out where there is no file of its own for them.
  var heldOutShare = 0.0
}

/// A trainer that passes over a file of rows.
package protocol PlansRowRuns: PlansRuns, ReadsRows {
  /// How it does.
  var rowPasses: RowPasses { get }
}

extension PlansRowRuns {
  /// Rows of which every piece is looked at: the rest is as they are.
  private static var lookedAt: Int { 100_000 }

  package func work(
    on rows: PlannedRows, _ spec: TransformerSpec, beside other: TransformerSpec?, asks: Bool
  ) -> RunWork {
    let (how, trainable) = (rowPasses, trainable(spec))
    var memory = ModelWork(trainable)
    memory.optimizer = training.optimiser.optimizer
    memory.shardsMoments = training.optimiser.shardMoments
    memory.averages = training.optimiser.averageDecay > 0
    memory.scalarHead = !how.scoresTokens
    memory.merges = training.weights.merge
    memory.recomputes = training.engine.recompute
    memory.keepsStart = how.reference && !how.precomputed
    let frozen = trainable.frozenLayers(of: spec)
    let fits =
      Double(rows.tokens) * Double(spec.width) * 4 / 1_000_000
      <= Double(training.engine.trunkMegabytes ?? 0)
    let fromTrunk = frozen > 0 && fits && training.engine.trunkMegabytes != nil
    if fromTrunk { memory.trunkTokens = rows.tokens }
    func pass(_ kind: PassShape.Kind, _ piece: ArraySlice<RowShape>) -> PassShape {
      PassShape(
        kind, rows: RowShape.run(piece),
        scored: how.scoresTokens ? piece.reduce(0) { $0 + $1.scored } : 0,
        scalars: how.scoresTokens ? 0 : piece.reduce(0) { $0 + $1.answers.count },
        fromTrunk: fromTrunk)
    }
    func cut(_ list: [RowShape]) -> [Range<Int>] {
      cutIntoPieces(
        list.map(\.tokens), openings: list.map(\.opening), budget: self.pieceTokens)
    }
    /// A list of rows in pieces, none of which has a way back.
    func scored(_ list: [RowShape]) -> PassLoad {
      var load = PassLoad()
      for range in cut(list) {
        let shape = pass(.scores, list[range])
        memory.passes.insert(shape)
        load.add(PassLoad(passes: 1, tokens: Double(shape.rows)))
      }
      return load
    }

    var work = RunWork(memory: memory, unit: .step)
    let batch = self.batchSize
    let count = rows.isOfFile ? rows.training.count : rows.count
    if let count {
      let order = BatchOrder(rows: max(1, count), batch: batch, seed: seed)
      work.units = order.steps(epochs: self.epochs, atMost: self.maxSteps)
    } else if self.maxSteps > 0 {
      work.units = self.maxSteps
    }
    // The batches of the run, in its own order.
    var order = BatchOrder(rows: max(1, rows.training.count), batch: batch, seed: seed)
    var batches: [[Int]] = []
    if rows.isOfFile {
      let looked = min(work.units ?? 0, max(1, Self.lookedAt / max(1, batch)))
      batches = (0..<looked).map { order.rows(of: $0) }
    } else {
      batches = [[Int](repeating: 0, count: min(batch, max(1, count ?? batch), 100_000))]
    }
    for rowsOfBatch in batches {
      let list = rowsOfBatch.map { rows.training[$0] }
      let pieces = cut(list)
      for range in pieces {
        let shape = pass(how.kind, list[range])
        memory.passes.insert(shape)
        work.gradients.add(PassLoad(passes: 1, tokens: Double(shape.rows)))
      }
      memory.passesPerStep = max(memory.passesPerStep, pieces.count)
      if how.currentScores, pieces.count > 1 { work.scores.add(scored(list)) }
      if how.reference, !how.precomputed { work.scores.add(scored(list)) }
      if how.companions {
        let companions =
          rows.companions.isEmpty ? list : rowsOfBatch.map { rows.companions[$0] }
        work.scores.add(scored(companions), times: how.precomputed ? 1 : 2)
      }
    }
    let steps = Double(max(1, batches.count))
    work.gradients = PassLoad(
      passes: work.gradients.passes / steps, tokens: work.gradients.tokens / steps)
    work.scores = PassLoad(
      passes: work.scores.passes / steps, tokens: work.scores.tokens / steps)
    if rows.isOfFile {
      if how.reference, how.precomputed {
        work.once.add(scored(rows.training + rows.heldOut))
        if how.companions { work.once.add(scored(rows.companions)) }
      }
      if !rows.heldOut.isEmpty { work.once.add(scored(rows.heldOut)) }
    } else if let count {
      let share = (how.reference && how.precomputed ? 1 : 0) + how.heldOutShare
      if share > 0 {
        work.once.add(scored(rows.training), times: share * Double(count))
      }
    }
    // The frozen layers' results are computed once.
    if fromTrunk {
      work.once.add(PassLoad(passes: 0, tokens: Double(rows.tokens * frozen / spec.layers)))
      var plain = pass(.scores, [])
      plain.rows = memory.passes.map(\.rows).max() ?? 0
      plain.fromTrunk = false
      memory.passes.insert(plain)
    }
    if asks {
      let prompts = rows.training.prefix(1000).map(\.prompt).filter { $0 > 1 }
      if let longest = prompts.max() {
        memory.asking = SamplingShape(
          prompts: min(4, prompts.count), samplesPerPrompt: 1, promptTokens: longest,
          maxTokens: min(64, max(1, spec.maximumPositions / 2)))
      }
    }
    let tokens = rows.training.reduce(0) { $0 + $1.tokens }
    work.rowTokens = Double(tokens) / Double(max(1, rows.training.count))
    work.memory = memory
    return work
  }

  package func plannedRow(tokens: Int?, _ spec: TransformerSpec) -> RowShape {
    let limit = spec.maximumPositions
    let most = self.maxLength > 0 ? min(self.maxLength, limit) : limit
    let length = max(2, min(tokens ?? most, most))
    let prompt = max(1, length / 4)
    let answers = [Int](repeating: length - prompt, count: rowPasses.answers)
    return RowShape(prompt: prompt, answers: answers, scored: answers.reduce(0, +))
  }

  package var ownSavings: [(change: String, settings: Self)] {
    var list: [(change: String, settings: Self)] = []
    if training.engine.trunkMegabytes ?? 0 > 0 {
      var none = self
      none.training.engine.trunkMegabytes = 0
      list.append(("trunk_megabytes=0", none))
    }
    if self.batchSize > 1 {
      var smaller = self
      smaller.batchSize /= 2
      list.append(("batch_size=\(smaller.batchSize)", smaller))
    }
    return list
  }
}
