// SPDX-License-Identifier: Apache-2.0

/// Losses of a value head: the return that is still to come after each state.
public enum ValueLoss: String, CaseIterable, Codable, Sendable {
  /// Squared error, clipped around the value of the rollout.
  case clipped

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .clipped: "squared error to the return, clipped around the rollout's value"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .clipped: "Schulman et al. 2017, arXiv:1707.06347; Huang et al. 2024, arXiv:2403.17031"
    }
  }
}

/// A sampled response as the value loss sees it: arrays over its tokens; the value of a token is
/// that of the state in which it was chosen.
public struct ValueRow: Sendable, Equatable {
  /// Values now.
  public var values: [Double]
  /// Values when the rollout was made.
  public var oldValues: [Double]
  /// Returns, computed once a rollout, before the advantages are whitened.
  public var returns: [Double]
  /// How much the response counts.
  public var weight: Double

  /// Makes a row.
  ///
  /// - Parameters:
  ///   - values: Values now; not read by `statistics`.
  ///   - oldValues: Values when the rollout was made.
  ///   - returns: Returns.
  ///   - weight: How much the response counts.
  public init(values: [Double], oldValues: [Double], returns: [Double], weight: Double = 1) {
    self.values = values
    self.oldValues = oldValues
    self.returns = returns
    self.weight = weight
  }
}

/// The knobs of the value losses.
public struct ValueSettings: Codable, Sendable, Equatable {
  /// The value may move this far from the rollout's; `nil` is no clipping.
  public var clip: Double? = 0.2
  /// Weight c_v of the loss.
  public var coefficient = 0.1

  /// The defaults.
  public init() {}
}

/// What a value loss needs to know of the whole batch: lengths, no scores.
public struct ValueStatistics: Sendable, Equatable {
  /// Weighted number of response tokens of the batch.
  public var tokens: Double
}

extension ValueLoss {
  /// Phase one: counts the response tokens of the batch.
  ///
  /// - Parameters:
  ///   - rows: All responses that the optimiser step sees.
  ///   - settings: The knobs.
  /// - Throws: `ObjectiveError` for a knob out of range or arrays of different lengths.
  public func statistics(
    of rows: [ValueRow], settings: ValueSettings = ValueSettings()
  ) throws -> ValueStatistics {
    if let clip = settings.clip, !(clip > 0) {
      throw ObjectiveError(.badSetting, "the value clip must be above 0 (or off)")
    }
    for (i, row) in rows.enumerated() where row.oldValues.count != row.returns.count {
      throw ObjectiveError(
        .badRows,
        "response \(i + 1) of the batch has \(row.oldValues.count) values and "
          + "\(row.returns.count) returns")
    }
    return ValueStatistics(
      tokens: rows.reduce(0) { $0 + $1.weight * Double($1.returns.count) })
  }

  /// Phase two: loss, gradient on the values (`scalars`), metrics of a piece.
  ///
  /// - Parameters:
  ///   - rows: The responses of the piece, with current values.
  ///   - statistics: From `statistics(of:settings:)` over the whole batch.
  ///   - settings: The same knobs.
  public func loss(
    _ rows: [ValueRow], statistics: ValueStatistics, settings: ValueSettings = ValueSettings()
  ) -> LossResult {
    switch self {
    case .clipped: Self.clipped(rows, statistics, settings)
    }
  }

  /// Clipped value loss: c_v·½·Σ_t max((V_t − R_t)², (clip(V_t, V_old ± c) − R_t)²) / N, N the
  /// response tokens of the batch.
  ///
  /// Gradient: c_v·(V_t − R_t)/N, or 0 where the clipped term is the larger one.
  ///
  /// Paper: the code of Schulman et al. 2017; Huang et al. 2024, arXiv:2403.17031. Differs from
  /// it: the mean is over the response tokens of the batch.
  static func clipped(
    _ rows: [ValueRow], _ statistics: ValueStatistics, _ settings: ValueSettings
  ) -> LossResult {
    var result = LossResult()
    let scale = statistics.tokens > 0 ? settings.coefficient / statistics.tokens : 0
    for row in rows {
      precondition(
        row.values.count == row.oldValues.count && row.values.count == row.returns.count,
        "one value and return a token")
      var gradient = row.values.map { _ in 0.0 }
      let w = row.weight
      for t in row.values.indices {
        let error = row.values[t] - row.returns[t]
        var worst = error
        if let clip = settings.clip {
          let held = min(max(row.values[t], row.oldValues[t] - clip), row.oldValues[t] + clip)
          let heldError = held - row.returns[t]
          if heldError * heldError > error * error { worst = heldError }
        }
        let clips = worst != error
        result.loss += w * scale * 0.5 * worst * worst
        if !clips { gradient[t] = w * scale * error }
        result.metrics.addMean(.valueClipShare, total: clips ? w : 0, weight: w)
        result.metrics.addMean(.valueMean, total: w * row.values[t], weight: w)
        result.metrics.addMean(.returnMean, total: w * row.returns[t], weight: w)
        result.metrics.addExplained(
          .explainedVariance, value: row.values[t], target: row.returns[t], weight: w)
      }
      result.scalars.append(gradient)
    }
    result.metrics.add(.valueLoss, result.loss)
    return result
  }
}
