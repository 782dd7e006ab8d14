// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
import Foundation

/// One minibatch of PPO: the gradient of policy and value loss, piece by piece.
struct PPOUpdate {
  let rollout: Rollout
  /// The prompts whose answers it sees.
  let batch: [Int]
  let settings: PPOSettings

  /// Adds the gradients.
  ///
  /// - Parameters:
  ///   - policy: The policy, whose value head is used unless there is a value model.
  ///   - value: The value model.
  ///   - checkingRatio: Whether nothing was trained since the rollout, so that every ratio is 1.
  /// - Returns: The metrics of the minibatch.
  /// - Throws: `TrainingError` if a ratio that must be 1 is not.
  func accumulate(
    policy: LanguageModel, value: LanguageModel?, checkingRatio: Bool
  ) throws -> MetricTotals {
    var policySettings = PolicySettings()
    policySettings.clipLow = settings.clip
    policySettings.clipHigh = settings.clip
    policySettings.entropyBonus = settings.entropyBonus
    var valueSettings = ValueSettings()
    valueSettings.clip = settings.valueClip > 0 ? settings.valueClip : nil
    valueSettings.coefficient = settings.valueCoefficient
    let all = rollout.indices(of: batch).answers.map { rollout.answers[$0] }
    let policyStatistics = try PolicyLoss.ppo.statistics(
      of: all.map { PolicyRow(new: [], old: $0.old, advantages: $0.advantages) },
      settings: policySettings)
    let valueStatistics = try ValueLoss.clipped.statistics(
      of: all.map { ValueRow(values: [], oldValues: $0.values, returns: $0.returns) },
      settings: valueSettings)
    let request = HeadRequest(
      temperature: settings.temperature, entropy: settings.entropyBonus > 0)

    var totals = MetricTotals()
    for prompts in rollout.pieces(batch, budget: settings.pieceTokens) {
      let (chosen, chosenAnswers) = rollout.indices(of: prompts)
      let answers = chosenAnswers.map { rollout.answers[$0] }
      let segments = rollout.request(chosen, scored: true, values: value == nil)
      let trunk = rollout.trunk?.selecting(chosen)
      var place: [Int: Int] = [:]
      for (i, segment) in chosen.enumerated() { place[segment] = i }
      let places = answers.map { place[$0.segment] ?? 0 }

      let scores = try policy.score(segments, request, trunk: trunk, keepingActivations: true)
      let rows = zip(answers, places).map { answer, i in
        PolicyRow(
          new: scores.logProbabilities[i], old: answer.old, advantages: answer.advantages,
          entropies: request.entropy ? scores.entropies[i] : [])
      }
      if checkingRatio { totals.addMaximum(.firstRatioGap, try checkRatios(rows)) }
      let policyLoss = PolicyLoss.ppo.loss(
        rows, statistics: policyStatistics, settings: policySettings)
      totals.merge(policyLoss.metrics)

      func spread(_ lists: [[Double]]) -> [[Double]] {
        guard !lists.isEmpty else { return [] }
        var all = segments.map { _ in [Double]() }
        for (list, i) in zip(lists, places) { all[i] = list }
        return all
      }
      func valueLoss(_ values: [[Double]]) -> [[Double]] {
        let rows = zip(answers, places).map { answer, i in
          ValueRow(values: values[i], oldValues: answer.values, returns: answer.returns)
        }
        let result = ValueLoss.clipped.loss(
          rows, statistics: valueStatistics, settings: valueSettings)
        totals.merge(result.metrics)
        return spread(result.scalars)
      }
      try policy.backward(
        HeadGradients(
          logProbabilities: spread(policyLoss.logProbabilities),
          entropies: spread(policyLoss.entropies),
          scalars: value == nil ? valueLoss(scores.scalars) : []))
      if let value {
        let segments = rollout.request(chosen, scored: false, values: true)
        let scores = try value.score(
          segments, trunk: rollout.sharing(trunk, value), keepingActivations: true)
        try value.backward(HeadGradients(scalars: valueLoss(scores.scalars)))
      }
    }
    return totals
  }

  /// The largest |ratio − 1|, which must be next to nothing before the first step of a rollout.
  private func checkRatios(_ rows: [PolicyRow]) throws -> Double {
    var gap = 0.0
    for row in rows {
      for (new, old) in zip(row.new, row.old) { gap = max(gap, abs(exp(new - old) - 1)) }
    }
    guard gap < 1e-4 else {
      throw TrainingError(
        .diverged,
        "before the first step of a rollout the ratio of new to old probabilities is off by \(gap): "
          + "scoring the same tokens twice gives different numbers, a fault of the engine")
    }
    return gap
  }
}

/// Notices when answers degenerate: once for each kind of trouble.
struct RolloutWatch: Codable {
  private(set) var warnings: [String] = []
  private var firstEntropy: Double?
  private var firstRepetition: Double?
  private var firstLength: Double?
  private var seen: [String] = []

  /// Looks at a rollout.
  ///
  /// - Returns: What is new, in words.
  mutating func look(at totals: MetricTotals, maximumLength: Int) -> [String] {
    var new: [String] = []
    func raise(_ kind: String, _ text: String) {
      guard !seen.contains(kind) else { return }
      seen.append(kind)
      new.append(text)
    }
    if let entropy = totals[.entropy] {
      let first = firstEntropy ?? entropy
      firstEntropy = first
      if entropy < 0.3 * first {
        raise(
          "entropy",
          "entropy fell from \(fixed(first, 2)) to \(fixed(entropy, 2)) nats: answers become all alike"
        )
      }
    }
    if let repetition = totals[.repetition] {
      let first = firstRepetition ?? repetition
      firstRepetition = first
      if repetition > 0.2, repetition > 2 * first {
        raise(
          "repetition",
          "\(fixed(100 * repetition, 0)) % of word 4-grams are repeated (at first "
            + "\(fixed(100 * first, 0)) %): answers go round in circles")
      }
    }
    if let length = totals[.responseLength] {
      let first = firstLength ?? length
      firstLength = first
      if length > 0.95 * Double(maximumLength), first < 0.8 * Double(maximumLength) {
        raise(
          "long", "answers grew from \(fixed(first, 0)) to \(fixed(length, 0)) tokens, the limit")
      }
      if length < 0.2 * first || length < 2 {
        raise("short", "answers shrank from \(fixed(first, 0)) to \(fixed(length, 1)) tokens")
      }
    }
    if let ratio = totals[.ratioMaximum], ratio > 10 {
      raise("ratio", "a token's probability changed \(fixed(ratio, 0)) times within one rollout")
    }
    warnings += new
    return new
  }
}
