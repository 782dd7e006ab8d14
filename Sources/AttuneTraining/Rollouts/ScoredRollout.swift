// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// The policy's numbers are of the trainer's own pass.
enum OwnPass {}

/// The sampler's log-probabilities stand in for the policy's, which the update's pass is to give.
enum StandIn {}

/// A rollout with everything about it that is computed once: rewards, log-probabilities under the policy
/// that sampled and under the reference, values, advantages.
typealias ScoredRollout = ScoredAnswers<OwnPass>

/// A rollout of one optimiser step, scored but for the policy's numbers: it needs no pass of its own for
/// them. That of the update, which comes before anything is trained, gives the same numbers and makes a
/// `ScoredRollout` of it. Until then those of the sampler stand in, which differ from them by rounding
/// alone; a KL term in the reward is computed from these.
typealias AwaitingRollout = ScoredAnswers<StandIn>

/// A rollout's answers with their scores.
struct ScoredAnswers<Policy> {
  /// One answer.
  @dynamicMemberLookup
  struct Answer {
    /// What was sampled.
    fileprivate(set) var sampled: Rollout.Answer
    /// Log-probabilities under the policy that sampled.
    var old: [Double]
    /// Log-probabilities under the reference.
    var reference: [Double]
    /// Entropies under the policy that sampled.
    var entropies: [Double]
    /// Values of the states in which each token was chosen.
    var values: [Double]
    /// The reward as its source gave it.
    var reward = 0.0
    /// The reward after normalisation and penalties.
    var score = 0.0
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

  /// Computes what every later pass starts from: the frozen layers' results, the reference's
  /// log-probabilities, and the policy's with entropies and values.
  ///
  /// - Parameters:
  ///   - rollout: What was sampled.
  ///   - models: Who is asked.
  ///   - passes: Whether the policy gives its numbers; else the sampler's stand in.
  private init(_ rollout: Rollout, _ models: ScoringModels, passes: Bool) throws {
    let request = HeadRequest(temperature: models.temperature, entropy: true)
    var trunks: [any Trunk] = []
    var answers = rollout.answers.map {
      Answer(sampled: $0, old: $0.sampler, reference: [], entropies: [], values: [])
    }
    for piece in rollout.pieces(Array(rollout.prompts.indices), budget: models.pieceTokens) {
      let (chosen, chosenAnswers) = rollout.indices(of: piece)
      let plain = rollout.request(chosen, scored: true, values: false)
      let trunk = models.layers > 0 ? try models.policy.trunk(plain, layers: models.layers) : nil
      let isShared = models.value === models.policy
      let ours =
        passes
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
      for (answer, i) in zip(chosenAnswers, rollout.places(of: chosenAnswers, in: chosen)) {
        if let ours {
          answers[answer].old = ours.logProbabilities[i]
          answers[answer].entropies = ours.entropies[i]
        }
        answers[answer].reference = theirs.logProbabilities[i]
        answers[answer].values = values?.scalars[i] ?? []
      }
      if let trunk { trunks.append(trunk) }
    }
    self.init(rollout, answers: answers, trunk: try trunks.joined())
  }

  /// Takes the rewards of all answers from weighted sources.
  mutating func reward(
    _ sources: [(source: any RewardSource, weight: Double)], origin: String
  ) throws {
    let (rewards, bySource) = try sampled.rewards(of: sources, trunk: trunk, origin: origin)
    for i in answers.indices { answers[i].reward = rewards[i] }
    sourceRewards = bySource
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
  /// Scores a rollout.
  init(_ rollout: Rollout, _ models: ScoringModels) throws {
    try self.init(rollout, models, passes: true)
  }

  /// Takes the policy's numbers from the pass of the update.
  ///
  /// - Parameters:
  ///   - awaiting: The rollout.
  ///   - passes: For each answer log-probabilities and entropies.
  init(_ awaiting: AwaitingRollout, passes: [(logProbabilities: [Double], entropies: [Double])]) {
    let answers = zip(awaiting.answers, passes).map { answer, pass in
      Answer(
        sampled: answer.sampled, old: pass.logProbabilities, reference: answer.reference,
        entropies: pass.entropies, values: answer.values, reward: answer.reward,
        score: answer.score, advantages: answer.advantages, returns: answer.returns)
    }
    self.init(
      awaiting.sampled, answers: answers, trunk: awaiting.trunk,
      sourceRewards: awaiting.sourceRewards)
  }

  /// What a reward that is not trained on says.
  func watched(_ source: any RewardSource, origin: String) throws -> MetricTotals {
    let gold = try sampled.rewards(of: source, trunk: trunk, origin: origin)
    var totals = MetricTotals()
    totals.addMean(.goldReward, total: gold.reduce(0, +), weight: Double(gold.count))
    totals.add(.goldDeviation, Statistics.standardDeviation(gold))
    if let r = Statistics.pearson(answers.map(\.reward), gold) { totals.add(.goldCorrelation, r) }
    return totals
  }

  /// What the answers look like: rewards, KL, length, diversity.
  func metrics() -> MetricTotals {
    var totals = statistics.metrics
    let n = Double(answers.count)
    func mean(_ metric: Metric, _ values: [Double]) {
      totals.addMean(metric, total: values.reduce(0, +), weight: Double(values.count))
    }
    mean(.rewardMean, answers.map(\.reward))
    let weights = policyWeights
    if !weights.isEmpty {
      totals.addMean(
        .policyReward, total: zip(weights, answers).reduce(0) { $0 + $1.0 * $1.1.reward },
        weight: weights.reduce(0, +))
    }
    totals.add(.rewardDeviation, Statistics.standardDeviation(answers.map(\.reward)))
    totals.merge(RewardSources.statistics(sourceRewards))
    mean(.rewardNormalised, answers.map(\.score))
    mean(.entropy, answers.flatMap(\.entropies))
    mean(.missingEndShare, answers.map { $0.completion.endedByItself ? 0 : 1 })
    let ids = answers.map(\.completion.ids)
    totals.add(.distinct1, Statistics.distinct(ids, n: 1) ?? 0)
    totals.add(.distinct2, Statistics.distinct(ids, n: 2) ?? 0)
    let words = answers.map { $0.completion.text.split(whereSeparator: \.isWhitespace) }
    totals.addMean(
      .repetition, total: words.reduce(0) { $0 + Statistics.repetition($1) }, weight: n)
    let byPrompt = prompts.indices.map { prompt in
      answers.compactMap { $0.prompt == prompt ? $0.completion.text : nil }
    }
    mean(.selfBLEU, byPrompt.compactMap(TextStatistics.selfBLEU))
    mean(.distinctAnswers, byPrompt.compactMap(Statistics.distinctShare))
    if !sampled.isOffPolicy {
      let gaps = answers.flatMap { zip($0.sampler, $0.old).map { abs($0 - $1) } }
      totals.addMaximum(.samplerGap, gaps.max() ?? 0)
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

extension AwaitingRollout {
  /// Scores a rollout but for the policy's numbers; there is no value head then.
  init(awaiting rollout: Rollout, _ models: ScoringModels) throws {
    precondition(models.value == nil, "values come from a pass before the update")
    try self.init(rollout, models, passes: false)
  }
}
