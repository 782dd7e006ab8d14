// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

/// What a loss sees of some answers: one list an answer, one number a token.
struct AnswerScores: Codable {
  var logProbabilities: [[Double]]
  /// Empty where they were not asked for.
  var entropies: [[Double]]
  /// Empty where they were not asked for.
  var values: [[Double]]
}

/// What a piece of a rollout came to in an update.
struct AnswersPass: Codable {
  /// Its answers.
  var answers: [Int]
  /// What the loss saw of them.
  var scores: AnswerScores
  /// What was measured, loss after loss.
  var metrics: [MetricTotals]
}

extension ScoredRollout {
  /// Adds the gradient of a loss on the answers to some prompts, piece by piece; a piece holds all
  /// answers to its prompts.
  ///
  /// - Parameters:
  ///   - batch: The prompts.
  ///   - model: The model that is trained.
  ///   - request: What its head is asked for.
  ///   - scored: Whether log-probabilities are wanted.
  ///   - values: Whether the value of the state before each token is wanted.
  ///   - budget: Tokens of a piece.
  ///   - loss: The loss of a piece, from the indices of its answers and their scores, with what was
  ///     measured on the way; its result has one list an answer.
  /// - Returns: What each piece came to.
  func accumulate(
    _ batch: [Int], into model: any LanguageModel, _ request: HeadRequest, scored: Bool = true,
    values: Bool = false, budget: Int,
    loss: (_ answers: [Int], _ scores: AnswerScores) throws -> (LossResult, [MetricTotals])
  ) throws -> [AnswersPass] {
    try model.accumulate(sampled.pieces(batch, for: model, budget: budget)) { piece in
      let (chosen, chosenAnswers) = sampled.indices(of: piece)
      let segments = sampled.request(chosen, scored: scored, values: values)
      let places = sampled.places(of: chosenAnswers, in: chosen)
      let pass = try model.pass(
        segments, request, trunk: trunk?.shared(by: model)?.selecting(chosen))
      let scores = pass.scores
      let seen = AnswerScores(
        logProbabilities: scored ? places.map { scores.logProbabilities[$0] } : [],
        entropies: request.entropy ? places.map { scores.entropies[$0] } : [],
        values: values ? places.map { scores.scalars[$0] } : [])
      let (result, metrics) = try loss(chosenAnswers, seen)
      func spread(_ lists: [[Double]]) -> [[Double]] {
        guard !lists.isEmpty else { return [] }
        var all = segments.map { _ in [Double]() }
        for (list, i) in zip(lists, places) { all[i] = list }
        return all
      }
      try pass.backward(
        HeadGradients(
          logProbabilities: spread(result.logProbabilities),
          entropies: spread(result.entropies), scalars: spread(result.scalars)))
      return AnswersPass(answers: chosenAnswers, scores: seen, metrics: metrics)
    }
  }

  /// Adds the gradient of the supervised loss on the answers to some prompts.
  ///
  /// - Parameters:
  ///   - batch: The prompts.
  ///   - policy: The model that is trained.
  ///   - temperature: The sampling temperature.
  ///   - budget: Tokens of a piece.
  /// - Returns: The metrics of the minibatch.
  func supervise(
    _ batch: [Int], into policy: any LanguageModel, temperature: Double, budget: Int
  ) throws -> MetricTotals {
    func ones(_ chosen: [Int]) -> [[Double]] {
      chosen.map { [Double](repeating: 1, count: answers[$0].completion.ids.count) }
    }
    let statistics = TokenLoss.statistics(weights: ones(sampled.indices(of: batch).answers))
    let passes = try accumulate(
      batch, into: policy, HeadRequest(temperature: temperature), budget: budget
    ) { chosen, scores in
      let result = TokenLoss.supervised(
        logProbabilities: scores.logProbabilities, weights: ones(chosen), statistics: statistics)
      return (result, [result.metrics])
    }
    return MetricTotals(merging: passes.flatMap(\.metrics))
  }
}
