// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

/// Answers that a policy sampled, with everything about them that is computed once: rewards,
/// log-probabilities under the policy that sampled and under the reference, values, advantages.
struct Rollout {
  /// One answer.
  struct Answer {
    /// Index of its prompt.
    var prompt: Int
    /// What was sampled.
    var completion: Completion
    /// Log-probabilities as the sampler had them; of a recorded answer the sum alone.
    var sampler: [Double]
    /// The answer's segment.
    var segment = 0
    /// Log-probabilities under the policy that sampled, from the trainer's own pass; until there is one,
    /// as the sampler had them.
    var old: [Double] = []
    /// Log-probabilities under the reference.
    var reference: [Double] = []
    /// Entropies under the policy that sampled.
    var entropies: [Double] = []
    /// Values of the states in which each token was chosen.
    var values: [Double] = []
    /// The reward as its source gave it.
    var reward = 0.0
    /// The reward after normalisation and penalties.
    var score = 0.0
    var advantages: [Double] = []
    var returns: [Double] = []

    /// log q of the whole answer under what drew it.
    var proposal: Double { sampler.reduce(0, +) }
    /// log π of the whole answer under the policy of the trainer's own pass.
    var policy: Double { old.reduce(0, +) }
  }

  /// The prompts.
  let prompts: [DataPrompt]
  let promptIds: [[Int32]]
  var answers: [Answer]
  /// Prompts and their answers, each prompt followed by its answers, without requests.
  let segments: [Segment]
  /// Hidden states below the trained layers, if there are such.
  var trunk: (any Trunk)?
  /// What each source of the reward said of every answer.
  var sourceRewards: [(source: String, rewards: [Double])] = []
  /// Whether another model than the one that is trained drew the answers: what is said of the policy
  /// is then weighted by π/q.
  var isOffPolicy = false
  /// Whether the policy's log-probabilities and entropies are still to come, from the update's own pass.
  var awaitsPolicy = false

  /// Samples answers.
  ///
  /// - Returns: Nil if it was stopped before all answers were there.
  static func sample(
    _ policy: any LanguageModel, prompts: [DataPrompt], promptIds: [[Int32]], tokenizer: Tokenizer,
    settings: SamplingSettings, shouldStop: @escaping () -> Bool
  ) throws -> Rollout? {
    let samples = try policy.sample(promptIds, settings) { _ in !shouldStop() }
    var answers: [Answer] = []
    for (prompt, samples) in samples.enumerated() {
      for sample in samples {
        guard sample.finishReason != .cancelled else { return nil }
        answers.append(
          Answer(
            prompt: prompt,
            completion: Completion(
              ids: sample.ids, text: tokenizer.decode(sample.ids),
              endedByItself: sample.finishReason == .stop),
            sampler: sample.logProbability))
      }
    }
    return Rollout(prompts: prompts, promptIds: promptIds, answers: answers)
  }

  /// Puts prompts and answers together; the answers come in the prompts' order.
  init(prompts: [DataPrompt], promptIds: [[Int32]], answers: [Answer]) {
    self.prompts = prompts
    self.promptIds = promptIds
    self.answers = answers
    var segments: [Segment] = []
    var next = 0
    for (prompt, ids) in promptIds.enumerated() {
      let parent = segments.count
      segments.append(Segment(ids))
      while next < answers.count, answers[next].prompt == prompt {
        self.answers[next].segment = segments.count
        segments.append(Segment(answers[next].completion.ids, parent: parent))
        next += 1
      }
    }
    self.segments = segments
  }

  /// The segments of some prompts and their answers.
  func indices(of prompts: [Int]) -> (segments: [Int], answers: [Int]) {
    var chosen: [Int] = []
    var chosenAnswers: [Int] = []
    for prompt in prompts {
      let own = answers.indices.filter { answers[$0].prompt == prompt }
      guard let first = own.first, let parent = segments[answers[first].segment].parent else {
        continue
      }
      chosen.append(parent)
      chosen += own.map { answers[$0].segment }
      chosenAnswers += own
    }
    return (chosen, chosenAnswers)
  }

  /// Tokens of a prompt and its answers.
  func tokens(ofPrompt prompt: Int) -> Int {
    answers.reduce(promptIds[prompt].count) {
      $0 + ($1.prompt == prompt ? $1.completion.ids.count : 0)
    }
  }

  /// Some segments renumbered, with what is asked of the answers.
  ///
  /// - Parameters:
  ///   - indices: Segments, parents before what continues them.
  ///   - scored: Whether log-probabilities are wanted.
  ///   - values: Whether the value of the state before each token is wanted.
  func request(_ indices: [Int], scored: Bool, values: Bool) -> [Segment] {
    var places: [Int: Int] = [:]
    return indices.enumerated().map { place, index in
      places[index] = place
      var segment = segments[index]
      guard let parent = segment.parent else { return segment }
      segment.parent = places[parent]
      if scored { segment.scored = [0..<segment.ids.count] }
      if values { segment.scalarsAfter = Array(-1..<segment.ids.count - 1) }
      return segment
    }
  }

  /// Pieces of some prompts that fit into memory.
  func pieces(_ prompts: [Int], budget: Int) -> [[Int]] {
    cutIntoPieces(prompts.map(tokens(ofPrompt:)), budget: budget).map { Array(prompts[$0]) }
  }

  /// Computes what every later pass starts from: the frozen layers' results, the policy's and the
  /// reference's log-probabilities, entropies and values.
  ///
  /// A rollout of one optimiser step needs no pass of the policy here: that of the update, which comes
  /// before anything is trained, gives the same numbers. Until then those of the sampler stand in, which
  /// differ from them by rounding alone; a KL term in the reward is computed from these.
  ///
  /// - Parameters:
  ///   - policy: The policy that sampled.
  ///   - reference: The reference.
  ///   - value: The model with the value head, the policy or one of its own; nil: there is none.
  ///   - awaitingPolicy: Whether the policy's numbers are left to the update's pass; there is no value
  ///     head then.
  ///   - layers: Frozen layers that all of them share.
  ///   - temperature: The sampling temperature.
  ///   - budget: Tokens of a piece.
  mutating func score(
    policy: any LanguageModel, reference: any LanguageModel, value: (any LanguageModel)?,
    awaitingPolicy: Bool,
    layers: Int, temperature: Double, budget: Int
  ) throws {
    precondition(value == nil || !awaitingPolicy, "values come from a pass before the update")
    awaitsPolicy = awaitingPolicy
    let request = HeadRequest(temperature: temperature, entropy: true)
    var trunks: [any Trunk] = []
    for piece in pieces(Array(prompts.indices), budget: budget) {
      let (chosen, chosenAnswers) = indices(of: piece)
      let plain = self.request(chosen, scored: true, values: false)
      let trunk = layers > 0 ? try policy.trunk(plain, layers: layers) : nil
      let isShared = value === policy
      let ours =
        awaitingPolicy
        ? nil
        : try policy.score(
          isShared ? self.request(chosen, scored: true, values: true) : plain, request,
          trunk: trunk)
      let theirs = try reference.score(
        plain, HeadRequest(temperature: temperature), trunk: trunk)
      let values =
        isShared
        ? ours
        : try value.map {
          try $0.score(
            self.request(chosen, scored: false, values: true), trunk: sharing(trunk, $0))
        }
      var place: [Int: Int] = [:]
      for (i, segment) in chosen.enumerated() { place[segment] = i }
      for answer in chosenAnswers {
        guard let i = place[answers[answer].segment] else { continue }
        answers[answer].old = ours?.logProbabilities[i] ?? answers[answer].sampler
        answers[answer].entropies = ours?.entropies[i] ?? []
        answers[answer].reference = theirs.logProbabilities[i]
        answers[answer].values = values?.scalars[i] ?? []
      }
      if let trunk { trunks.append(trunk) }
    }
    trunk = trunks.joined()
  }

  /// The trunk, if a model starts from the same weights.
  func sharing(_ trunk: (any Trunk)?, _ model: any LanguageModel) -> (any Trunk)? {
    guard let trunk, model.accepts(trunk) else { return nil }
    return trunk
  }

  /// Takes the rewards of all answers from weighted sources.
  mutating func reward(
    _ sources: [(source: any RewardSource, weight: Double)], origin: String
  ) throws {
    let scores = try sources.map { try rewards(of: $0.source, origin: origin) }
    let total = RewardSources.sum(scores, weights: sources.map(\.weight))
    for i in answers.indices { answers[i].reward = total[i] }
    sourceRewards = zip(sources, scores).map { ($0.source.name, $1) }
  }

  /// A source's rewards of all answers.
  func rewards(of source: any RewardSource, origin: String) throws -> [Double] {
    try source.checkedScores(
      prompts: answers.map { prompts[$0.prompt] }, completions: answers.map(\.completion),
      shared: SharedPass(
        segments: segments, answers: answers.map(\.segment), trunk: trunk, origin: origin))
  }

  /// What a reward that is not trained on says.
  func watched(_ source: any RewardSource, origin: String) throws -> MetricTotals {
    let gold = try rewards(of: source, origin: origin)
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
    if !isOffPolicy {
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
