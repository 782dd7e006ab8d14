// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
import Foundation

extension Rollout {
  /// How much each answer counts in a mean over the policy's own: π/q, adding up to the number of
  /// answers to each prompt. Empty where the policy drew them.
  var policyWeights: [Double] {
    guard isOffPolicy else { return [] }
    var weights = answers.map { _ in 1.0 }
    for prompt in prompts.indices {
      let own = indices(of: [prompt]).answers
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
      let own = indices(of: [prompt]).answers
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
    for piece in pieces(prompts, budget: budget) {
      let (chosen, own) = indices(of: piece)
      let scores = try model.score(
        request(chosen, scored: true, values: false), HeadRequest(temperature: temperature),
        trunk: sharing(trunk, model)?.selecting(chosen))
      var place: [Int: Int] = [:]
      for (i, segment) in chosen.enumerated() { place[segment] = i }
      for answer in own {
        guard let i = place[answers[answer].segment] else { continue }
        sums[answer] = scores.logProbabilities[i].reduce(0, +)
      }
    }
    return sums
  }

  /// The rollout with some of its answers alone, at least one to each prompt.
  ///
  /// - Parameter chosen: Their indices.
  func keeping(answers chosen: [Int]) -> Rollout {
    let chosen = chosen.sorted()
    var kept = Rollout(
      prompts: prompts, promptIds: promptIds, answers: chosen.map { answers[$0] })
    kept.isOffPolicy = isOffPolicy
    let segments = Set(chosen.map { answers[$0].segment })
    kept.trunk = trunk?.selecting(
      self.segments.indices.filter {
        self.segments[$0].parent == nil || segments.contains($0)
      })
    return kept
  }
}
