// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// A rollout with everything about it that is computed once: rewards, log-probabilities under the policy
/// that sampled and under the reference, values, advantages.
///
/// A rollout of one optimiser step needs no pass of its own for the policy's numbers: that of the update,
/// which comes before anything is trained, gives the same. Until then those of the sampler stand in,
/// which differ from them by rounding alone where its numbers are the trainer's; a KL term in the reward
/// is computed from these. A sampler of other numbers stands in only where nothing is computed from them.
struct ScoredRollout {
  /// One answer.
  @dynamicMemberLookup
  struct Answer {
    /// What was sampled.
    fileprivate(set) var sampled: Rollout.Answer
    /// Log-probabilities under the policy that sampled.
    var old: [Double]
    /// Log-probabilities under the reference.
    var reference: [Double]
    /// Log-probabilities under the teacher; empty without one.
    var teacher: [Double] = []
    /// Entropies under the policy that sampled.
    var entropies: [Double]
    /// Values of the states in which each token was chosen.
    var values: [Double]
    /// The reward as its source gave it.
    var reward = 0.0
    /// The reward after normalisation and penalties.
    var score = 0.0
    /// What of the score is given inside the answer, one number a token; empty: nothing.
    var parts: [Double] = []
    var advantages: [Double] = []
    var returns: [Double] = []

    /// log π of the whole answer under the policy of the trainer's own pass.
    var policy: Double { old.reduce(0, +) }

    /// What was sampled.
    subscript<Value>(dynamicMember path: KeyPath<Rollout.Answer, Value>) -> Value {
      sampled[keyPath: path]
    }
  }

  /// What was sampled.
  let sampled: Rollout
  var answers: [Answer]
  /// Hidden states below the trained layers, if there are such.
  let trunk: (any Trunk)?
  /// What each source of the reward said of every answer.
  private(set) var sourceRewards: [(source: String, rewards: [Double])]

  var prompts: [DataPrompt] { sampled.prompts }

  /// Puts scored answers of a rollout together.
  init(
    _ rollout: Rollout, answers: [Answer], trunk: (any Trunk)?,
    sourceRewards: [(source: String, rewards: [Double])] = []
  ) {
    sampled = rollout
    self.answers = zip(rollout.answers, answers).map { sampled, answer in
      var answer = answer
      answer.sampled = sampled
      return answer
    }
    self.trunk = trunk
    self.sourceRewards = sourceRewards
  }

  /// What the models say of an answer, one number a token.
  private struct Numbers: Codable {
    var answer: Int
    /// Nil where the policy was not asked.
    var old: [Double]?
    var entropies: [Double]
    var reference: [Double]
    var values: [Double]
  }

  /// Computes what every later pass starts from: the frozen layers' results, the reference's
  /// log-probabilities, and the policy's with entropies and values.
  ///
  /// - Parameters:
  ///   - rollout: What was sampled.
  ///   - models: Who is asked.
  ///   - asksPolicy: Whether the policy gives its numbers; else the sampler's stand in.
  init(_ rollout: Rollout, _ models: ScoringModels, asksPolicy: Bool) throws {
    let request = HeadRequest(temperature: models.temperature, entropy: true)
    // Of many ranks each has the trunks of its own pieces, and others are cut for an update.
    let keepsTrunks = Collective.current.isAlone
    var trunks: [any Trunk] = []
    let pieces = rollout.pieces(
      Array(rollout.prompts.indices), for: models.policy, budget: models.pieceTokens)
    let results = try Collective.current.map(pieces) { piece in
      let (chosen, chosenAnswers) = rollout.indices(of: piece)
      let plain = rollout.request(chosen, scored: true, values: false)
      let trunk = models.layers > 0 ? try models.policy.trunk(plain, layers: models.layers) : nil
      let isShared = models.value === models.policy
      let ours =
        asksPolicy
        ? try models.policy.score(
          isShared ? rollout.request(chosen, scored: true, values: true) : plain, request,
          trunk: trunk) : nil
      let theirs = try models.reference.score(
        plain, HeadRequest(temperature: models.temperature), trunk: trunk)
      let values =
        isShared
        ? ours
        : try models.value.map {
          try $0.score(
            rollout.request(chosen, scored: false, values: true), trunk: trunk?.shared(by: $0))
        }
      if let trunk, keepsTrunks { trunks.append(trunk) }
      return zip(chosenAnswers, rollout.places(of: chosenAnswers, in: chosen)).map { answer, i in
        Numbers(
          answer: answer, old: ours?.logProbabilities[i], entropies: ours?.entropies[i] ?? [],
          reference: theirs.logProbabilities[i], values: values?.scalars[i] ?? [])
      }
    }
    var answers = rollout.answers.map {
      Answer(sampled: $0, old: $0.sampler, reference: [], entropies: [], values: [])
    }
    for numbers in results.joined() {
      if let old = numbers.old { answers[numbers.answer].old = old }
      answers[numbers.answer].entropies = numbers.entropies
      answers[numbers.answer].reference = numbers.reference
      answers[numbers.answer].values = numbers.values
    }
    self.init(rollout, answers: answers, trunk: try trunks.joined())
  }

  /// Takes the teacher's log-probabilities; the reward of an answer is log T − log ρ, until a source
  /// gives it.
  mutating func ask(_ teacher: Teacher) throws {
    for (i, tokens) in try teacher.logProbabilities(of: sampled).enumerated() {
      answers[i].teacher = tokens
      answers[i].reward = tokens.reduce(0, +) - answers[i].reference.reduce(0, +)
    }
  }

  /// Takes the rewards of all answers from weighted sources.
  ///
  /// - Parameter inParts: Whether those that say something of an answer's steps give their rewards there.
  mutating func reward(
    _ sources: [(source: any RewardSource, weight: Double)], origin: String, inParts: Bool = false
  ) throws {
    var scores: [[Double]] = []
    for (source, weight) in sources {
      guard inParts, let parts = try sampled.parts(of: source, trunk: trunk, origin: origin) else {
        scores.append(try sampled.rewards(of: source, trunk: trunk, origin: origin))
        continue
      }
      scores.append(parts.map { $0.reduce(0, +) })
      for (i, own) in parts.enumerated() {
        let before = answers[i].parts.isEmpty ? own.map { _ in 0 } : answers[i].parts
        answers[i].parts = zip(before, own).map { $0 + weight * $1 }
      }
    }
    for (i, sum) in RewardSources.sum(scores, weights: sources.map(\.weight)).enumerated() {
      answers[i].reward = sum
    }
    sourceRewards = zip(sources, scores).map { ($0.source.name, $1) }
  }
}

/// Who scores a rollout, and how.
struct ScoringModels {
  /// The policy that sampled.
  let policy: any LanguageModel
  let reference: any LanguageModel
  /// The model with the value head, the policy or one of its own; nil: there is none.
  var value: (any LanguageModel)?
  /// Frozen layers that all of them share.
  let layers: Int
  /// The sampling temperature.
  let temperature: Double
  /// Tokens of a piece.
  let pieceTokens: Int
}

extension ScoredRollout {
  /// What a reward that is not trained on says.
  ///
  /// - Parameter grades: Whether it says which answers are right, no other source doing so.
  func watched(_ source: any RewardSource, origin: String, grades: Bool) throws -> MetricTotals {
    var totals = MetricTotals()
    let scores = try sampled.rewards(of: source, trunk: trunk, origin: origin)
    totals.add(gold: scores, rewards: answers.map(\.reward))
    if grades { totals.add(right: right(by: source, scores)) }
    return totals
  }

  /// Which answers are right, by a source that the reward was taken from.
  func graded(by source: any RewardSource) -> MetricTotals {
    var totals = MetricTotals()
    if let scores = sourceRewards.first(where: { $0.source == source.name })?.rewards,
      scores.count == answers.count
    {
      totals.add(right: right(by: source, scores))
    }
    return totals
  }

  private func right(by source: any RewardSource, _ scores: [Double]) -> RightAnswers {
    RightAnswers(
      by: source, scores: scores, completions: answers.map(\.completion),
      prompts: answers.map(\.prompt))
  }

  /// What the answers look like: rewards, KL, length, diversity.
  func metrics() -> MetricTotals {
    var totals = statistics.metrics
    totals.add(answers: answers.map(\.completion), rewards: answers.map(\.reward))
    let weights = policyWeights
    if !weights.isEmpty {
      totals.addMean(
        .policyReward, total: zip(weights, answers).reduce(0) { $0 + $1.0 * $1.1.reward },
        weight: weights.reduce(0, +))
    }
    if answers.contains(where: { !$0.teacher.isEmpty }) {
      let kl = answers.map { $0.policy - $0.teacher.reduce(0, +) }
      let counts = weights.isEmpty ? answers.map { _ in 1 } : weights
      totals.addMean(
        .teacherKL, total: zip(counts, kl).reduce(0) { $0 + $1.0 * $1.1 },
        weight: counts.reduce(0, +))
    }
    totals.merge(RewardSources.statistics(sourceRewards))
    totals.addMean(.rewardNormalised, of: answers.map(\.score))
    totals.addMean(.entropy, of: answers.flatMap(\.entropies))
    totals.addMean(.missingEndShare, of: answers.map { $0.completion.endedByItself ? 0 : 1 })
    let byPrompt = prompts.indices.map { prompt in
      answers.compactMap { $0.prompt == prompt ? $0.completion.text : nil }
    }
    totals.addMean(.selfBLEU, of: byPrompt.compactMap(TextStatistics.selfBLEU))
    totals.addMean(.distinctAnswers, of: byPrompt.compactMap(Statistics.distinctShare))
    if !sampled.isOffPolicy {
      let gaps = answers.flatMap { zip($0.sampler, $0.old).map { abs($0 - $1) } }
      totals.addMaximum(.samplerGap, gaps.max() ?? 0)
      if sampled.samplerDiffers,
        let gap = SamplerGap(policy: answers.map(\.old), sampler: answers.map(\.sampler))
      {
        totals.add(.samplerKL, gap.klPerToken)
        totals.add(.samplerReverseKL, gap.reverseKLPerToken)
        totals.add(.samplerEffectiveShare, gap.effectiveShare)
      }
    }
    return totals
  }

  /// The KL from the reference and lengths.
  var statistics: SequenceStatistics {
    SequenceStatistics(
      policy: answers.map(\.old), reference: answers.map(\.reference),
      ended: answers.map(\.completion.endedByItself), weights: policyWeights)
  }
}
