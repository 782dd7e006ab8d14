// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Losses of a reward model: a score r for each answer, learned from what people or judges said.
public enum RewardLoss: String, CaseIterable, Codable, Sendable {
  case bradleyTerry = "bradley_terry"
  case kWise = "k_wise"
  case plackettLuce = "plackett_luce"
  case raoKupper = "rao_kupper"
  case davidson
  case pointwise
  case regression

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .bradleyTerry: "the preferred answer of a pair scores higher: −log σ(r⁺ − r⁻ − margin)"
    case .kWise: "all untied pairs of a ranking, each answer scored once, rankings count the same"
    case .plackettLuce: "likelihood of a whole ranking, best first; no ties"
    case .raoKupper: "pairs with ties: a learned threshold below which two answers look equal"
    case .davidson: "pairs with ties: equal answers tie with a learned odds"
    case .pointwise: "thumbs up or down on single answers: −log σ(±r)"
    case .regression: "squared distance to a given score, standardised over the data set"
    }
  }

  /// The formula, in the notation of the documentation.
  public var formula: String {
    switch self {
    case .bradleyTerry: "ℓ(r⁺ − r⁻ − margin); soft: q·ℓ(d) + (1−q)·ℓ(−d)"
    case .kWise: "mean over untied pairs of ℓ(r_i − r_j)"
    case .plackettLuce: "−Σ_k [r_(k) − logsumexp_{j≥k} r_(j)]"
    case .raoKupper: "win ℓ(d − λ); tie −log[(e^{2λ}−1)·σ(d−λ)·σ(−d−λ)]; λ = softplus(η)"
    case .davidson:
      "win log s − r_i; tie log s − η − (r_i+r_j)/2; s = e^{r_i}+e^{r_j}+e^{η+(r_i+r_j)/2}"
    case .pointwise: "up ℓ(r), down ℓ(−r)"
    case .regression: "(r − (score − mean)/sd)²"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .bradleyTerry:
      "Bradley & Terry 1952; Stiennon et al. 2020, arXiv:2009.01325; margin: Llama 2, arXiv:2307.09288"
    case .kWise: "Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155"
    case .plackettLuce: "Plackett 1975; Luce 1959"
    case .raoKupper: "Rao & Kupper 1967"
    case .davidson: "Davidson 1970"
    case .pointwise: "logistic regression"
    case .regression: "least squares"
    }
  }

  /// The settings, and columns of the data, that the loss reads; anything else is refused.
  public var reads: [RewardSettings.Knob] {
    switch self {
    case .bradleyTerry: [.centring, .ties, .margin, .probability]
    case .kWise: [.centring, .harden]
    case .plackettLuce, .pointwise: []
    case .raoKupper, .davidson: [.centring, .harden]
    case .regression: [.targetMean, .targetDeviation]
    }
  }

  /// Names of the scalars that the loss owns and the optimiser steps, beside the model's parameters.
  public var parameterNames: [String] {
    switch self {
    case .raoKupper, .davidson: ["eta"]
    default: []
    }
  }

  /// Where those scalars start.
  public var initialParameters: [Double] {
    parameterNames.map { _ in 0 }
  }
}

/// What a reward-model loss needs to know of the whole batch: counts of rows, no scores.
public struct RewardStatistics: Sendable, Equatable {
  /// Weight of what the mean is over: pairs (`bradley_terry`, tie models), rankings (`k_wise`,
  /// `plackett_luce`), answers (`pointwise`, `regression`).
  public var rows: Double
}

extension RewardLoss {
  /// Checks what was said of a group.
  ///
  /// - Parameters:
  ///   - label: The group, without scores.
  ///   - settings: The knobs.
  /// - Returns: Whether the loss learns from it.
  /// - Throws: `ObjectiveError` as `statistics` does.
  public func check(
    label: RewardGroup, settings: RewardSettings = RewardSettings()
  ) throws -> Bool {
    try check(settings)
    try check(label, "the row", settings)
    return rows(of: label, settings) > 0
  }

  /// Phase one: checks the rows against the loss and counts them.
  ///
  /// - Parameters:
  ///   - groups: All groups that the optimiser step sees; their scores are not read.
  ///   - settings: The knobs.
  /// - Throws: `ObjectiveError` for a knob or column that the loss does not read, a soft label or
  ///   tie that it cannot use, or an index outside its group.
  public func statistics(
    of groups: [RewardGroup], settings: RewardSettings = RewardSettings()
  ) throws -> RewardStatistics {
    try check(settings)
    var rows = 0.0
    for (index, group) in groups.enumerated() {
      try check(group, "group \(index + 1) of the batch", settings)
      rows += group.weight * Double(self.rows(of: group, settings))
    }
    return RewardStatistics(rows: rows)
  }

  /// Phase two: loss, gradient on each score, metrics of a piece.
  ///
  /// - Parameters:
  ///   - groups: The groups of the piece, with scores. The result's `scalars` have their shape.
  ///   - statistics: From `statistics(of:settings:)` over the whole batch.
  ///   - settings: The same knobs.
  ///   - parameters: The scalars that the loss owns, as `parameterNames` lists them.
  public func loss(
    _ groups: [RewardGroup], statistics: RewardStatistics,
    settings: RewardSettings = RewardSettings(), parameters: [Double] = []
  ) -> LossResult {
    precondition(parameters.count == parameterNames.count, "\(rawValue) owns \(parameterNames)")
    let scale = statistics.rows > 0 ? 1 / statistics.rows : 0
    var result = LossResult()
    result.parameters = parameters.map { _ in 0 }
    for group in groups {
      var term = Term(scores: group.scores, parameters: parameters.count)
      switch self {
      case .bradleyTerry: Self.bradleyTerry(group, settings, &term)
      case .kWise: Self.kWise(group, settings, &term)
      case .plackettLuce: Self.plackettLuce(group, &term)
      case .raoKupper: Self.raoKupper(group, settings, parameters[0], &term)
      case .davidson: Self.davidson(group, settings, parameters[0], &term)
      case .pointwise: Self.pointwise(group, &term)
      case .regression: Self.regression(group, settings, &term)
      }
      let weight = scale * group.weight
      result.loss += weight * (term.loss + term.centring)
      result.scalars.append(term.gradient.map { weight * $0 })
      for p in result.parameters.indices { result.parameters[p] += weight * term.parameters[p] }
      result.metrics.add(.rewardLoss, weight * term.loss)
      if settings.centring != 0 { result.metrics.add(.centringLoss, weight * term.centring) }
      measure(group, settings, &result.metrics)
    }
    switch self {
    case .raoKupper: result.metrics.addMaximum(.tieParameter, softplus(parameters[0]))
    case .davidson: result.metrics.addMaximum(.tieParameter, exp(parameters[0]))
    default: break
    }
    return result
  }

  /// The metrics that every member has: what the scores say about the known preferences.
  private func measure(
    _ group: RewardGroup, _ settings: RewardSettings, _ metrics: inout MetricTotals
  ) {
    let w = group.weight
    metrics.addMean(
      .rewardMean, total: w * group.scores.reduce(0, +), weight: w * Double(group.scores.count))
    if self == .pointwise {
      for (score, up) in zip(group.scores, group.thumbs) {
        guard let up else { continue }
        metrics.addMean(.accuracy, total: w * Self.won(up ? score : -score), weight: w)
        metrics.addMean(up ? .chosenReward : .rejectedReward, total: w * score, weight: w)
      }
      return
    }
    for pair in group.pairs {
      let pair = settings.harden ? pair.hardened : pair
      let decided = pair.outcome == .preferred && pair.probability != 0.5
      metrics.addMean(
        .tiesLeftOut, total: pair.outcome == .preferred || readsTies(settings) ? 0 : w, weight: w)
      guard decided else { continue }
      let (i, j) = pair.probability > 0.5 ? (pair.winner, pair.loser) : (pair.loser, pair.winner)
      let d = group.scores[i] - group.scores[j]
      metrics.addMean(.accuracy, total: w * Self.won(d), weight: w)
      metrics.addMean(.margin, total: w * d, weight: w)
      metrics.addMean(.chosenReward, total: w * group.scores[i], weight: w)
      metrics.addMean(.rejectedReward, total: w * group.scores[j], weight: w)
    }
  }

  private func readsTies(_ settings: RewardSettings) -> Bool {
    switch self {
    case .raoKupper, .davidson: true
    default: settings.ties == .half
    }
  }

  private static func won(_ d: Double) -> Double { d > 0 ? 1 : d == 0 ? 0.5 : 0 }

  /// How many of the rows that the mean is over a group holds.
  private func rows(of group: RewardGroup, _ settings: RewardSettings) -> Int {
    switch self {
    case .bradleyTerry:
      settings.ties == .half
        ? group.pairs.count : group.pairs.count(where: { $0.outcome == .preferred })
    case .kWise: Self.untied(group, settings).isEmpty ? 0 : 1
    case .plackettLuce: group.ranks.count > 1 ? 1 : 0
    case .raoKupper, .davidson: group.pairs.count
    case .pointwise:
      group.thumbs.count(where: { $0 != nil })
        + 2 * group.comparisons.count(where: { $0.outcome == .bothBad })
    case .regression: group.targets.count(where: { $0 != nil })
    }
  }

  /// The decided pairs of a group, the winner first.
  static func untied(_ group: RewardGroup, _ settings: RewardSettings) -> [PairComparison] {
    group.pairs.map { settings.harden ? $0.hardened : $0 }.filter { $0.outcome == .preferred }
  }

  private func check(_ settings: RewardSettings) throws {
    for knob in settings.set where !reads.contains(knob) {
      throw ObjectiveError(.badSetting, "\(rawValue) does not read \(knob.rawValue): leave it out")
    }
    if reads.contains(.targetDeviation), !(settings.targetDeviation > 0) {
      throw ObjectiveError(.badSetting, "targetDeviation must be above 0")
    }
  }

  private func check(
    _ group: RewardGroup, _ place: String, _ settings: RewardSettings
  ) throws {
    let lists = [group.scores.count, group.ranks.count, group.targets.count, group.thumbs.count]
    let known = lists.max() ?? 0
    guard lists.allSatisfy({ $0 == 0 || $0 == known }) else {
      throw ObjectiveError(.badRows, "\(place) has lists of different lengths")
    }
    for pair in group.comparisons {
      guard
        pair.winner >= 0, pair.loser >= 0, pair.winner != pair.loser,
        known == 0 || max(pair.winner, pair.loser) < known
      else {
        throw ObjectiveError(.badRows, "\(place) compares answers that it does not have")
      }
      guard pair.probability >= 0, pair.probability <= 1 else {
        throw ObjectiveError(.badRows, "\(place) has a probability outside 0…1")
      }
      if pair.probability != 1 {
        guard reads.contains(.probability) || (settings.harden && reads.contains(.harden)) else {
          throw ObjectiveError(
            .badRows,
            "\(place) has a soft label, which \(rawValue) does not read"
              + (reads.contains(.harden) ? ": use bradley_terry, or round it with harden" : ""))
        }
      }
      if pair.margin != 0 {
        guard reads.contains(.margin) else {
          let readers = Self.allCases.filter { $0.reads.contains(.margin) }.map(\.rawValue)
          throw ObjectiveError(
            .badRows,
            "\(place) has a margin, which \(rawValue) does not read: leave it out, or use "
              + readers.joined(separator: " or "))
        }
        guard pair.probability == 1, pair.outcome == .preferred else {
          throw ObjectiveError(
            .badRows, "\(place) has a margin together with a soft label or tie: leave one out")
        }
      }
    }
    let empty: Bool
    switch self {
    case .plackettLuce:
      guard Set(group.ranks).count == group.ranks.count else {
        throw ObjectiveError(
          .badRows, "\(place) has tied ranks, which plackett_luce cannot read: use k_wise")
      }
      empty = group.ranks.isEmpty
    case .pointwise: empty = group.thumbs.isEmpty && group.comparisons.isEmpty
    case .regression: empty = group.targets.isEmpty
    default: empty = group.comparisons.isEmpty && group.ranks.isEmpty
    }
    if empty {
      throw ObjectiveError(.badRows, "\(place) has nothing that \(rawValue) learns from")
    }
  }
}

extension PairComparison {
  /// The plain preference that is nearest to a soft label.
  var hardened: PairComparison {
    guard outcome == .preferred, probability != 1 else { return self }
    if probability == 0.5 { return PairComparison(winner: winner, loser: loser, outcome: .tie) }
    return probability > 0.5
      ? PairComparison(winner: winner, loser: loser) : PairComparison(winner: loser, loser: winner)
  }
}
