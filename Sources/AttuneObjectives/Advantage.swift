// SPDX-License-Identifier: Apache-2.0

/// Advantages: how much better a token or response did than expected. Computed once a rollout,
/// before its first optimiser step.
public enum Advantage {
  /// Generalised advantage estimation: δ_t = r_t + γ·V_{t+1} − V_t, A_t = Σ_i (γλ)^i·δ_{t+i}.
  ///
  /// The state after the last token is worth `valueAfter`: 0, because the response is over, also
  /// where it was cut at the token limit. The returns are A_t + V_t, so compute them before the
  /// advantages are whitened; they are what the value head learns.
  ///
  /// Paper: Schulman et al. 2015, arXiv:1506.02438. Differs from the paper: nothing; on language
  /// γ = 1, λ = 0.95.
  ///
  /// - Parameters:
  ///   - rewards: Reward of each response token.
  ///   - values: Value of the state in which each token was chosen; the same length.
  ///   - gamma: Discount.
  ///   - lambda: 0 trusts the values, 1 the rewards.
  ///   - valueAfter: Value of the state after the last token.
  public static func gae(
    rewards: [Double], values: [Double], gamma: Double = 1, lambda: Double = 0.95,
    valueAfter: Double = 0
  ) -> (advantages: [Double], returns: [Double]) {
    precondition(rewards.count == values.count, "one value a reward")
    var advantages = rewards.map { _ in 0.0 }
    var following = 0.0
    var next = valueAfter
    for t in rewards.indices.reversed() {
      following = rewards[t] + gamma * next - values[t] + gamma * lambda * following
      advantages[t] = following
      next = values[t]
    }
    return (advantages, zip(advantages, values).map { $0 + $1 })
  }

  /// Whitening: (A − mean)/(sd + 1e-8) over all tokens of the rollout, rows being responses.
  ///
  /// Only response tokens are in the rows, so nothing else enters mean and deviation. The deviation
  /// is that of the population (n, not n − 1).
  ///
  /// Paper: the code of Ziegler et al. 2019, arXiv:1909.08593; Huang et al. 2024, arXiv:2403.17031.
  /// Differs from it: the deviation gets 1e-8, not the variance.
  ///
  /// - Parameters:
  ///   - rows: A list a response.
  ///   - weights: How much each response counts; empty: all the same.
  ///   - keepingMean: Adds the mean again (for rewards, whose sign means something).
  public static func whiten(
    _ rows: [[Double]], weights: [Double] = [], keepingMean: Bool = false
  ) -> [[Double]] {
    precondition(weights.isEmpty || weights.count == rows.count, "one weight a row")
    var moments = RunningMoments()
    for (i, row) in rows.enumerated() {
      for value in row { moments.add(value, weight: weights.isEmpty ? 1 : weights[i]) }
    }
    let mean = moments.mean
    let scale = 1 / (moments.standardDeviation + 1e-8)
    return rows.map { row in row.map { ($0 - mean) * scale + (keepingMean ? mean : 0) } }
  }

  /// Leave-one-out: A_i = R_i − mean of the other K − 1 rewards of the prompt.
  ///
  /// Unbiased: the baseline does not depend on the sample's own reward.
  ///
  /// Paper: Kool et al. 2019; Ahmadian et al. 2024 (RLOO), arXiv:2402.14740. Differs from the
  /// paper: nothing.
  ///
  /// - Parameter rewards: The rewards of the K samples of one prompt.
  /// - Throws: `ObjectiveError` for fewer than two.
  public static func leaveOneOut(_ rewards: [Double]) throws -> [Double] {
    guard rewards.count > 1 else {
      throw ObjectiveError(
        .badRows, "a leave-one-out baseline needs at least 2 samples a prompt")
    }
    let total = rewards.reduce(0, +)
    let others = Double(rewards.count - 1)
    return rewards.map { $0 - (total - $0) / others }
  }

  /// Group-normalised: A_i = (R_i − mean)/(sd + ε) over the samples of the prompt, sd with K − 1.
  ///
  /// Neither the mean (own sample included) nor the division leaves the gradient unbiased; without
  /// the division (`scaling: false`) it shrinks by (K − 1)/K.
  ///
  /// Paper: Shao et al. 2024 (GRPO), arXiv:2402.03300; without scaling: Liu et al. 2025
  /// (Dr. GRPO), arXiv:2503.20783. Differs from the paper: ε = 1e-4, as in TRL.
  ///
  /// - Parameters:
  ///   - rewards: The rewards of the K samples of one prompt.
  ///   - scaling: Whether to divide by the standard deviation.
  ///   - epsilon: Added to it.
  /// - Throws: `ObjectiveError` for fewer than two.
  public static func groupNormalised(
    _ rewards: [Double], scaling: Bool = true, epsilon: Double = 1e-4
  ) throws -> [Double] {
    guard rewards.count > 1 else {
      throw ObjectiveError(.badRows, "a group's mean needs at least 2 samples a prompt")
    }
    let mean = Statistics.mean(rewards)
    let scale = scaling ? 1 / (Statistics.standardDeviation(rewards) + epsilon) : 1
    return rewards.map { ($0 - mean) * scale }
  }

  /// Several rewards normalised one by one, then summed: Σ_k w_k·(r_k − mean_k)/(sd_k + ε) over the samples
  /// of the prompt, so that no source is drowned by one of a wider spread.
  ///
  /// A source that says the same of all samples adds nothing.
  ///
  /// Paper: Liu et al. 2026 (GDPO), arXiv:2601.05242. Differs from the paper: ε = 1e-4, as in TRL; the
  /// division by the batch's deviation is the trainer's.
  ///
  /// - Parameters:
  ///   - rewards: What each source said of the K samples of one prompt.
  ///   - weights: w of each source.
  /// - Throws: `ObjectiveError` for fewer than two samples.
  public static func sourceNormalised(
    _ rewards: [[Double]], weights: [Double]
  ) throws -> [Double] {
    precondition(rewards.count == weights.count, "one weight a source")
    var sums = (rewards.first ?? []).map { _ in 0.0 }
    for (own, weight) in zip(rewards, weights) where weight != 0 {
      for (i, normal) in try groupNormalised(own).enumerated() { sums[i] += weight * normal }
    }
    return sums
  }

  /// DAPO's soft penalty of overlong responses: 0 up to L_max − L_cache tokens, then
  /// ((L_max − L_cache) − n)/L_cache, −1 above L_max.
  ///
  /// Paper: Yu et al. 2025, arXiv:2503.14476. Differs from the paper: nothing.
  ///
  /// - Parameters:
  ///   - length: n, the tokens of the response.
  ///   - limit: L_max.
  ///   - cache: L_cache, above 0.
  public static func overlongPenalty(length: Int, limit: Int, cache: Int) -> Double {
    precondition(cache > 0, "a penalty sets in somewhere before the limit")
    return max(-1, min(0, Double(limit - cache - length) / Double(cache)))
  }

  /// Rewards of the response tokens with the KL term in them:
  /// r_t = −β·(o_t − ρ_t) + i_t + [t last]·(score − Σ i).
  ///
  /// With return-to-go and γ = 1 the policy gradient on them is exactly that of
  /// E r − β·KL(π ‖ ρ), wherever inside the response parts i of the score stand: what a token is held
  /// against has no part that came before it. No token, no reward.
  ///
  /// Paper: Ziegler et al. 2019, arXiv:1909.08593; parts as differences of a potential: Ng et al. 1999.
  /// Differs from the paper: nothing.
  ///
  /// - Parameters:
  ///   - old: Log-probabilities of the tokens under the policy that sampled.
  ///   - reference: The same under the reference.
  ///   - beta: Weight of the KL term.
  ///   - score: Reward of the whole response.
  ///   - parts: i of each token; empty: the score is the last token's.
  public static func tokenRewards(
    old: [Double], reference: [Double], beta: Double, score: Double, parts: [Double] = []
  ) -> [Double] {
    precondition(old.count == reference.count, "one reference log-probability a token")
    precondition(parts.isEmpty || parts.count == old.count, "one part a token")
    var rewards = zip(old, reference).map { beta == 0 ? 0 : -beta * ($0 - $1) }
    for (i, part) in parts.enumerated() { rewards[i] += part }
    if let last = rewards.indices.last { rewards[last] += score - parts.reduce(0, +) }
    return rewards
  }
}
