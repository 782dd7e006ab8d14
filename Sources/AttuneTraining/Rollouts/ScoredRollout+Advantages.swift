// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

extension ScoredRollout {
  /// The rewards in deviations from the mean of the start's.
  func normalised(by scale: RewardScale?) -> [Double] {
    guard let scale else { return answers.map(\.reward) }
    let deviation = scale.deviation > 0 ? scale.deviation : 1
    return answers.map { ($0.reward - scale.mean) / deviation }
  }

  /// The weighted sum of what each source said of an answer, in deviations from the mean of the answers to
  /// its prompt.
  func normalised(
    bySource sources: [(source: any RewardSource, weight: Double)]
  ) throws -> [Double] {
    var scores = answers.map { _ in 0.0 }
    for prompt in prompts.indices {
      let own = sampled.indices(of: [prompt]).answers
      let sums = try Advantage.sourceNormalised(
        sourceRewards.map { source in own.map { source.rewards[$0] } },
        weights: sources.map(\.weight))
      for (i, sum) in zip(own, sums) { scores[i] = sum }
    }
    return scores
  }

  /// Takes normalised rewards for the scores, with the penalty in their place where the end is missing.
  mutating func score(_ normalised: [Double], missingEnd: Double?) {
    for i in answers.indices {
      answers[i].score = normalised[i]
      if let missingEnd, !answers[i].completion.endedByItself {
        answers[i].score = missingEnd
        answers[i].parts = []
      }
    }
  }

  /// Brings parts of rewards to the scale that the rewards are brought to.
  mutating func scaleParts(by scale: RewardScale?) {
    guard let scale, scale.deviation > 0 else { return }
    for i in answers.indices { answers[i].parts = answers[i].parts.map { $0 / scale.deviation } }
  }

  /// Takes up to 1 off the score of answers that come near the token limit.
  ///
  /// - Parameters:
  ///   - limit: The limit in tokens.
  ///   - cache: How long before it the penalty sets in.
  mutating func penaliseOverlong(limit: Int, cache: Int) {
    for i in answers.indices {
      answers[i].score += Advantage.overlongPenalty(
        length: answers[i].completion.ids.count, limit: limit, cache: cache)
    }
  }

  /// Takes one number an answer for the value of all its states.
  mutating func expect(_ values: [Double]) {
    for (i, value) in zip(answers.indices, values) {
      answers[i].values = answers[i].old.map { _ in value }
    }
  }

  /// The reward of each answer with the KL of the whole answer in it.
  func returns(beta: Double) -> [Double] { tokenRewards(beta: beta).map { $0.reduce(0, +) } }

  /// Advantages a token: rewards with the KL term, generalised advantage estimation against the
  /// answers' values, whitening.
  ///
  /// - Parameters:
  ///   - beta: Weight of the KL term in the reward.
  ///   - lossBeta: That of one in the loss, which is counted in what is measured alone.
  ///   - gamma: Discount.
  ///   - lambda: 0 trusts the values, 1 the rewards.
  ///   - whitenRewards: Whether token rewards are whitened, their mean kept.
  ///   - whiten: Whether advantages are whitened over all tokens.
  /// - Returns: Mean of the rewards with the KL term, mean and deviation of advantages before
  ///   whitening.
  mutating func advantages(
    beta: Double, lossBeta: Double = 0, gamma: Double = 1, lambda: Double = 1,
    whitenRewards: Bool = false,
    whiten: Bool = false
  ) -> MetricTotals {
    var totals = objective(beta: beta + lossBeta)
    var rewards = tokenRewards(beta: beta)
    if whitenRewards { rewards = Advantage.whiten(rewards, keepingMean: true) }
    for i in answers.indices {
      (answers[i].advantages, answers[i].returns) = Advantage.gae(
        rewards: rewards[i], values: answers[i].values, gamma: gamma, lambda: lambda)
    }
    addMoments(to: &totals)
    if whiten {
      let whitened = Advantage.whiten(answers.map(\.advantages))
      for i in answers.indices { answers[i].advantages = whitened[i] }
    }
    return totals
  }

  /// One advantage an answer, the same for all its tokens, from the rewards of its prompt's answers
  /// with the KL of the whole answer in them.
  ///
  /// - Parameters:
  ///   - beta: Weight of the KL term in the reward.
  ///   - lossBeta: That of one in the loss, which is counted in what is measured alone.
  ///   - estimate: The advantages of one prompt's rewards.
  /// - Returns: Mean of the rewards with the KL term, mean and deviation of advantages.
  mutating func groupAdvantages(
    beta: Double, lossBeta: Double = 0, _ estimate: ([Double]) throws -> [Double]
  ) rethrows -> MetricTotals {
    var totals = objective(beta: beta + lossBeta)
    let rewards = returns(beta: beta)
    for prompt in prompts.indices {
      let own = sampled.indices(of: [prompt]).answers
      for (i, advantage) in zip(own, try estimate(own.map { rewards[$0] })) {
        answers[i].advantages = answers[i].old.map { _ in advantage }
      }
    }
    addMoments(to: &totals)
    return totals
  }

  /// Advantages a token on the way to the teacher.
  ///
  /// - Parameters:
  ///   - beta: β.
  ///   - discount: γ.
  /// - Returns: Mean and deviation of advantages.
  mutating func distillationAdvantages(beta: Double, discount: Double) -> MetricTotals {
    for i in answers.indices {
      answers[i].advantages = Advantage.distillation(
        old: answers[i].old, reference: answers[i].reference, teacher: answers[i].teacher,
        beta: beta, discount: discount)
    }
    var totals = MetricTotals()
    addMoments(to: &totals)
    return totals
  }

  private func tokenRewards(beta: Double) -> [[Double]] {
    answers.map {
      Advantage.tokenRewards(
        old: $0.old, reference: $0.reference, beta: beta, score: $0.score, parts: $0.parts)
    }
  }

  /// What E r − β·KL is on these answers.
  private func objective(beta: Double) -> MetricTotals {
    var totals = MetricTotals()
    let sums = returns(beta: beta)
    totals.addMean(.rewardShaped, total: sums.reduce(0, +), weight: Double(sums.count))
    return totals
  }

  private func addMoments(to totals: inout MetricTotals) {
    let moments = RunningMoments(answers.flatMap(\.advantages))
    totals.add(.advantageMean, moments.mean)
    totals.add(.advantageDeviation, moments.standardDeviation)
  }
}
