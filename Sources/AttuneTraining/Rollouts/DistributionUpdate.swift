// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

/// One minibatch of distribution matching: the gradient of its loss, piece by piece.
struct DistributionUpdate {
  let rollout: ScoredRollout
  /// The prompts whose answers it sees.
  let batch: [Int]
  package let loss: DistributionLoss
  /// The loss's knobs.
  var objective = DistributionSettings()
  /// What a reward is divided by in the target.
  let beta: Double
  /// The sampling temperature.
  let temperature: Double
  /// Tokens of a piece.
  let budget: Int

  /// Adds the gradients.
  ///
  /// - Parameters:
  ///   - policy: The policy.
  ///   - isFirst: Whether nothing was trained since the rollout was scored.
  ///   - state: What the loss keeps between batches.
  /// - Returns: The metrics of the minibatch.
  /// - Throws: An error of the engine, or for log-probabilities that are no numbers.
  func accumulate(
    policy: any LanguageModel, isFirst: Bool, state: inout DistributionState
  ) throws -> MetricTotals {
    // A mean over the whole minibatch, which the policy has moved away from since it was scored.
    let current =
      loss.needsCurrentScores && !isFirst
      ? try rollout.policy(policy, on: batch, temperature: temperature, budget: budget) : nil
    let statistics = try loss.statistics(
      of: rollout.groups(of: batch, policy: current, beta: beta), settings: objective,
      state: state)
    state = statistics.state

    let passes = try rollout.accumulate(
      batch, into: policy, HeadRequest(temperature: temperature), budget: budget
    ) { chosen, scores in
      var sums = rollout.answers.map(\.policy)
      for (i, tokens) in zip(chosen, scores.logProbabilities) { sums[i] = tokens.reduce(0, +) }
      var prompts: [Int] = []
      for i in chosen where prompts.last != rollout.answers[i].prompt {
        prompts.append(rollout.answers[i].prompt)
      }
      var result = loss.loss(
        rollout.groups(of: prompts, policy: sums, beta: beta), statistics: statistics,
        settings: objective)
      // The log-probability of an answer is the sum of its tokens'.
      result.logProbabilities = zip(result.logProbabilities.joined(), scores.logProbabilities).map {
        gradient, tokens in tokens.map { _ in gradient }
      }
      return (result, [result.metrics])
    }
    return MetricTotals(merging: passes.flatMap(\.metrics))
  }
}
