// SPDX-License-Identifier: Apache-2.0

/// Contrastive losses on single responses with a thumb up or down: the reward is read as β·log π/ρ
/// and compared with a baseline that the whole batch shares.
public enum UnpairedLoss: String, CaseIterable, Codable, Sendable {
  case kto, bco

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .kto: "log-ratios above or below the policy's own drift, by a saturating utility"
    case .bco: "a classifier of thumbs on log-ratios, centred by a running mean"
    }
  }

  /// The formula, with h = π − ρ, ℓ(z) = −log σ(z).
  public var formula: String {
    switch self {
    case .kto: "up w₊(1 − σ(β(h − z))), down w₋(1 − σ(β(z − h))), z = max(0, mean h of mismatched)"
    case .bco: "up w₊·ℓ(βh − δ), down w₋·ℓ(δ − βh), δ ← 0.99·δ + 0.01·½(mean βh up + mean βh down)"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .kto: "Ethayarajh et al. 2024, arXiv:2402.01306"
    case .bco: "Jung et al. 2024, arXiv:2404.04656"
    }
  }

  /// Whether values of other rows of the batch are needed, which takes one more forward pass.
  public var needsCurrentScores: Bool { self == .bco }

  /// Whether each batch needs responses beside prompts that they don't answer, scored by policy and
  /// reference.
  public var needsMismatched: Bool { self == .kto }
}

/// A response with a thumb.
public struct UnpairedRow: Sendable, Equatable {
  /// The response to its own prompt.
  public var response: ScoredResponse
  /// Whether the thumb is up.
  public var up: Bool
  /// The row's prompt with the response of another one, for `kto`.
  public var mismatched: ScoredResponse?
  /// How much the row counts.
  public var weight: Double

  /// Makes a row.
  ///
  /// - Parameters:
  ///   - response: The response to its own prompt.
  ///   - up: Whether the thumb is up.
  ///   - mismatched: The row's prompt with the response of another one.
  ///   - weight: How much the row counts.
  public init(
    response: ScoredResponse, up: Bool, mismatched: ScoredResponse? = nil, weight: Double = 1
  ) {
    self.response = response
    self.up = up
    self.mismatched = mismatched
    self.weight = weight
  }
}

/// The knobs of the unpaired losses; both read all of them.
public struct UnpairedSettings: Codable, Sendable, Equatable {
  /// β: what a nat of log-ratio is worth.
  public var beta = 0.1
  /// w₊: weight of thumbs up.
  public var upWeight = 1.0
  /// w₋: weight of thumbs down.
  public var downWeight = 1.0

  /// The defaults.
  public init() {}
}

/// δ of `bco` and the means that it follows: passed in, returned, kept in the checkpoint.
public struct UnpairedState: Codable, Sendable, Equatable {
  /// δ; `nil` before the first batch.
  public var shift: Double?
  /// Mean of βh over the last batch that had thumbs up.
  public var upMean: Double?
  /// Mean of βh over the last batch that had thumbs down.
  public var downMean: Double?

  /// Before the first batch.
  public init() {}
}

/// What an unpaired loss needs to know of the whole batch.
public struct UnpairedStatistics: Sendable, Equatable {
  /// Weight of the rows.
  public var rows: Double
  /// What βh is compared with: β·z of `kto`, δ of `bco`; constant in the gradient.
  public var baseline: Double
  /// The state after this batch.
  public var state: UnpairedState
}

extension UnpairedLoss {
  /// Phase one: checks settings and rows, and computes the baseline of the batch.
  ///
  /// - Parameters:
  ///   - rows: All rows that the optimiser step sees; `bco` reads their scores, `kto` those of their
  ///     mismatched responses.
  ///   - settings: The knobs.
  ///   - state: From the batch before.
  /// - Throws: `ObjectiveError` for a knob out of range, a missing reference, an empty response, or a
  ///   row without a mismatched response where `kto` needs one.
  public func statistics(
    of rows: [UnpairedRow], settings: UnpairedSettings = UnpairedSettings(),
    state: UnpairedState = UnpairedState()
  ) throws -> UnpairedStatistics {
    guard settings.beta > 0, settings.beta.isFinite else {
      throw ObjectiveError(.badSetting, "beta must be above 0")
    }
    guard settings.upWeight >= 0, settings.downWeight >= 0,
      settings.upWeight + settings.downWeight > 0
    else {
      throw ObjectiveError(
        .badSetting, "upWeight and downWeight must be 0 or more, one of them above")
    }
    for (index, row) in rows.enumerated() {
      try check(row, "row \(index + 1) of the batch")
    }
    let weight = rows.reduce(0) { $0 + $1.weight }
    switch self {
    case .kto:
      let total = rows.reduce(0) { $0 + $1.weight * ($1.mismatched?.logRatio ?? 0) }
      let drift = weight > 0 ? total / weight : 0
      return UnpairedStatistics(
        rows: weight, baseline: settings.beta * max(0, drift), state: state)
    case .bco:
      func mean(_ up: Bool) -> Double? {
        var (total, count) = (0.0, 0.0)
        for row in rows where row.up == up {
          total += row.weight * settings.beta * row.response.logRatio
          count += row.weight
        }
        return count > 0 ? total / count : nil
      }
      var state = state
      state.upMean = mean(true) ?? state.upMean
      state.downMean = mean(false) ?? state.downMean
      // Before a side was ever seen the other one stands for both.
      let middle =
        ((state.upMean ?? state.downMean ?? 0) + (state.downMean ?? state.upMean ?? 0)) / 2
      let shift = state.shift.map { 0.99 * $0 + 0.01 * middle } ?? middle
      state.shift = shift
      return UnpairedStatistics(rows: weight, baseline: shift, state: state)
    }
  }

  /// Phase two: loss, gradient on each response's log-probability (one number a row, the same for
  /// all its tokens), metrics of a piece.
  ///
  /// - Parameters:
  ///   - rows: The rows of the piece.
  ///   - statistics: From `statistics(of:settings:state:)` over the whole batch.
  ///   - settings: The same knobs.
  public func loss(
    _ rows: [UnpairedRow], statistics: UnpairedStatistics,
    settings: UnpairedSettings = UnpairedSettings()
  ) -> LossResult {
    var result = LossResult()
    let scale = statistics.rows > 0 ? 1 / statistics.rows : 0
    for row in rows {
      let w = row.weight
      let reward = settings.beta * row.response.logRatio
      // How far the response is on the side that its thumb says.
      let z = row.up ? reward - statistics.baseline : statistics.baseline - reward
      let (value, slope) = self == .kto ? Self.kto(z) : Self.bco(z)
      let share = scale * w * (row.up ? settings.upWeight : settings.downWeight)
      result.loss += share * value
      result.logProbabilities.append([share * slope * (row.up ? 1 : -1) * settings.beta])
      result.metrics.add(.preferenceLoss, share * value)
      result.metrics.addMean(.accuracy, total: z > 0 ? w : z == 0 ? w / 2 : 0, weight: w)
      result.metrics.addMean(
        row.up ? .chosenReward : .rejectedReward, total: w * reward, weight: w)
      result.metrics.addMean(
        row.up ? .chosenLogProbability : .rejectedLogProbability,
        total: w * row.response.policy, weight: w)
    }
    result.metrics.addMaximum(.implicitBaseline, statistics.baseline)
    return result
  }

  /// KTO: 1 − σ(z), z = ±(βh − β·z₀). Gradient: −σ(z)·σ(−z).
  ///
  /// Paper: Ethayarajh et al. 2024, eq. 8. Differs from the paper: nothing; z₀ is of the whole
  /// batch, over mismatched pairs of the batch.
  private static func kto(_ z: Double) -> (value: Double, slope: Double) {
    (sigmoid(-z), -sigmoid(z) * sigmoid(-z))
  }

  /// BCO: ℓ(z), z = ±(βh − δ). Gradient: −σ(−z).
  ///
  /// Paper: Jung et al. 2024. Differs from the paper: the weights of the thumbs are given, not
  /// estimated from how the two sides' prompts are distributed.
  private static func bco(_ z: Double) -> (value: Double, slope: Double) {
    (softplus(-z), -sigmoid(-z))
  }

  private func check(_ row: UnpairedRow, _ place: String) throws {
    func demand(_ response: ScoredResponse, _ what: String) throws {
      guard response.tokens > 0 else {
        throw ObjectiveError(.badRows, "\(place) has \(what) without tokens")
      }
      guard response.reference != nil else {
        throw ObjectiveError(
          .badRows, "\(place) lacks the reference's log-probabilities, which \(rawValue) needs")
      }
    }
    try demand(row.response, "a response")
    guard needsMismatched else { return }
    guard let mismatched = row.mismatched else {
      throw ObjectiveError(
        .badRows,
        "\(place) has no response of another prompt, which kto compares with: a batch needs at "
          + "least two prompts, or use bco")
    }
    try demand(mismatched, "a mismatched response")
  }
}
