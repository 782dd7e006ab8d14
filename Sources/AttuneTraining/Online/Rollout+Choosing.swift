// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

extension Rollout {
  /// The prompts whose answers did not all get one score: the others have no gradient where an answer
  /// is held against those to its prompt.
  var promptsToldApart: [Int] {
    prompts.indices.filter { prompt in
      Set(answers.lazy.filter { $0.prompt == prompt }.map(\.score)).count > 1
    }
  }

  /// The rollout with some of its prompts alone.
  func keeping(_ kept: [Int]) -> Rollout {
    let (chosen, chosenAnswers) = indices(of: kept)
    var places: [Int: Int] = [:]
    for (place, prompt) in kept.enumerated() { places[prompt] = place }
    var rollout = Rollout(
      prompts: kept.map { prompts[$0] }, promptIds: kept.map { promptIds[$0] },
      answers: chosenAnswers.map { i in
        var answer = answers[i]
        answer.prompt = places[answer.prompt] ?? 0
        return answer
      })
    rollout.sourceRewards = sourceRewards.map { source, rewards in
      (source, chosenAnswers.map { rewards[$0] })
    }
    rollout.trunk = kept.isEmpty ? nil : trunk?.selecting(chosen)
    return rollout
  }

  /// One rollout of several, prompts after prompts.
  static func joining(_ rollouts: [Rollout]) -> Rollout {
    var answers: [Answer] = []
    var before = 0
    for rollout in rollouts {
      answers += rollout.answers.map { answer in
        var answer = answer
        answer.prompt += before
        return answer
      }
      before += rollout.prompts.count
    }
    var joined = Rollout(
      prompts: rollouts.flatMap(\.prompts), promptIds: rollouts.flatMap(\.promptIds),
      answers: answers)
    for (place, source) in (rollouts.first?.sourceRewards ?? []).enumerated() {
      joined.sourceRewards.append(
        (source.source, rollouts.flatMap { $0.sourceRewards[place].rewards }))
    }
    joined.trunk = rollouts.compactMap(\.trunk).joined()
    return joined
  }
}
