// SPDX-License-Identifier: Apache-2.0

/// A contrastive loss with its knobs, resolved and checked once for all batches.
public struct PreferenceObjective: Sendable {
  /// The loss.
  public let loss: PreferenceLoss
  /// The knobs as they were given.
  private let settings: PreferenceSettings
  /// With the loss's own defaults.
  private let knobs: PreferenceLoss.Knobs

  /// Takes a loss and its knobs.
  ///
  /// - Parameters:
  ///   - loss: The loss.
  ///   - settings: The knobs.
  /// - Throws: `ObjectiveError` for a knob that the loss does not read or that is out of range.
  public init(
    _ loss: PreferenceLoss, _ settings: PreferenceSettings = PreferenceSettings()
  ) throws {
    self.loss = loss
    self.settings = settings
    knobs = try PreferenceLoss.Knobs(settings, for: loss)
  }

  /// Checks what was said of a pair.
  ///
  /// - Parameter label: What was said.
  /// - Returns: Whether the loss learns from it; else such pairs are left out.
  /// - Throws: `ObjectiveError` for a label that the loss cannot read.
  public func check(label: PreferenceLabel) throws -> Bool {
    try check(label.probability, "the row")
    return isUsed(label.probability, label.outcome)
  }

  /// Phase one: checks rows, and computes what crosses them.
  ///
  /// - Parameter rows: All rows that the optimiser step sees; `aot` and `aot_unpaired` read their scores.
  /// - Throws: `ObjectiveError` for a missing reference, an empty response, or a label that the loss
  ///   cannot read.
  public func statistics(of rows: [PreferenceRow]) throws -> PreferenceStatistics {
    for (index, row) in rows.enumerated() {
      try check(row, "row \(index + 1) of the batch")
    }
    var statistics = PreferenceStatistics(rows: 0, tokens: 0)
    for row in rows {
      guard let row = used(row) else { continue }
      statistics.rows += row.weight
      statistics.tokens += row.weight * Double(likelihood(row.chosen).tokens)
    }
    if loss.sortsBatch {
      guard rows.allSatisfy({ $0.weight == 1 && $0.outcome == .preferred }) else {
        throw ObjectiveError(
          .badRows, "\(loss.rawValue) sorts the batch: it reads no weights, ties or 'both bad'")
      }
      let rows = rows.map { used($0) ?? $0 }
      let (above, below) = (rows.map { loss.sides($0).above }, rows.map { loss.sides($0).below })
      let aboveOrder = above.indices.sorted { (above[$0], $0) < (above[$1], $1) }
      let belowOrder = below.indices.sorted { (below[$0], $0) < (below[$1], $1) }
      statistics.chosenPartners = above
      statistics.rejectedPartners = below
      for (a, b) in zip(aboveOrder, belowOrder) {
        statistics.chosenPartners[a] = below[b]
        statistics.rejectedPartners[b] = above[a]
      }
    }
    return statistics
  }

  /// Phase two: loss, gradients, metrics of a piece.
  ///
  /// The result's `logProbabilities` hold for each row [∂/∂π⁺, ∂/∂π⁻], and a third number,
  /// the derivative with respect to the prompt's log-probability, where `nllOver` includes it. All
  /// tokens of a response have the same one.
  ///
  /// - Parameters:
  ///   - rows: The rows of the piece.
  ///   - positions: Their places in the batch that `statistics` saw; `nil`: 0, 1, 2 …
  ///   - statistics: From `statistics(of:)` over the whole batch.
  public func loss(
    _ rows: [PreferenceRow], at positions: [Int]? = nil, statistics: PreferenceStatistics
  ) -> LossResult {
    precondition(positions.map { $0.count == rows.count } ?? true, "one position a row")
    var result = LossResult()
    let scale = statistics.rows > 0 ? 1 / statistics.rows : 0
    for (index, original) in rows.enumerated() {
      var gradient = [0.0, 0]
      if knobs.nllOver == .promptAndCompletion { gradient.append(0) }
      guard let row = used(original) else {
        result.logProbabilities.append(gradient)
        result.metrics.addMean(.tiesLeftOut, total: original.weight, weight: original.weight)
        continue
      }
      let swapped = row.chosen != original.chosen
      let weight = scale * row.weight
      let q = row.outcome == .preferred ? row.probability : 0.5
      var term: PreferenceLoss.PairTerm
      if loss.sortsBatch {
        term = loss.sorted(row, at: positions?[index] ?? index, statistics, knobs)
      } else {
        term = loss.pair(row.chosen, row.rejected, knobs).scaled(q)
        if q != 1 { term.add(loss.pair(row.rejected, row.chosen, knobs).scaled(1 - q).swapped) }
      }
      result.loss += weight * term.loss
      gradient[0] = weight * term.chosen
      gradient[1] = weight * term.rejected
      result.metrics.add(.preferenceLoss, weight * term.loss)
      if knobs.sftWeight != 0 {
        let (nll, tokens) = likelihood(row.chosen)
        let divisor =
          settings.nllReduction == .token
          ? statistics.tokens : statistics.rows * Double(tokens)
        let share = divisor > 0 ? knobs.sftWeight * row.weight / divisor : 0
        result.loss += share * nll
        gradient[0] -= share
        if gradient.count > 2 { gradient[2] -= share }
        result.metrics.addMean(
          .supervisedLoss, total: row.weight * nll, weight: row.weight * Double(tokens))
      }
      if swapped { gradient.swapAt(0, 1) }
      result.logProbabilities.append(gradient)
      measure(row, q, term.saturated, &result.metrics)
    }
    return result
  }

  /// The row as it is trained on: `nil` if left out, soft labels rounded where asked for.
  private func used(_ row: PreferenceRow) -> PreferenceRow? {
    guard isUsed(row.probability, row.outcome) else { return nil }
    guard row.outcome == .preferred, !loss.readsSoftLabels, row.probability != 1 else { return row }
    var row = row
    if row.probability < 0.5 { swap(&row.chosen, &row.rejected) }
    row.probability = 1
    return row
  }

  private func isUsed(_ probability: Double, _ outcome: PairComparison.Outcome) -> Bool {
    guard outcome == .preferred else { return settings.ties == .half }
    return loss.readsSoftLabels || probability != 0.5
  }

  /// The chosen response's negative log-likelihood and the tokens that it is over.
  private func likelihood(_ chosen: ScoredResponse) -> (nll: Double, tokens: Int) {
    knobs.nllOver == .completion
      ? (-chosen.policy, chosen.tokens)
      : (-chosen.policy - chosen.promptPolicy, chosen.tokens + chosen.promptTokens)
  }

  private func measure(
    _ row: PreferenceRow, _ q: Double, _ saturated: Bool, _ metrics: inout MetricTotals
  ) {
    let w = row.weight
    func reward(_ response: ScoredResponse) -> Double {
      if loss.needsReference { return knobs.beta * response.logRatio }
      return knobs.beta * (loss == .cpo ? response.policy : response.mean)
    }
    let (better, worse) = q < 0.5 ? (row.rejected, row.chosen) : (row.chosen, row.rejected)
    if q != 0.5 {
      let margin = reward(better) - reward(worse)
      let won = margin > 0 ? 1 : margin == 0 ? 0.5 : 0
      metrics.addMean(.accuracy, total: w * won, weight: w)
      metrics.addMean(.margin, total: w * margin, weight: w)
      metrics.addMean(.chosenReward, total: w * reward(better), weight: w)
      metrics.addMean(.rejectedReward, total: w * reward(worse), weight: w)
      metrics.addMean(.chosenLogProbability, total: w * better.policy, weight: w)
      metrics.addMean(.rejectedLogProbability, total: w * worse.policy, weight: w)
    }
    metrics.addMean(.tiesLeftOut, total: 0, weight: w)
    metrics.addMean(.saturated, total: saturated ? w : 0, weight: w)
  }

  private func check(_ row: PreferenceRow, _ place: String) throws {
    guard row.chosen.tokens > 0, row.rejected.tokens > 0 else {
      throw ObjectiveError(.badRows, "\(place) has a response without tokens")
    }
    if loss.needsReference, row.chosen.reference == nil || row.rejected.reference == nil {
      throw ObjectiveError(
        .badRows,
        "\(place) lacks the reference's log-probabilities, which \(loss.rawValue) needs: give "
          + "a reference, or use simpo, orpo or cpo")
    }
    try check(row.probability, place)
  }

  private func check(_ probability: Double, _ place: String) throws {
    guard probability >= 0, probability <= 1 else {
      throw ObjectiveError(.badRows, "\(place) has a probability outside 0…1")
    }
    if probability != 1, !loss.readsSoftLabels, !settings.harden {
      throw ObjectiveError(
        .badRows,
        "\(place) has a soft label, which \(loss.rawValue) cannot read: use dpo, or round it with harden"
      )
    }
  }
}
