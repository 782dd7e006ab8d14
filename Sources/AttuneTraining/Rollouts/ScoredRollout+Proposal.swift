// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneEngine
import AttuneObjectives
import Foundation

extension ScoredRollout {
  /// How much each answer counts in a mean over the policy's own: π/q, adding up to the number of
  /// answers to each prompt. Empty where the policy drew them.
  var policyWeights: [Double] {
    guard sampled.isOffPolicy else { return [] }
    var weights = answers.map { _ in 1.0 }
    for prompt in prompts.indices {
      let own = sampled.indices(of: [prompt]).answers
      let logs = own.map { answers[$0].policy - answers[$0].proposal }
      let total = logSumExp(logs)
      for (i, log) in zip(own, logs) { weights[i] = exp(log - total) * Double(own.count) }
    }
    return weights
  }

  /// The answers to some prompts as distribution matching sees them, one group a prompt. The target
  /// is ρ·e^{score/β}; what drew an answer is what was recorded of it.
  ///
  /// - Parameters:
  ///   - prompts: The prompts.
  ///   - policy: log π of every answer of the rollout; nil is that of its own pass.
  ///   - beta: β.
  func groups(
    of prompts: [Int], policy: [Double]? = nil, beta: Double
  ) -> [DistributionGroup] {
    prompts.map { prompt in
      let own = sampled.indices(of: [prompt]).answers
      return DistributionGroup(
        policy: own.map { policy?[$0] ?? answers[$0].policy },
        target: DistributionGroup.target(
          reference: own.map { answers[$0].reference.reduce(0, +) },
          rewards: own.map { answers[$0].score }, beta: beta),
        proposal: own.map { answers[$0].proposal })
    }
  }

  /// log π of every answer of the rollout, those to some prompts under the model as it is now.
  func policy(
    _ model: any LanguageModel, on prompts: [Int], temperature: Double, budget: Int
  ) throws -> [Double] {
    var sums = answers.map(\.policy)
    let pieces = sampled.pieces(prompts, for: model, budget: budget)
    let results = try Collective.current.map(pieces) { piece in
      let (chosen, own) = sampled.indices(of: piece)
      let scores = try model.score(
        sampled.request(chosen, scored: true, values: false), HeadRequest(temperature: temperature),
        trunk: trunk?.shared(by: model)?.selecting(chosen))
      return sampled.places(of: own, in: chosen).map { scores.logProbabilities[$0].reduce(0, +) }
    }
    for (piece, values) in zip(pieces, results) {
      for (answer, value) in zip(sampled.indices(of: piece).answers, values) {
        sums[answer] = value
      }
    }
    return sums
  }
}
