// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
import Foundation

/// One minibatch of a reward-maximising method: the gradient of its policy loss, and of the value
/// loss if there are values, piece by piece.
struct PolicyUpdate {
  /// The prompts whose answers it sees.
  let batch: [Int]
  package let loss: PolicyLoss
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
  ///   - rollout: The rollout.
  ///   - policy: The policy.
  ///   - value: The model with the value head, the policy or one of its own; nil: there is none.
  ///   - checkingRatio: Whether nothing was trained since the rollout, so that every ratio is 1.
  /// - Returns: The metrics of the minibatch.
  /// - Throws: `TrainingError` if a ratio that must be 1 is not.
  func accumulate(
    _ rollout: ScoredRollout, policy: any LanguageModel, value: (any LanguageModel)? = nil,
    checkingRatio: Bool
  ) throws -> MetricTotals {
    func old(_ answers: [Int]) -> [[Double]] { answers.map { rollout.answers[$0].old } }
    var (totals, passes) = try accumulate(
      rollout, policy, value, entropy: objective.entropyBonus > 0
    ) { chosen, _ in old(chosen) }
    if checkingRatio {
      let gaps = try passes.map {
        try Self.ratioGap(new: $0.scores.logProbabilities, old: old($0.answers))
      }
      if let gap = gaps.max() { totals.addMaximum(.firstRatioGap, gap) }
    }
    return totals
  }

  /// Adds the gradients of a rollout's only step, in which every ratio is 1, and takes the policy's
  /// numbers from its pass.
  ///
  /// - Parameters:
  ///   - rollout: The rollout; the minibatch holds all of its prompts.
  ///   - policy: The policy.
  /// - Returns: The metrics of the step.
  func accumulateOnly(
    _ rollout: inout ScoredRollout, policy: any LanguageModel
  ) throws -> MetricTotals {
    precondition(batch.count == rollout.prompts.count, "the step is the rollout's only one")
    let (totals, passes) = try accumulate(rollout, policy, nil, entropy: true) {
      $1.logProbabilities
    }
    for pass in passes {
      for (i, answer) in pass.answers.enumerated() {
        rollout.answers[answer].old = pass.scores.logProbabilities[i]
        rollout.answers[answer].entropies = pass.scores.entropies[i]
      }
    }
    return totals
  }

  /// Adds the gradients.
  ///
  /// - Parameter old: Of some answers the log-probabilities under the policy that sampled, from their
  ///   scores.
  private func accumulate(
    _ rollout: ScoredRollout, _ policy: any LanguageModel, _ value: (any LanguageModel)?,
    entropy: Bool, old: (_ answers: [Int], _ scores: AnswerScores) throws -> [[Double]]
  ) throws -> (totals: MetricTotals, passes: [AnswersPass]) {
    let all = rollout.sampled.indices(of: batch).answers.map { rollout.answers[$0] }
    let withReference = objective.klWeight > 0
    let withEntropies = objective.entropyBonus > 0
    func row(
      _ answer: ScoredRollout.Answer, new: [Double], old: [Double], entropies: [Double]
    ) -> PolicyRow {
      PolicyRow(
        new: new, old: old, advantages: answer.advantages, entropies: entropies,
        reference: withReference ? answer.reference : [],
        sampler: rollout.sampled.samplerDiffers ? answer.sampler : [])
    }
    let statistics = try loss.statistics(
      of: all.map { row($0, new: [], old: $0.old, entropies: []) }, settings: objective)
    let values = try value.map { try ValueUpdate(all, settings: valueObjective, model: $0) }
    let valuesAreShared = value === policy

    let passes = try rollout.accumulate(
      batch, into: policy, HeadRequest(temperature: temperature, entropy: entropy),
      values: valuesAreShared, budget: budget
    ) { chosen, scores in
      let answers = chosen.map { rollout.answers[$0] }
      let old = try old(chosen, scores)
      let rows = answers.enumerated().map { i, answer in
        row(
          answer, new: scores.logProbabilities[i], old: old[i],
          entropies: withEntropies ? scores.entropies[i] : [])
      }
      var result = loss.loss(rows, statistics: statistics, settings: objective)
      var metrics = [result.metrics]
      if valuesAreShared, let values {
        let valueResult = values.loss(answers, scores.values)
        metrics.append(valueResult.metrics)
        result.scalars = valueResult.scalars
      }
      return (result, metrics)
    }
    var totals = MetricTotals(merging: passes.flatMap(\.metrics))
    if let values, !valuesAreShared {
      let passes = try rollout.accumulate(
        batch, into: values.model, HeadRequest(), scored: false, values: true, budget: budget
      ) { chosen, scores in
        let result = values.loss(chosen.map { rollout.answers[$0] }, scores.values)
        return (result, [result.metrics])
      }
      totals.merge(MetricTotals(merging: passes.flatMap(\.metrics)))
    }
    return (totals, passes)
  }

  /// The largest |ratio − 1|, which must be next to nothing before the first step of a rollout.
  private static func ratioGap(new: [[Double]], old: [[Double]]) throws -> Double {
    let gap = zip(new.joined(), old.joined()).reduce(0) { max($0, abs(exp($1.0 - $1.1) - 1)) }
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

  init(
    _ answers: [ScoredRollout.Answer], settings: ValueSettings, model: any LanguageModel
  ) throws {
    self.settings = settings
    self.model = model
    statistics = try ValueLoss.clipped.statistics(
      of: answers.map { ValueRow(values: [], oldValues: $0.values, returns: $0.returns) },
      settings: settings)
  }

  func loss(_ answers: [ScoredRollout.Answer], _ values: [[Double]]) -> LossResult {
    let rows = zip(answers, values).map { answer, values in
      ValueRow(values: values, oldValues: answer.values, returns: answer.returns)
    }
    return ValueLoss.clipped.loss(rows, statistics: statistics, settings: settings)
  }
}
