// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
package import AttuneEngine
package import AttuneObjectives
import Foundation

/// What a contrastive loss asks for beside the responses under the policy.
package struct ContrastiveNeeds {
  /// The loss, by name.
  var loss: String
  /// Whether it reads ρ.
  var reference: Bool
  /// Whether its phase one reads π: then a batch that is cut takes one more forward pass.
  var currentScores: Bool
  /// Whether the prompt's likelihood counts too.
  var promptScores = false
}

/// Policy and reference of a contrastive trainer, and what they say of responses.
///
/// Paper: Rafailov et al. 2023, arXiv:2305.18290.
package struct ContrastiveScores<Label> {
  /// Phase one of a loss: from the responses and companions of a whole batch to the loss of its pieces.
  /// Responses carry π only where `ContrastiveNeeds.currentScores` says so.
  package typealias BatchLoss = (
    [ContrastiveRow<Label>], [[ScoredResponse]], [ScoredResponse]
  ) throws -> PieceLoss
  /// Phase two: a piece's place in the batch and its responses, row by row.
  package typealias PieceLoss = (Range<Int>, [[ScoredResponse]]) throws -> LossResult

  let policy: any LanguageModel
  /// The reference; let go once every answer's log-probability under it is known.
  var origin: LoadedModel?
  let needs: ContrastiveNeeds
  let trunks: TrunkCache
  let pieceTokens: Int

  package init(
    policy: any LanguageModel, origin: LoadedModel? = nil, needs: ContrastiveNeeds,
    trunks: TrunkCache, pieceTokens: Int
  ) {
    self.policy = policy
    self.origin = origin
    self.needs = needs
    self.trunks = trunks
    self.pieceTokens = pieceTokens
  }

  /// Adds the gradients of a batch to the policy, piece by piece.
  ///
  /// - Parameters:
  ///   - batch: The rows of one optimiser step.
  ///   - loss: Their loss.
  /// - Returns: The loss and its metrics.
  package func accumulate(
    _ batch: [ContrastiveRow<Label>], _ loss: BatchLoss
  ) throws -> MetricTotals {
    let pieces = cutIntoPieces(batch.map(\.encoded), for: policy, budget: pieceTokens)
    let companions = try companions(of: batch)
    var ofPiece: PieceLoss?
    if !needs.currentScores {
      // Counts only: log-probabilities are not read.
      let blank = batch.map { row in
        responses(row, policy: row.encoded.answers.map { _ in 0 }, reference: row.reference)
      }
      ofPiece = try loss(batch, blank, companions)
    } else if pieces.count > 1 || !Collective.current.isAlone {
      ofPiece = try loss(batch, responses(to: batch), companions)
    }
    let results = try policy.accumulate(pieces) { piece in
      let made = segments(batch[piece].map(\.encoded))
      let trunk = try trunks.trunk(for: batch[piece].map(\.encoded), segments: made.segments)
      // First: the policy's own pass goes back before another.
      let reference = try reference(batch[piece], made.segments, trunk)
      let pass = try policy.pass(made.segments, trunk: trunk)
      let scored = responses(batch[piece], made, pass.scores, reference)
      // Of a batch that is one piece, all responses are known only now.
      let result = try (ofPiece ?? loss(batch, scored, companions))(piece, scored)
      // Every token of a response has the same derivative.
      var gradients = made.segments.map { segment in
        [Double](repeating: 0, count: segment.scored.reduce(0) { $0 + $1.count })
      }
      func fill(_ segment: Int, _ value: Double) {
        gradients[segment] = gradients[segment].map { _ in value }
      }
      for (answers, gradient) in zip(made.answers, result.logProbabilities) {
        for (segment, value) in zip(answers, gradient) { fill(segment, value) }
        if gradient.count > answers.count, let first = answers.first, first > 0,
          made.segments[first].parent == first - 1
        {
          fill(first - 1, gradient[answers.count])
        }
      }
      try pass.backward(HeadGradients(logProbabilities: gradients))
      return PieceResult(result)
    }
    return PieceResult.totals(of: results)
  }

  /// Loss and metrics over rows that are not trained on, as one batch; and of each row alone.
  ///
  /// - Parameters:
  ///   - rows: The rows.
  ///   - withBefore: Whether the reference is what the policy was before training.
  ///   - loss: Their loss.
  func evaluate(
    _ rows: [ContrastiveRow<Label>], withBefore: Bool, _ loss: BatchLoss
  ) throws -> (totals: MetricTotals, rows: [HeldOutRow]) {
    let scored = try responses(to: rows)
    let second = try loss(rows, scored, companions(of: rows))
    let result = try second(0..<rows.count, scored)
    let prompts = HeldOutRow.numbers(rows.map(\.encoded.prompt))
    func metrics(
      _ i: Int, _ responses: [ScoredResponse], _ wanted: [Metric]
    ) throws -> [Metric: Double] {
      let metrics = try second(i..<i + 1, [responses]).metrics
      return wanted.reduce(into: [:]) { $0[$1] = metrics[$1] }
    }
    let logProbabilities: [Metric] = [.chosenLogProbability, .rejectedLogProbability]
    let single = try rows.indices.map { i in
      var row = HeldOutRow(
        line: rows[i].encoded.line, prompt: prompts[i],
        values: try metrics(
          i, scored[i],
          [.accuracy, .margin, .chosenReward, .rejectedReward] + logProbabilities))
      if withBefore, scored[i].allSatisfy({ $0.reference != nil }) {
        let start = scored[i].map { response in
          var response = response
          response.policy = response.reference ?? response.policy
          return response
        }
        row.before = try metrics(i, start, logProbabilities)
      }
      return row
    }
    var totals = result.metrics
    totals.add(.loss, result.loss)
    return (totals, single)
  }

  /// Groups as segments; the prompt's own likelihood is asked for too where training asks for it, so
  /// that segments are the same everywhere and what is kept of the lower layers fits.
  func segments(_ groups: some Sequence<EncodedGroup>) -> AnswerSegments {
    AnswerSegments(groups, scoringPrompts: needs.promptScores)
  }

  /// The responses of rows under the policy as it is, without a gradient.
  private func responses(
    to rows: [ContrastiveRow<Label>]
  ) throws -> [[ScoredResponse]] {
    let pieces = cutIntoPieces(rows.map(\.encoded), for: policy, budget: pieceTokens)
    return try Collective.current.map(pieces) { piece in
      let made = segments(rows[piece].map(\.encoded))
      let trunk = try trunks.trunk(for: rows[piece].map(\.encoded), segments: made.segments)
      let reference = try reference(rows[piece], made.segments, trunk)
      let scores = try policy.score(made.segments, trunk: trunk)
      return responses(rows[piece], made, scores, reference)
    }.flatMap(\.self)
  }

  private func responses(
    _ rows: ArraySlice<ContrastiveRow<Label>>, _ made: AnswerSegments,
    _ scores: HeadScores, _ reference: HeadScores?
  ) -> [[ScoredResponse]] {
    return zip(rows, made.answers).map { row, answers in
      let policy = answers.map { Self.sum(scores.logProbabilities[$0]) }
      var list = responses(
        row, policy: policy,
        reference: row.reference
          ?? reference.map { scores in answers.map { Self.sum(scores.logProbabilities[$0]) } })
      if needs.promptScores, let first = answers.first, first > 0,
        made.segments[first].parent == first - 1
      {
        let prompt = scores.logProbabilities[first - 1]
        for i in list.indices {
          list[i].promptPolicy = Self.sum(prompt)
          list[i].promptTokens = prompt.count
        }
      }
      return list
    }
  }

  /// The reference's pass over rows for which it is not known yet.
  private func reference(
    _ rows: ArraySlice<ContrastiveRow<Label>>, _ segments: [Segment], _ trunk: (any Trunk)?
  ) throws -> HeadScores? {
    guard needs.reference, rows.contains(where: { $0.reference == nil }) else { return nil }
    let model = reference()
    let fits = trunk.map { model.accepts($0) } ?? false
    return try model.score(segments, trunk: fits ? trunk : nil)
  }

  private func responses(
    _ row: ContrastiveRow<Label>, policy: [Double], reference: [Double]?
  ) -> [ScoredResponse] {
    row.encoded.answers.indices.map { i in
      ScoredResponse(
        policy: policy[i], reference: needs.reference ? reference?[i] ?? 0 : nil,
        tokens: row.encoded.answers[i].scored.reduce(0) { $0 + $1.count },
        promptTokens: needs.promptScores ? max(0, row.encoded.prompt.count - 1) : 0)
    }
  }

  /// The reference, where something is to be asked of it.
  func reference() -> any LanguageModel {
    guard let origin else { preconditionFailure("the reference is gone, and something is unknown") }
    return origin.model
  }

  static func sum(_ values: [Double]) -> Double { values.reduce(0, +) }
}
