// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
public import AttuneTraining

extension IterateSettings: PlansRuns {
  package static var trainer: String { "iterate" }
  package static var trainingPrefix: String { "dpo." }

  /// The knobs of training: those of its rounds.
  public var training: TrainingSettings {
    get { dpo.training }
    set { dpo.training = newValue }
  }

  /// Pairs that are made of a prompt's ranked answers at most.
  private var pairsPerPrompt: Int {
    switch pairs {
    case .bestWorst: 1
    case .bestRest: samplesPerPrompt - 1
    case .all: samplesPerPrompt * (samplesPerPrompt - 1) / 2
    }
  }

  package func work(
    on rows: PlannedRows, _ spec: TransformerSpec, beside other: TransformerSpec?, asks: Bool
  ) -> RunWork {
    let all = rows.isOfFile ? rows.training.count : rows.count ?? promptCount(of: dpo.batchSize)
    let count = max(1, promptCount(of: all))
    // The longest prompts: a round may have any.
    let sorted =
      rows.isOfFile
      ? rows.training.sorted { $0.prompt > $1.prompt }
      : [RowShape](
        repeating: rows.training.first ?? RowShape(prompt: 1, answers: [], scored: 0),
        count: min(count, 100_000))
    let prompts = sorted.prefix(count)
    let longest = prompts.first?.prompt ?? 1
    let answer = min(maxTokens, max(1, spec.maximumPositions - longest))
    let perPair = explores ? 3 : 2

    var knobs = dpo
    if online {
      // One step on all pairs of a round.
      knobs.rows.batchSize = count * pairsPerPrompt
      knobs.rows.maxSteps = 1
      knobs.precomputeReference = false
    }
    let shapes = prompts.flatMap {
      [RowShape](repeating: $0.with(answers: perPair, of: answer), count: pairsPerPrompt)
    }
    let limit = knobs.maxLength > 0 ? knobs.maxLength : spec.maximumPositions
    var round = knobs.work(
      on: PlannedRows(training: shapes.map { $0.cut(to: limit) }), spec, asks: asks)
    let steps = Double(round.units ?? 1)

    // Policy and start answer and are asked how probable the answers are.
    let families = prompts.map { $0.with(answers: samplesPerPrompt, of: answer) }
    var scored = PassLoad()
    for piece in cutIntoPieces(
      families.map(\.tokens), openings: families.map(\.opening), budget: dpo.pieceTokens)
    {
      let rows = RowShape.run(families[piece])
      let tokens = piece.count * samplesPerPrompt * answer
      round.memory.passes.insert(PassShape(.scores, rows: rows, scored: tokens))
      scored.add(PassLoad(passes: 2, tokens: 2 * Double(rows)))
    }
    round.memory.sampling = SamplingShape(
      prompts: prompts.count, samplesPerPrompt: samplesPerPrompt, promptTokens: longest,
      maxTokens: answer, sampler: sampler)
    // The start stays to the end; a policy that is whole is read again after each round.
    round.memory.keepsStart = true
    if !online, rounds > 1, training.weights.train == .full { round.memory.heldCopies += 1 }

    round.unit = .round
    round.units = rounds
    round.optimiserSteps = steps
    round.gradients = round.gradients.times(steps)
    round.scores = round.scores.times(steps)
    round.scores.add(round.once)
    round.scores.add(scored)
    round.once = PassLoad()
    round.answers = count * samplesPerPrompt
    // What a prompt has in common with another is copied to it.
    round.promptTokens = Double(RowShape.run(prompts))
    return round
  }

  /// Prompts as a plan sees them.
  func plannedRows(_ ids: [[Int32]], for model: any LanguageModel) -> PlannedRows {
    PlannedRows(training: ids.map { RowShape(prompt: $0, for: model) })
  }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(start, maximumLength: dpo.maxLength, tooLong: dpo.tooLong)
    return plannedRows(
      try encoder.prompts(data, room: maxTokens, byRow: false).ids, for: start.model)
  }

  package func plannedRow(tokens: Int?, _ spec: TransformerSpec) -> RowShape {
    let limit =
      dpo.maxLength > 0 ? min(dpo.maxLength, spec.maximumPositions) : spec.maximumPositions
    return RowShape(
      prompt: min(tokens ?? RowShape.assumedPrompt, max(1, limit - maxTokens)), answers: [],
      scored: 0)
  }

  package var ownSavings: [(change: String, settings: Self)] {
    var list: [(change: String, settings: Self)] = []
    func add(_ change: String, _ make: (inout Self) -> Void) {
      var settings = self
      make(&settings)
      list.append((change, settings))
    }
    if maxTokens > 16 { add("max_tokens=\(maxTokens / 2)") { $0.maxTokens /= 2 } }
    if online, promptsPerRound == 0, dpo.batchSize > 1 {
      add("dpo.batch_size=\(dpo.batchSize / 2)") { $0.dpo.rows.batchSize /= 2 }
    }
    return list
  }
}
