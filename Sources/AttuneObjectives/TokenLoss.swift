// SPDX-License-Identifier: Apache-2.0

/// Losses of single tokens under the policy.
public enum TokenLoss: String, CaseIterable, Codable, Sendable {
  /// Negative log-likelihood.
  case supervised = "sft"

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .supervised: "negative log-likelihood of the response tokens"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .supervised: "Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155"
    }
  }
}

/// What a sum over tokens is divided by.
public enum TokenReduction: String, CaseIterable, Codable, Sendable {
  /// The weight of all tokens of the batch: every token counts the same.
  case token
  /// Each row by its own tokens, then by the number of rows: every row counts the same.
  case sequence

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .token: "every token of the batch counts the same"
    case .sequence: "every row of the batch counts the same, however long"
    }
  }
}

/// What a token loss needs to know of the whole batch: weights and lengths, no scores.
public struct TokenStatistics: Sendable, Equatable {
  /// How rows are reduced.
  public var reduction: TokenReduction
  /// Sum of the weights of all tokens (`token`), or number of rows with any weight (`sequence`).
  public var normaliser: Double

  /// The weights w̃ with loss = −Σ w̃·logProbability: ready for an engine that scores and goes
  /// backward in one pass.
  ///
  /// - Parameter weights: A list a row of a piece of the batch.
  /// - Returns: The same shape; zero where a row or the batch has no weight.
  public func scaled(_ weights: [[Double]]) -> [[Double]] {
    weights.map { row in
      var divisor = normaliser
      if reduction == .sequence { divisor *= row.reduce(0, +) }
      guard divisor > 0 else { return row.map { _ in 0 } }
      return row.map { $0 / divisor }
    }
  }
}

extension TokenLoss {
  /// Phase one: the normaliser of the batch.
  ///
  /// - Parameters:
  ///   - weights: A list a row of all rows that the optimiser step sees: 1 for a response token, 0
  ///     for a token without loss; not negative.
  ///   - reduction: What the sum over tokens is divided by.
  public static func statistics(
    weights: [[Double]], reduction: TokenReduction = .token
  ) -> TokenStatistics {
    let sums = weights.map { $0.reduce(0, +) }
    return TokenStatistics(
      reduction: reduction,
      normaliser: reduction == .token
        ? sums.reduce(0, +) : Double(sums.count(where: { $0 > 0 })))
  }

  /// Supervised fine-tuning: L = −Σ_t w_t·π_t / N.
  ///
  /// Gradient: ∂L/∂π_t = −w_t / N. N is the weight of the batch's response tokens, never of the
  /// piece that fits into memory; with `sequence`, N = rows · Σ_t w_t of the row.
  ///
  /// Paper: Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155. Differs from the paper: nothing;
  /// the normaliser is said.
  ///
  /// - Parameters:
  ///   - logProbabilities: For each row of the piece the log-probabilities of its tokens.
  ///   - weights: The same shape.
  ///   - statistics: From `statistics(weights:reduction:)` over all rows of the batch.
  public static func supervised(
    logProbabilities: [[Double]], weights: [[Double]], statistics: TokenStatistics
  ) -> LossResult {
    precondition(logProbabilities.count == weights.count, "one list of weights a row")
    var result = LossResult()
    var total = 0.0
    var weight = 0.0
    for (row, (scores, scaled)) in zip(logProbabilities, statistics.scaled(weights)).enumerated() {
      precondition(scores.count == scaled.count, "one weight a token")
      for t in scores.indices {
        result.loss -= scaled[t] * scores[t]
        total -= weights[row][t] * scores[t]
        weight += weights[row][t]
      }
      result.logProbabilities.append(scaled.map { -$0 })
    }
    result.metrics.addMean(.supervisedLoss, total: total, weight: weight)
    return result
  }
}
