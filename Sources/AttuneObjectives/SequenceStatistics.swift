// SPDX-License-Identifier: Apache-2.0

/// What a rollout's log-probabilities say of it: the one place that computes its KL.
public struct SequenceStatistics: Codable, Sendable, Equatable {
  /// Number of responses.
  public let responses: Int
  /// Number of response tokens, end-of-sequence included.
  public let tokens: Int
  /// For each response Σ_t (π_t − ρ_t): a sample of KL(π ‖ ρ) if the response was drawn from π.
  public let logRatios: [Double]
  /// Mean of the log-ratios: estimates KL(π ‖ ρ) in nats a sequence without bias (k1); with weights
  /// of π/q, by samples of q, with a bias that falls with their number.
  public let klPerSequence: Double
  /// The sum of the log-ratios over the number of tokens.
  public let klPerToken: Double
  /// Mean number of tokens of a response.
  public let meanLength: Double
  /// Standard deviation of the number of tokens.
  public let lengthDeviation: Double
  /// Share of responses that ended by themselves; `nil` if not said.
  public let endedShare: Double?

  /// Computes them.
  ///
  /// - Parameters:
  ///   - policy: Log-probabilities of the tokens of each response under the policy that sampled.
  ///   - reference: The same shape, under the reference.
  ///   - ended: Whether each response ended by itself, or empty.
  ///   - weights: How much each response counts for the KL: π/q where q drew it; empty where the
  ///     policy did, and all count the same.
  public init(
    policy: [[Double]], reference: [[Double]], ended: [Bool] = [], weights: [Double] = []
  ) {
    precondition(policy.count == reference.count, "one reference list a response")
    precondition(ended.isEmpty || ended.count == policy.count, "one flag a response")
    precondition(weights.isEmpty || weights.count == policy.count, "one weight a response")
    responses = policy.count
    tokens = policy.reduce(0) { $0 + $1.count }
    logRatios = zip(policy, reference).map { p, q in
      precondition(p.count == q.count, "one reference log-probability a token")
      return zip(p, q).reduce(0) { $0 + ($1.0 - $1.1) }
    }
    let lengths = policy.map { Double($0.count) }
    if weights.isEmpty {
      klPerSequence = Statistics.mean(logRatios)
      klPerToken = tokens > 0 ? logRatios.reduce(0, +) / Double(tokens) : 0
    } else {
      func sum(_ values: [Double]) -> Double { zip(weights, values).reduce(0) { $0 + $1.0 * $1.1 } }
      let total = weights.reduce(0, +)
      klPerSequence = total > 0 ? sum(logRatios) / total : 0
      klPerToken = sum(lengths) > 0 ? sum(logRatios) / sum(lengths) : 0
    }
    meanLength = Statistics.mean(lengths)
    lengthDeviation = Statistics.standardDeviation(lengths)
    endedShare =
      ended.isEmpty ? nil : Double(ended.count(where: { $0 })) / Double(ended.count)
  }

  /// The same as metrics.
  public var metrics: MetricTotals {
    var metrics = MetricTotals()
    let n = Double(responses)
    metrics.addMean(.klSequence, total: klPerSequence * n, weight: n)
    metrics.addMean(.klToken, total: klPerToken * Double(tokens), weight: Double(tokens))
    metrics.addMean(.responseLength, total: meanLength * n, weight: n)
    metrics.addMean(.responseLengthDeviation, total: lengthDeviation * n, weight: n)
    if let endedShare { metrics.addMean(.endedShare, total: endedShare * n, weight: n) }
    return metrics
  }
}
