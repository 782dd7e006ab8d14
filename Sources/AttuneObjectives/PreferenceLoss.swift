// SPDX-License-Identifier: Apache-2.0

/// Contrastive losses on pairs: the reward is read as β·log π/ρ (or as a likelihood, without a
/// reference) and fitted to preferences.
public enum PreferenceLoss: String, CaseIterable, Codable, Sendable {
  case dpo, hinge, ipo, robust, exo, nca
  case bcoPair = "bco_pair"
  case sppo, aot
  case aotUnpaired = "aot_unpaired"
  case apoZero = "apo_zero"
  case apoDown = "apo_down"
  case discopop, dpop
  case dpoNormalised = "dpo_normalised"
  case rdpo, simpo, orpo, cpo

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .dpo: "Bradley–Terry on β·log-ratios; smoothed: cDPO"
    case .hinge: "a margin of 1 between β·log-ratios (SLiC)"
    case .ipo: "the difference of log-ratios is 1/(2β), no more"
    case .robust: "dpo, unbiased where a known share of labels is wrong"
    case .exo: "reverse KL between the pair's probabilities and its labels"
    case .nca: "absolute log-ratios: chosen up, both held down"
    case .bcoPair: "chosen log-ratio above 0, rejected below"
    case .sppo: "chosen log-ratio to 1/(2β), rejected to −1/(2β)"
    case .aot: "policy's margins above the reference's, as sorted distributions"
    case .aotUnpaired: "chosen log-ratios above rejected ones, as sorted distributions"
    case .apoZero: "chosen up, rejected down, where chosen is better than the model"
    case .apoDown: "both down, rejected more, where the model is better than chosen"
    case .discopop: "dpo blended with an exponential loss by a gate"
    case .dpop: "dpo that is punished where the chosen response loses likelihood"
    case .dpoNormalised: "dpo on log-ratios a token"
    case .rdpo: "dpo with a price on length"
    case .simpo: "mean log-probability of the pair with a margin, no reference"
    case .orpo: "likelihood of chosen and odds of the pair, no reference"
    case .cpo: "log-probability of the pair and likelihood of chosen, no reference"
    }
  }

  /// The formula, with h = π − ρ, Δ = h⁺ − h⁻, ℓ(z) = −log σ(z).
  public var formula: String {
    switch self {
    case .dpo: "(1−ε)·ℓ(βΔ) + ε·ℓ(−βΔ)"
    case .hinge: "max(0, 1 − βΔ)"
    case .ipo: "(Δ − 1/(2β))²; length_normalised: h/n in place of h"
    case .robust: "[(1−ε)·ℓ(βΔ) − ε·ℓ(−βΔ)]/(1 − 2ε)"
    case .exo: "σ(βΔ)(log σ(βΔ) − log(1−ε)) + σ(−βΔ)(log σ(−βΔ) − log ε)"
    case .nca: "ℓ(βh⁺) + ½ℓ(−βh⁺) + ½ℓ(−βh⁻)"
    case .bcoPair: "ℓ(βh⁺) + ℓ(−βh⁻)"
    case .sppo: "(h⁺ − ½/β)² + (h⁻ + ½/β)²"
    case .aot: "sorted π⁺−π⁻ against sorted ρ⁺−ρ⁻: smoothed ℓ(β·difference)"
    case .aotUnpaired: "sorted h⁺ against sorted h⁻: smoothed ℓ(β·difference)"
    case .apoZero: "1 − σ(βh⁺) + σ(βh⁻)"
    case .apoDown: "σ(βh⁺) + 1 − σ(βΔ)"
    case .discopop: "ℓ(z)·σ(−z/τ) + exp(−z + log σ(z/τ)), z = βΔ"
    case .dpop: "ℓ(β(Δ − λ·max(0, −h⁺)))"
    case .dpoNormalised: "ℓ(β(h⁺/n⁺ − h⁻/n⁻))"
    case .rdpo: "ℓ(βΔ + α(n⁺ − n⁻))"
    case .simpo: "ℓ(β(π⁺/n⁺ − π⁻/n⁻) − γ)"
    case .orpo: "−π⁺/n⁺ + λ·ℓ(logit⁺ − logit⁻), logit = a − log(1 − e^a), a = π/n ≤ −1e-6"
    case .cpo: "ℓ(β(π⁺ − π⁻)) − α·π⁺/n⁺"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .dpo: "Rafailov et al. 2023, arXiv:2305.18290"
    case .hinge: "Zhao et al. 2023 (SLiC), arXiv:2305.10425"
    case .ipo: "Azar et al. 2023, arXiv:2310.12036"
    case .robust: "Chowdhury et al. 2024, arXiv:2403.00409"
    case .exo: "Ji et al. 2024, arXiv:2402.00856"
    case .nca: "Chen et al. 2024, arXiv:2402.05369"
    case .bcoPair: "Jung et al. 2024, arXiv:2404.04656"
    case .sppo: "Wu et al. 2024, arXiv:2405.00675"
    case .aot, .aotUnpaired: "Melnyk et al. 2024, arXiv:2406.05882"
    case .apoZero, .apoDown: "D'Oosterlinck et al. 2024, arXiv:2408.06266"
    case .discopop: "Lu et al. 2024, arXiv:2406.08414"
    case .dpop: "Pal et al. 2024, arXiv:2402.13228"
    case .dpoNormalised: "Lambert et al. 2024 (Tülu 3), arXiv:2411.15124"
    case .rdpo: "Park et al. 2024, arXiv:2403.19159"
    case .simpo: "Meng et al. 2024, arXiv:2405.14734"
    case .orpo: "Hong et al. 2024, arXiv:2403.07691"
    case .cpo: "Xu et al. 2024, arXiv:2401.08417"
    }
  }

  /// Whether the reference's log-probabilities are needed.
  public var needsReference: Bool { ![.simpo, .orpo, .cpo].contains(self) }

  /// Whether a soft label or tie can be read: q·L(y⁺, y⁻) + (1−q)·L(y⁻, y⁺).
  public var readsSoftLabels: Bool {
    [.dpo, .hinge, .ipo, .dpoNormalised, .rdpo, .simpo, .cpo].contains(self)
  }

  /// Whether values of other rows of the batch are needed, which takes one more forward pass.
  public var needsCurrentScores: Bool { self == .aot || self == .aotUnpaired }

  /// The settings that the loss reads; any other that is set is refused.
  public var reads: [PreferenceSettings.Knob] {
    var knobs: [PreferenceSettings.Knob] = [.sftWeight, .nllReduction, .nllOver]
    if self != .orpo { knobs.append(.beta) }
    knobs.append(readsSoftLabels ? .ties : .harden)
    switch self {
    case .dpo, .robust, .exo, .aot, .aotUnpaired: knobs.append(.smoothing)
    case .ipo: knobs.append(.lengthNormalised)
    case .discopop: knobs.append(.tau)
    case .dpop, .orpo: knobs.append(.lambda)
    case .rdpo: knobs.append(.lengthPrice)
    case .simpo: knobs.append(.gamma)
    default: break
    }
    if [.dpo, .hinge, .ipo, .robust, .exo, .discopop].contains(self) {
      knobs += [.divergence, .divergenceAlpha]
    }
    return knobs
  }
}

extension PreferenceLoss {
  /// Checks what was said of a pair.
  ///
  /// - Parameters:
  ///   - label: What was said.
  ///   - settings: The knobs.
  /// - Returns: Whether the loss learns from it; else such pairs are left out.
  /// - Throws: `ObjectiveError` for a label that the loss cannot read.
  public func check(
    label: PreferenceLabel, settings: PreferenceSettings = PreferenceSettings()
  ) throws -> Bool {
    try check(label.probability, "the row", settings)
    return isUsed(label.probability, label.outcome, settings)
  }

  /// Phase one: checks settings and rows, and computes what crosses rows.
  ///
  /// - Parameters:
  ///   - rows: All rows that the optimiser step sees; `aot` and `aot_unpaired` read their scores.
  ///   - settings: The knobs.
  /// - Throws: `ObjectiveError` for a knob that the loss does not read or that is out of range, a
  ///   missing reference, an empty response, or a label that the loss cannot read.
  public func statistics(
    of rows: [PreferenceRow], settings: PreferenceSettings = PreferenceSettings()
  ) throws -> PreferenceStatistics {
    let knobs = try Knobs(settings, for: self)
    for (index, row) in rows.enumerated() {
      try check(row, "row \(index + 1) of the batch", settings)
    }
    var statistics = PreferenceStatistics(rows: 0, tokens: 0)
    for row in rows {
      guard let row = used(row, settings) else { continue }
      statistics.rows += row.weight
      statistics.tokens += row.weight * Double(Self.likelihood(row.chosen, knobs).tokens)
    }
    if needsCurrentScores {
      guard rows.allSatisfy({ $0.weight == 1 && $0.outcome == .preferred }) else {
        throw ObjectiveError(
          .badRows, "\(rawValue) sorts the batch: it reads no weights, ties or 'both bad'")
      }
      let rows = rows.map { used($0, settings) ?? $0 }
      let (above, below) = (rows.map { sides($0).above }, rows.map { sides($0).below })
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
  ///   - statistics: From `statistics(of:settings:)` over the whole batch.
  ///   - settings: The same knobs.
  /// - Throws: `ObjectiveError` as `statistics` does.
  public func loss(
    _ rows: [PreferenceRow], at positions: [Int]? = nil, statistics: PreferenceStatistics,
    settings: PreferenceSettings = PreferenceSettings()
  ) throws -> LossResult {
    let knobs = try Knobs(settings, for: self)
    precondition(positions.map { $0.count == rows.count } ?? true, "one position a row")
    var result = LossResult()
    let scale = statistics.rows > 0 ? 1 / statistics.rows : 0
    for (index, original) in rows.enumerated() {
      var gradient = [0.0, 0]
      if settings.nllOver == .promptAndCompletion { gradient.append(0) }
      guard let row = used(original, settings) else {
        result.logProbabilities.append(gradient)
        result.metrics.addMean(.tiesLeftOut, total: original.weight, weight: original.weight)
        continue
      }
      let swapped = row.chosen != original.chosen
      let weight = scale * row.weight
      let q = row.outcome == .preferred ? row.probability : 0.5
      var term: PairTerm
      if needsCurrentScores {
        term = sorted(row, at: positions?[index] ?? index, statistics, knobs)
      } else {
        term = pair(row.chosen, row.rejected, knobs).scaled(q)
        if q != 1 { term.add(pair(row.rejected, row.chosen, knobs).scaled(1 - q).swapped) }
      }
      result.loss += weight * term.loss
      gradient[0] = weight * term.chosen
      gradient[1] = weight * term.rejected
      result.metrics.add(.preferenceLoss, weight * term.loss)
      if knobs.sftWeight != 0 {
        let (nll, tokens) = Self.likelihood(row.chosen, knobs)
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
      measure(row, q, term.saturated, knobs, &result.metrics)
    }
    return result
  }

  /// The loss of one pair, labels taken as they are.
  private func pair(
    _ chosen: ScoredResponse, _ rejected: ScoredResponse, _ knobs: Knobs
  ) -> PairTerm {
    switch self {
    case .dpo: Self.dpo(chosen, rejected, knobs)
    case .hinge: Self.hinge(chosen, rejected, knobs)
    case .ipo: Self.ipo(chosen, rejected, knobs)
    case .robust: Self.robust(chosen, rejected, knobs)
    case .exo: Self.exo(chosen, rejected, knobs)
    case .nca: Self.nca(chosen, rejected, knobs)
    case .bcoPair: Self.bcoPair(chosen, rejected, knobs)
    case .sppo: Self.sppo(chosen, rejected, knobs)
    case .aot, .aotUnpaired: preconditionFailure("the sorted losses are not of one pair")
    case .apoZero: Self.apoZero(chosen, rejected, knobs)
    case .apoDown: Self.apoDown(chosen, rejected, knobs)
    case .discopop: Self.discopop(chosen, rejected, knobs)
    case .dpop: Self.dpop(chosen, rejected, knobs)
    case .dpoNormalised: Self.dpoNormalised(chosen, rejected, knobs)
    case .rdpo: Self.rdpo(chosen, rejected, knobs)
    case .simpo: Self.simpo(chosen, rejected, knobs)
    case .orpo: Self.orpo(chosen, rejected, knobs)
    case .cpo: Self.cpo(chosen, rejected, knobs)
    }
  }

  /// The row as it is trained on: `nil` if left out, soft labels rounded where asked for.
  private func used(_ row: PreferenceRow, _ settings: PreferenceSettings) -> PreferenceRow? {
    guard isUsed(row.probability, row.outcome, settings) else { return nil }
    guard row.outcome == .preferred, !readsSoftLabels, row.probability != 1 else { return row }
    var row = row
    if row.probability < 0.5 { swap(&row.chosen, &row.rejected) }
    row.probability = 1
    return row
  }

  private func isUsed(
    _ probability: Double, _ outcome: PairComparison.Outcome, _ settings: PreferenceSettings
  ) -> Bool {
    guard outcome == .preferred else { return settings.ties == .half }
    return readsSoftLabels || probability != 0.5
  }

  /// The chosen response's negative log-likelihood and the tokens that it is over.
  private static func likelihood(
    _ chosen: ScoredResponse, _ knobs: Knobs
  ) -> (nll: Double, tokens: Int) {
    knobs.nllOver == .completion
      ? (-chosen.policy, chosen.tokens)
      : (-chosen.policy - chosen.promptPolicy, chosen.tokens + chosen.promptTokens)
  }

  private func measure(
    _ row: PreferenceRow, _ q: Double, _ saturated: Bool, _ knobs: Knobs,
    _ metrics: inout MetricTotals
  ) {
    let w = row.weight
    func reward(_ response: ScoredResponse) -> Double {
      if needsReference { return knobs.beta * response.logRatio }
      return knobs.beta * (self == .cpo ? response.policy : response.mean)
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

  private func check(
    _ row: PreferenceRow, _ place: String, _ settings: PreferenceSettings
  ) throws {
    guard row.chosen.tokens > 0, row.rejected.tokens > 0 else {
      throw ObjectiveError(.badRows, "\(place) has a response without tokens")
    }
    if needsReference, row.chosen.reference == nil || row.rejected.reference == nil {
      throw ObjectiveError(
        .badRows,
        "\(place) lacks the reference's log-probabilities, which \(rawValue) needs: give "
          + "a reference, or use simpo, orpo or cpo")
    }
    try check(row.probability, place, settings)
  }

  private func check(
    _ probability: Double, _ place: String, _ settings: PreferenceSettings
  ) throws {
    guard probability >= 0, probability <= 1 else {
      throw ObjectiveError(.badRows, "\(place) has a probability outside 0…1")
    }
    if probability != 1, !readsSoftLabels, !settings.harden {
      throw ObjectiveError(
        .badRows,
        "\(place) has a soft label, which \(rawValue) cannot read: use dpo, or round it with harden"
      )
    }
  }
}
