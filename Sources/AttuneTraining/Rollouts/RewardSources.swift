// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// The reward sources of a run, opened.
public struct RewardSources {
  /// The sources, each with its weight.
  public let weighted: [(source: any RewardSource, weight: Double)]
  /// What tells them from others: their names, weights and the digests of what they read.
  public let fingerprint: String

  /// Holds sources that are open.
  ///
  /// - Parameters:
  ///   - weighted: The sources, each with its weight.
  ///   - fingerprint: What tells them from others.
  public init(weighted: [(source: any RewardSource, weight: Double)], fingerprint: String) {
    self.weighted = weighted
    self.fingerprint = fingerprint
  }

  /// Whether one of some sources reads rows.
  ///
  /// - Parameters:
  ///   - sources: The sources.
  ///   - watched: One that is only measured.
  package static func readRows(
    _ sources: [(source: any RewardSource, weight: Double)], watched: (any RewardSource)? = nil
  ) -> Bool {
    watched?.readsRows == true || sources.contains(where: \.source.readsRows)
  }

  /// The weighted sum of what each source said of every answer.
  package static func sum(_ scores: [[Double]], weights: [Double]) -> [Double] {
    guard let first = scores.first else { return [] }
    var total = first.map { $0 * weights[0] }
    for (scores, weight) in zip(scores, weights).dropFirst() {
      for i in total.indices { total[i] += weight * scores[i] }
    }
    return total
  }

  /// Mean and deviation of each source's rewards and the correlation of each two; nothing of one
  /// source, whose numbers are the reward's.
  static func statistics(_ sources: [(source: String, rewards: [Double])]) -> MetricTotals {
    var totals = MetricTotals()
    guard sources.count > 1 else { return totals }
    for (i, one) in sources.enumerated() {
      totals.add(.sourceReward, Statistics.mean(one.rewards), of: one.source)
      totals.add(.sourceDeviation, Statistics.standardDeviation(one.rewards), of: one.source)
      for other in sources[(i + 1)...] {
        guard let r = Statistics.pearson(one.rewards, other.rewards) else { continue }
        totals.add(.sourceCorrelation, r, of: "\(one.source)|\(other.source)")
      }
    }
    return totals
  }
}
