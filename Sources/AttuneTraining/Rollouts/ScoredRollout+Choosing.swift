// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

extension ScoredRollout {
  /// The prompts whose answers did not all get one score: the others have no gradient where an answer
  /// is held against those to its prompt.
  var promptsToldApart: [Int] {
    prompts.indices.filter { prompt in
      Set(answers.lazy.filter { $0.prompt == prompt }.map(\.score)).count > 1
    }
  }

  /// The rollout with some of its prompts alone.
  func keeping(_ kept: [Int]) throws -> ScoredRollout {
    let (chosen, chosenAnswers) = sampled.indices(of: kept)
    var places: [Int: Int] = [:]
    for (place, prompt) in kept.enumerated() { places[prompt] = place }
    return ScoredRollout(
      Rollout(
        prompts: kept.map { prompts[$0] }, promptIds: kept.map { sampled.promptIds[$0] },
        answers: chosenAnswers.map { i in
          var answer = sampled.answers[i]
          answer.prompt = places[answer.prompt] ?? 0
          return answer
        }, samplerDiffers: sampled.samplerDiffers),
      answers: chosenAnswers.map { answers[$0] },
      trunk: try kept.isEmpty ? nil : trunk?.selecting(chosen),
      sourceRewards: sourceRewards.map { source, rewards in
        (source, chosenAnswers.map { rewards[$0] })
      })
  }

  /// The rollout with some of its answers alone, at least one to each prompt.
  ///
  /// - Parameter chosen: Their indices.
  func keeping(answers chosen: [Int]) throws -> ScoredRollout {
    let chosen = chosen.sorted()
    let segments = Set(chosen.map { answers[$0].segment })
    return ScoredRollout(
      Rollout(
        prompts: prompts, promptIds: sampled.promptIds, answers: chosen.map { sampled.answers[$0] },
        isOffPolicy: sampled.isOffPolicy, samplerDiffers: sampled.samplerDiffers),
      answers: chosen.map { answers[$0] },
      trunk: try trunk?.selecting(
        sampled.segments.indices.filter {
          sampled.segments[$0].parent == nil || segments.contains($0)
        }))
  }

  /// One rollout of several, prompts after prompts.
  static func joining(_ rollouts: [ScoredRollout]) throws -> ScoredRollout {
    var all: [Rollout.Answer] = []
    var before = 0
    for scored in rollouts {
      all += scored.sampled.answers.map { answer in
        var answer = answer
        answer.prompt += before
        return answer
      }
      before += scored.prompts.count
    }
    return ScoredRollout(
      Rollout(
        prompts: rollouts.flatMap(\.prompts), promptIds: rollouts.flatMap(\.sampled.promptIds),
        answers: all, samplerDiffers: rollouts.contains { $0.sampled.samplerDiffers }),
      answers: rollouts.flatMap(\.answers),
      trunk: try rollouts.compactMap(\.trunk).joined(),
      sourceRewards: (rollouts.first?.sourceRewards ?? []).enumerated().map { place, source in
        (source.source, rollouts.flatMap { $0.sourceRewards[place].rewards })
      })
  }
}
