// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// A policy's answer to a prompt, with what ranks it.
struct RankedAnswer {
  var completion: Completion
  /// Whether the reference gave it, for XPO's bonus.
  var isReferences: Bool
  /// What it is ranked by; nil where a judge gave no valid answer.
  var score: Double?
  /// Log-probability of each token under the policy that sampled.
  var policy: [Double] = []
  /// The same under the reference that KL is measured from.
  var reference: [Double] = []

  /// The log-ratio of the whole answer.
  var logRatio: Double { policy.reduce(0, +) - reference.reduce(0, +) }
}

/// A policy's fresh answers to some prompts, with what ranks them and what two models say of them.
struct RankedAnswers {
  /// A prompt with its answers.
  struct Prompt {
    var data: DataPrompt
    var ids: [Int32]
    var answers: [RankedAnswer]

    var content: Content { data.content }

    /// Answers that can be told apart and have a score, best first.
    var ranked: [(place: Int, score: Double)] {
      var seen: Set<String> = []
      var list: [(place: Int, score: Double)] = []
      for (place, answer) in answers.enumerated()
      where seen.insert(answer.completion.text).inserted {
        if let score = answer.score { list.append((place, score)) }
      }
      return list.sorted { ($1.score, $0.place) < ($0.score, $1.place) }
    }

    /// The answer that XPO's bonus is on.
    var explored: RankedAnswer? { answers.last { $0.isReferences } }
  }

  /// Two answers to a prompt, the better one first.
  struct Pair {
    var prompt: Int
    var chosen: Int
    var rejected: Int
  }

  /// The round, from 1; 0 is a last look.
  var round: Int
  /// The prompts' places in the data.
  var places: [Int]
  var prompts: [Prompt]

  /// Samples answers.
  ///
  /// - Returns: Nil if it was stopped before all answers were there.
  static func draw(
    _ policy: any LanguageModel, reference: any LanguageModel, round: Int, places: [Int],
    prompts: [DataPrompt], ids: [[Int32]], encoder: TextEncoder, tokenizer: Tokenizer,
    settings: IterateSettings, shouldStop: @escaping () -> Bool
  ) throws -> RankedAnswers? {
    var drawn = RankedAnswers(
      round: round, places: places,
      prompts: places.map { Prompt(data: prompts[$0], ids: ids[$0], answers: []) })
    let others = settings.explores ? 1 : 0
    for (model, count, isReferences) in [
      (policy, settings.samplesPerPrompt - others, false), (reference, others, true),
    ] where count > 0 {
      var sampling = settings.sampling(round: round, count: count, end: encoder.endings)
      // In the first round both are the same model.
      if isReferences { sampling.seed ^= 0x5850_4F00_0000_0000 }
      guard
        let rollout = try Rollout.sample(
          model, prompts: drawn.prompts.map(\.data), promptIds: drawn.prompts.map(\.ids),
          tokenizer: tokenizer, settings: sampling, shouldStop: shouldStop)
      else { return nil }
      for answer in rollout.answers {
        drawn.prompts[answer.prompt].answers.append(
          RankedAnswer(completion: answer.completion, isReferences: isReferences))
      }
    }
    try drawn.score(policy, reference, settings)
    return drawn
  }

  /// The prompts with all their answers as tokens.
  private var groups: [EncodedGroup] {
    prompts.map { prompt in
      EncodedGroup(
        line: 0, prompt: prompt.ids, promptCut: 0,
        answers: prompt.answers.map { Self.encoded($0.completion) })
    }
  }

  private static func encoded(_ completion: Completion) -> EncodedAnswer {
    .init(ids: completion.ids, scored: [0..<completion.ids.count], isCut: false)
  }

  private mutating func score(
    _ policy: any LanguageModel, _ reference: any LanguageModel, _ settings: IterateSettings
  ) throws {
    let groups = groups
    func tokens(_ model: any LanguageModel) throws -> [[SequenceScores.Tokens]] {
      try SequenceScores.tokens(
        model, groups, temperature: settings.temperature, pieceTokens: settings.dpo.pieceTokens)
    }
    let (ours, theirs) = (try tokens(policy), try tokens(reference))
    for i in prompts.indices {
      for j in prompts[i].answers.indices {
        prompts[i].answers[j].policy = ours[i][j].logProbabilities
        prompts[i].answers[j].reference = theirs[i][j].logProbabilities
      }
    }
  }

  /// The weighted rewards of all answers, prompt by prompt.
  private func rewards(
    of sources: [(source: any RewardSource, weight: Double)], origin: String
  ) throws -> [[Double]] {
    let rollout = Rollout(
      prompts: prompts.map(\.data), promptIds: prompts.map(\.ids),
      answers: prompts.enumerated().flatMap { index, prompt in
        prompt.answers.map {
          Rollout.Answer(prompt: index, completion: $0.completion, sampler: [])
        }
      })
    var rewards = prompts.map { _ in [Double]() }
    for (answer, reward) in zip(
      rollout.answers, try rollout.rewards(of: sources, origin: origin).rewards)
    {
      rewards[answer.prompt].append(reward)
    }
    return rewards
  }

  /// Ranks by rewards.
  mutating func rank(
    by sources: [(source: any RewardSource, weight: Double)], origin: String
  ) throws {
    let rewards = try rewards(of: sources, origin: origin)
    for i in prompts.indices {
      for j in prompts[i].answers.indices { prompts[i].answers[j].score = rewards[i][j] }
    }
  }

  /// Ranks by a judge: by grades, or by the mean probability of winning against the prompt's other
  /// answers.
  mutating func rank(by panel: JudgePanel) throws {
    let distinct = prompts.map { prompt in
      var seen: Set<String> = []
      return prompt.answers.indices.filter {
        seen.insert(prompt.answers[$0].completion.text).inserted
      }
    }
    func place(_ prompt: Int) -> UInt64 {
      UInt64(round) &* 1_000_003 &+ UInt64(places[prompt])
    }
    if panel.settings.by == .rubric {
      let flat = prompts.indices.flatMap { prompt in distinct[prompt].map { (prompt, $0) } }
      let grades = try panel.grade(
        flat.map { prompt, answer in
          (
            prompts[prompt].content, prompts[prompt].answers[answer].completion.text,
            [place(prompt)]
          )
        })
      for ((prompt, answer), grade) in zip(flat, grades) {
        prompts[prompt].answers[answer].score = grade
      }
      return
    }
    var asked: [(prompt: Int, first: Int, second: Int)] = []
    for (prompt, answers) in distinct.enumerated() {
      for (at, first) in answers.enumerated() {
        for second in answers[(at + 1)...] { asked.append((prompt, first, second)) }
      }
    }
    let verdicts = try panel.compare(
      asked.map { pair in
        let prompt = prompts[pair.prompt]
        return JudgedPair(
          prompt: prompt.content, first: prompt.answers[pair.first].completion.text,
          second: prompt.answers[pair.second].completion.text,
          place: [place(pair.prompt), UInt64(pair.first), UInt64(pair.second)])
      }
    ).verdicts
    var wins = prompts.map { $0.answers.map { _ in [Double]() } }
    for (pair, verdict) in zip(asked, verdicts) {
      guard let p = verdict.probability else { continue }
      wins[pair.prompt][pair.first].append(p)
      wins[pair.prompt][pair.second].append(1 - p)
    }
    for i in prompts.indices {
      for j in prompts[i].answers.indices where !wins[i][j].isEmpty {
        prompts[i].answers[j].score = Statistics.mean(wins[i][j])
      }
    }
  }

  /// The pairs; a prompt whose answers are all alike or equally good has none.
  func pairs(_ choice: IterateSettings.Pairs) -> [Pair] {
    prompts.indices.flatMap { prompt -> [Pair] in
      let ranked = prompts[prompt].ranked
      guard let best = ranked.first, let worst = ranked.last, best.score > worst.score else {
        return []
      }
      func pair(_ chosen: Int, _ rejected: Int) -> Pair {
        Pair(prompt: prompt, chosen: chosen, rejected: rejected)
      }
      switch choice {
      case .bestWorst: return [pair(best.place, worst.place)]
      case .bestRest:
        return ranked.filter { $0.score < best.score }.map { pair(best.place, $0.place) }
      case .all:
        return ranked.flatMap { better in
          ranked.filter { $0.score < better.score }.map { pair(better.place, $0.place) }
        }
      }
    }
  }

  /// A pair as a contrastive loss trains on it, from the tokens that were sampled.
  ///
  /// - Parameter isTempered: Whether log-probabilities are not those that losses are of.
  func row(_ pair: Pair, isTempered: Bool) -> ContrastiveRow<PreferenceLabel> {
    let prompt = prompts[pair.prompt]
    let answers =
      [prompt.answers[pair.chosen], prompt.answers[pair.rejected]]
      + (prompt.explored.map { [$0] } ?? [])
    return ContrastiveRow(
      label: PreferenceLabel(),
      encoded: EncodedGroup(
        line: places[pair.prompt] + 1, prompt: prompt.ids, promptCut: 0,
        answers: answers.map { Self.encoded($0.completion) }),
      reference: isTempered ? nil : answers.map { $0.reference.reduce(0, +) })
  }

  /// What the answers look like: rewards, KL, lengths; and whether the implicit reward β·log π/ρ, not
  /// yet trained on them, ranks the pairs right.
  ///
  /// - Parameters:
  ///   - pairs: The pairs that were made.
  ///   - watched: A reward that is only measured.
  ///   - origin: The fingerprint of the start.
  func metrics(
    _ pairs: [Pair], watched: (any RewardSource)?, origin: String
  ) throws -> MetricTotals {
    let own = prompts.flatMap { $0.answers.filter { !$0.isReferences } }
    var totals = SequenceStatistics(
      policy: own.map(\.policy), reference: own.map(\.reference),
      ended: own.map(\.completion.endedByItself)
    ).metrics
    totals.add(answers: own.map(\.completion), rewards: own.compactMap(\.score))
    totals.addMean(
      .rewardGap,
      of: prompts.compactMap { prompt in
        let ranked = prompt.ranked
        guard let best = ranked.first, let worst = ranked.last else { return nil }
        return best.score - worst.score
      })
    let paired = Set(pairs.map(\.prompt))
    totals.addMean(
      .promptsWithoutPair, of: prompts.indices.map { paired.contains($0) ? 0 : 1 })
    totals.addMean(
      .freshAccuracy,
      of: pairs.map { pair in
        let answers = prompts[pair.prompt].answers
        let margin = answers[pair.chosen].logRatio - answers[pair.rejected].logRatio
        return margin > 0 ? 1 : margin == 0 ? 0.5 : 0
      })
    if let watched {
      let gold = try rewards(of: [(watched, 1)], origin: origin)
      totals.add(
        gold: zip(prompts, gold).flatMap { prompt, gold in
          zip(prompt.answers, gold).compactMap { $0.isReferences ? nil : $1 }
        }, rewards: own.map(\.score))
    }
    return totals
  }
}
