// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// Notices when answers degenerate: once for each kind of trouble.
struct RolloutWatch: Codable {
  private(set) var warnings: [String] = []
  private var firstEntropy: Double?
  private var firstRepetition: Double?
  private var firstLength: Double?
  private var firstReward: Double?
  private var firstGold: Double?
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
    if let reward = totals[.rewardMean], let gold = totals[.goldReward] {
      let (first, firstWatched) = (firstReward ?? reward, firstGold ?? gold)
      (firstReward, firstGold) = (first, firstWatched)
      // Half a standard deviation of one rollout's answers each way.
      if reward - first > 0.5 * (totals[.rewardDeviation] ?? 0),
        firstWatched - gold > 0.5 * (totals[.goldDeviation] ?? 0)
      {
        raise(
          "gold",
          "the watched reward fell from \(fixed(firstWatched, 3)) to \(fixed(gold, 3)) while the one "
            + "trained on rose from \(fixed(first, 3)) to \(fixed(reward, 3)): it is being gamed")
      }
    }
    if let equal = totals[.equalRewardShare], equal == 1 {
      raise(
        "equal",
        "all answers to each prompt got one score: there is nothing to tell apart and learn")
    }
    if let ratio = totals[.ratioMaximum], ratio > 10 {
      raise("ratio", "a token's probability changed \(fixed(ratio, 0)) times within one rollout")
    }
    warnings += new
    return new
  }
}
