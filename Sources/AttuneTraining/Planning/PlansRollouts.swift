// SPDX-License-Identifier: Apache-2.0

package import AttuneData
package import AttuneEngine
import Foundation

/// How an online trainer works on a rollout, beside what all do.
package struct RolloutPasses {
  /// Whether the policy has a value head.
  var values = false
  /// Whether a value model of its own is trained beside it.
  var valueModel = false
  /// Whether a copy of the policy is kept that samples.
  var proposal = false
  /// Whether a rollout's only step gives the policy's numbers, so that it is not scored before.
  var scoresInStep = false
  /// Share of the answers that is trained on.
  var trained = 1.0
  /// Rollouts that are drawn at most for one that is trained on.
  var draws = 1
  /// Whether its passes with gradients are held against a teacher's distributions.
  var distils = false
  /// Whether a teacher scores a rollout.
  var teacher = false
}

/// A trainer that samples its own answers.
package protocol PlansRollouts: PlansRuns, OnlineSettings {
  /// How it works on a rollout.
  var rolloutPasses: RolloutPasses { get }
}

extension PlansRollouts {
  package func work(
    on rows: PlannedRows, _ spec: TransformerSpec, beside other: TransformerSpec?, asks: Bool
  ) -> RunWork {
    let how = rolloutPasses
    let passes = (self as? any PassesOverRollouts)?.passes
    let isRecorded = rows.training.contains { !$0.answers.isEmpty }
    let prompts = rollout.promptsPerRollout
    let samples =
      rows.training.map(\.answers.count).max().flatMap { isRecorded ? $0 : nil }
      ?? rollout.samplesPerPrompt
    let longest = rows.training.map(\.prompt).max() ?? 1
    let mean =
      Double(rows.training.reduce(0) { $0 + $1.prompt }) / Double(max(1, rows.training.count))
    let longestAnswer =
      isRecorded ? rows.training.compactMap { $0.answers.max() }.max() ?? 1 : rollout.maxTokens
    let answer = min(longestAnswer, max(1, spec.maximumPositions - longest))
    // A prompt stays together with its answers.
    let family = longest + samples * answer
    // Where all begin alike.
    let openings = Set(rows.training.map(\.opening))
    let opening = openings.count == 1 ? openings.first ?? [] : []
    func tokens(of families: Int) -> Int { families * family - (families - 1) * opening.count }
    let minibatches = passes.map { $0.minibatches } ?? 1
    func pieces(of count: Int) -> [Int] {
      let count = min(count, 100_000)
      return cutIntoPieces(
        [Int](repeating: family, count: count),
        openings: [ArraySlice<Int32>](repeating: opening, count: count), budget: self.pieceTokens
      ).map(\.count)
    }
    let frozen = trainable(spec).frozenLayers(of: spec)
    var memory = ModelWork(trainable(spec))
    memory.optimizer = training.optimiser.optimizer
    memory.shardsMoments = training.optimiser.shardMoments
    memory.averages = training.optimiser.averageDecay > 0
    memory.keepsStart = true
    memory.scalarHead = how.values || how.valueModel
    memory.trainedModels = how.valueModel ? 2 : 1
    // A policy with a value head is written without it, from a copy.
    memory.heldCopies = (how.proposal && !isRecorded ? 1 : 0) + (how.values ? 1 : 0)
    memory.merges = training.weights.merge
    memory.recomputes = training.engine.recompute
    memory.sampling = SamplingShape(
      prompts: isRecorded ? 1 : prompts, samplesPerPrompt: isRecorded ? 1 : samples,
      promptTokens: longest, maxTokens: answer,
      sampler: rollout.sampler)
    let step = pieces(of: (prompts + minibatches - 1) / minibatches)
    memory.passesPerStep = step.count
    func add(_ kind: PassShape.Kind, _ pieces: [Int], scalars: Bool, entropies: Bool) {
      for families in Set(pieces) {
        let scored = families * samples * answer
        memory.passes.insert(
          PassShape(
            kind, rows: tokens(of: families), scored: scored, scalars: scalars ? scored : 0,
            entropies: entropies, fromTrunk: frozen > 0))
      }
    }
    let scoring = pieces(of: prompts)
    if how.distils {
      for families in Set(step) {
        var pass = PassShape(
          .distilled, rows: tokens(of: families), scored: families * samples * answer,
          fromTrunk: frozen > 0)
        pass.teacherWidth = (other ?? spec).width
        memory.passes.insert(pass)
      }
    } else {
      add(.gradients, step, scalars: how.values, entropies: true)
    }
    add(.scores, scoring, scalars: how.values, entropies: true)
    if frozen > 0 {
      // Kept by piece, and joined.
      memory.trunkTokens = 2 * prompts * family
      for families in Set(scoring) {
        memory.passes.insert(PassShape(.scores, rows: tokens(of: families), scored: 0))
      }
    }

    var work = RunWork(memory: memory, unit: .rollout, units: rollout.rollouts)
    work.optimiserSteps = Double(minibatches * (passes?.epochs ?? 1)) * (how.valueModel ? 2 : 1)
    // A sample is shown on the way even where the answers are recorded.
    work.answers = isRecorded ? 0 : prompts * samples * how.draws
    work.promptTokens =
      mean * Double(prompts * how.draws) - Double((prompts - 1) * how.draws * opening.count)
    let whole = Double(prompts) * (mean + Double(samples * answer))
    func run(_ pieces: Int) -> Double { whole - Double(max(0, prompts - pieces) * opening.count) }
    let epochs = Double(passes?.epochs ?? 1)
    let trainedShare = 1 - Double(frozen) / Double(max(1, spec.layers))
    let gradients = epochs * how.trained * (how.valueModel ? 2 : 1)
    work.gradients = PassLoad(
      passes: gradients * Double(step.count * minibatches),
      tokens: gradients * run(step.count * minibatches))
    // A teacher's passes run all layers: it scores a rollout, and once more in each pass over it. A larger one's
    // are as much longer.
    let size = Double((other ?? spec).parameterCount) / Double(spec.parameterCount)
    let teacher = how.teacher ? size * (1 + (how.distils ? epochs : 0)) : 0
    let scorings = Double((how.scoresInStep ? 1 : 2) + (how.valueModel ? 1 : 0))
    let share = scorings * trainedShare + (1 - trainedShare)
    work.scores = PassLoad(
      passes: Double(how.draws) * (scorings + teacher) * Double(scoring.count),
      tokens: Double(how.draws) * (share + teacher) * run(scoring.count))
    work.rowTokens = mean + Double(answer)
    return work
  }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(start, maximumLength: rollout.maxLength)
    let set = try encoder.prompts(data, room: rollout.maxTokens, byRow: false)
    return PlannedRows(training: set.ids.map { RowShape(prompt: $0, for: start.model) })
  }

  package func plannedRow(tokens: Int?, _ spec: TransformerSpec) -> RowShape {
    let limit =
      rollout.maxLength > 0 ? min(rollout.maxLength, spec.maximumPositions) : spec.maximumPositions
    let most = max(1, limit - rollout.maxTokens)
    return RowShape(prompt: min(tokens ?? RowShape.assumedPrompt, most), answers: [], scored: 0)
  }

  package var ownSavings: [(change: String, settings: Self)] {
    var list: [(change: String, settings: Self)] = []
    if rollout.samplesPerPrompt > 2 {
      var fewer = self
      fewer.rollout.samplesPerPrompt /= 2
      list.append(("samples_per_prompt=\(fewer.rollout.samplesPerPrompt)", fewer))
    }
    if rollout.maxTokens > 16 {
      var shorter = self
      shorter.rollout.maxTokens /= 2
      list.append(("max_tokens=\(shorter.rollout.maxTokens)", shorter))
    }
    return list
  }
}
