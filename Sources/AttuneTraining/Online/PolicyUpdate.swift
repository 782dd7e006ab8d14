// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
import Foundation

/// One minibatch of a reward-maximising method: the gradient of its policy loss, and of the value
/// loss if there are values, piece by piece.
struct PolicyUpdate {
  /// The prompts whose answers it sees.
  let batch: [Int]
  let loss: PolicyLoss
  /// The policy loss's knobs.
  let objective: PolicySettings
  /// The value loss's knobs.
  var valueObjective = ValueSettings()
  /// The sampling temperature.
  let temperature: Double
  /// Tokens of a piece.
  let budget: Int

  /// Adds the gradients.
  ///
  /// - Parameters:
  ///   - rollout: The rollout. Where it awaits the policy's numbers every ratio is 1, and it gets them.
  ///   - policy: The policy.
  ///   - value: The model with the value head, the policy or one of its own; nil: there is none.
  ///   - checkingRatio: Whether nothing was trained since the rollout, so that every ratio is 1.
  /// - Returns: The metrics of the minibatch.
  /// - Throws: `TrainingError` if a ratio that must be 1 is not.
  func accumulate(
    _ rollout: inout Rollout, policy: any LanguageModel, value: (any LanguageModel)? = nil,
    checkingRatio: Bool
  ) throws -> MetricTotals {
    precondition(
      !rollout.awaitsPolicy || batch.count == rollout.prompts.count,
      "a rollout that awaits the policy's numbers is one step")
    // As it came: the pass writes into the rollout while its segments are read.
    let scored = rollout
    let all = scored.indices(of: batch).answers.map { scored.answers[$0] }
    let withReference = objective.klWeight > 0
    let withEntropies = objective.entropyBonus > 0
    func row(_ answer: Rollout.Answer, new: [Double], entropies: [Double]) -> PolicyRow {
      PolicyRow(
        new: new, old: answer.old, advantages: answer.advantages, entropies: entropies,
        reference: withReference ? answer.reference : [])
    }
    let statistics = try loss.statistics(
      of: all.map { row($0, new: [], entropies: []) }, settings: objective)
    let values = try value.map { try ValueUpdate(all, settings: valueObjective, model: $0) }
    let valuesAreShared = value === policy

    var totals = MetricTotals()
    try scored.accumulate(
      batch, into: policy,
      HeadRequest(temperature: temperature, entropy: withEntropies || scored.awaitsPolicy),
      values: valuesAreShared, budget: budget
    ) { chosen, scores in
      if scored.awaitsPolicy {
        for (i, answer) in chosen.enumerated() {
          rollout.answers[answer].old = scores.logProbabilities[i]
          rollout.answers[answer].entropies = scores.entropies[i]
        }
      }
      let answers = chosen.map { rollout.answers[$0] }
      let rows = answers.enumerated().map { i, answer in
        row(
          answer, new: scores.logProbabilities[i],
          entropies: withEntropies ? scores.entropies[i] : [])
      }
      if checkingRatio, !scored.awaitsPolicy {
        totals.addMaximum(.firstRatioGap, try checkRatios(rows))
      }
      var result = loss.loss(rows, statistics: statistics, settings: objective)
      totals.merge(result.metrics)
      if valuesAreShared, let values {
        let valueResult = values.loss(answers, scores.values)
        totals.merge(valueResult.metrics)
        result.scalars = valueResult.scalars
      }
      return result
    }
    rollout.awaitsPolicy = false
    if let values, !valuesAreShared {
      try rollout.accumulate(
        batch, into: values.model, HeadRequest(), scored: false, values: true, budget: budget
      ) { chosen, scores in
        let result = values.loss(chosen.map { rollout.answers[$0] }, scores.values)
        totals.merge(result.metrics)
        return result
      }
    }
    return totals
  }

  /// The largest |ratio − 1|, which must be next to nothing before the first step of a rollout.
  private func checkRatios(_ rows: [PolicyRow]) throws -> Double {
    var gap = 0.0
    for row in rows {
      for (new, old) in zip(row.new, row.old) { gap = max(gap, abs(exp(new - old) - 1)) }
    }
    guard gap < 1e-4 else {
      throw TrainingError(
        .diverged,
        "before the first step of a rollout the ratio of new to old probabilities is off by \(gap): "
          + "scoring the same tokens twice gives different numbers, a fault of the engine")
    }
    return gap
  }
}

/// The value loss of a minibatch.
private struct ValueUpdate {
  let model: any LanguageModel
  private let settings: ValueSettings
  private let statistics: ValueStatistics

  init(_ answers: [Rollout.Answer], settings: ValueSettings, model: any LanguageModel) throws {
    self.settings = settings
    self.model = model
    statistics = try ValueLoss.clipped.statistics(
      of: answers.map { ValueRow(values: [], oldValues: $0.values, returns: $0.returns) },
      settings: settings)
  }

  func loss(_ answers: [Rollout.Answer], _ values: [[Double]]) -> LossResult {
    let rows = zip(answers, values).map { answer, values in
      ValueRow(values: values, oldValues: answer.values, returns: answer.returns)
    }
    return ValueLoss.clipped.loss(rows, statistics: statistics, settings: settings)
  }
}
