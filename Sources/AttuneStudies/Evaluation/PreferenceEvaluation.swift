// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// What a policy's implicit reward says of preferences that people or a rule gave.
enum PreferenceEvaluation {
  /// A pair with a preferred answer, as both models read it.
  private struct Pair {
    var prompt: Content
    var isSwapped: Bool
    var policy: EncodedGroup
    var reference: EncodedGroup
  }

  /// Holds a policy's log-probabilities against its reference's.
  ///
  /// - Parameters:
  ///   - data: Preferences.
  ///   - policy: The policy.
  ///   - reference: What it was trained from, or is compared with.
  ///   - settings: Confidence, seed, and tokens that are worked on at once.
  /// - Throws: An error that names the file and line at fault.
  static func run(
    _ data: DataFile, policy: LoadedModel, reference: LoadedModel, settings: EvaluationSettings
  ) throws -> EvaluationReport.Preferences {
    let encoders = (policy: try TextEncoder(policy), reference: try TextEncoder(reference))
    var undecided = 0
    var account = RowAccount(data)
    let decided = try account.rows(data) { row -> Pair? in
      guard case .preference(let preference) = row.example, let isSwapped = preference.isSwapped
      else {
        undecided += 1
        return nil
      }
      let group = try encoders.policy.group(row)
      try encoders.policy.requireDifferent(group)
      return Pair(
        prompt: preference.prompt, isSwapped: isSwapped, policy: group,
        reference: try encoders.reference.group(row))
    }.compactMap { $0 }
    guard !decided.isEmpty else {
      throw TrainingError(
        .badData,
        "\(data.url.path): no pair of it has a preferred answer"
          + "\(account.leftOut.first.map { " (line \($0.firstLine): \($0.reason))" } ?? "")")
    }
    func sums(
      _ loaded: LoadedModel, _ groups: [EncodedGroup]
    ) throws -> [(chosen: Double, rejected: Double)] {
      let tokens = try SequenceScores.tokens(
        loaded.model, groups, temperature: 1, pieceTokens: settings.pieceTokens)
      return zip(tokens, decided).map { answers, pair in
        let sums = answers.map { $0.logProbabilities.reduce(0, +) }
        return pair.isSwapped ? (sums[1], sums[0]) : (sums[0], sums[1])
      }
    }
    let after = try sums(policy, decided.map(\.policy))
    let before = try sums(reference, decided.map(\.reference))
    // Pairs of one prompt say less than as many of different ones: intervals are over prompts.
    var places: [Content: Int] = [:]
    for pair in decided { places[pair.prompt] = places[pair.prompt] ?? places.count }
    let groupOf = decided.map { places[$0.prompt] ?? 0 }
    /// The mean over all pairs, with the interval of prompts drawn anew.
    func mean(_ values: [Double]) -> Statistics.Estimate {
      var groups = Array(repeating: (sum: 0.0, count: 0), count: places.count)
      for (value, group) in zip(values, groupOf) {
        groups[group].sum += value
        groups[group].count += 1
      }
      return Statistics.bootstrap(
        groups, confidence: settings.confidence, seed: settings.seed
      ) { drawn in
        drawn.reduce(0) { $0 + $1.sum } / Double(drawn.reduce(0) { $0 + $1.count })
      }
    }
    func summary(_ values: [Double]) -> EvaluationReport.Summary {
      let estimate = mean(values)
      return EvaluationReport.Summary(
        mean: estimate.value, sd: Statistics.standardDeviation(values),
        interval: Interval(estimate.interval))
    }
    func share(_ margins: [Double]) -> EvaluationReport.Preferences.Share {
      let points = margins.map { $0 > 0 ? 1 : $0 == 0 ? 0.5 : 0 }
      let share = Statistics.mean(points)
      var interval = mean(points).interval
      // Wilson's holds where all of few prompts say the same, for which the bootstrap knows no doubt.
      if places.count == decided.count || interval.low == interval.high {
        interval = Statistics.wilson(
          successes: share * Double(places.count), trials: Double(places.count),
          confidence: settings.confidence)
      }
      return .init(value: share, interval: Interval(interval))
    }
    func answer(
      _ value: ((chosen: Double, rejected: Double)) -> Double
    ) -> EvaluationReport.Preferences.Likelihood {
      .init(
        before: summary(before.map(value)), after: summary(after.map(value)),
        change: summary(zip(after, before).map { value($0) - value($1) }))
    }
    let margins = zip(after, before).map {
      ($0.chosen - $1.chosen) - ($0.rejected - $1.rejected)
    }
    return EvaluationReport.Preferences(
      pairs: decided.count, prompts: places.count, undecided: undecided,
      leftOut: account.leftOutRows, cut: CutCounts(decided.map(\.policy)),
      reference: reference.name, accuracy: share(margins),
      likelierBefore: share(before.map { $0.chosen - $0.rejected }),
      likelierAfter: share(after.map { $0.chosen - $0.rejected }), margin: summary(margins),
      chosen: answer(\.chosen), rejected: answer(\.rejected))
  }
}
