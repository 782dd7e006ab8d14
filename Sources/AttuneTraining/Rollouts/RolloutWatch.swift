// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives

/// What can be noticed of answers that degenerate.
public enum RolloutAlarm: String, CaseIterable, Codable, Sendable {
  case kl, entropy, repetition, long, short, gold, equal, ratio

  /// When it is raised, in one line.
  public var summary: String {
    switch self {
    case .kl: "KL from the start above 20 nats an answer and 0.25 nats a token"
    case .entropy: "entropy a token below 0.3 of the first rollout's"
    case .repetition: "over 20 % of word 4-grams repeated, and twice the first rollout's share"
    case .long: "mean length above 0.95 of max_tokens, from below 0.8"
    case .short: "mean length below a fifth of the first rollout's, or below 2 tokens"
    case .gold:
      "trained reward gained a deviation more than the watched one, means of four rollouts"
    case .equal: "all answers to each prompt have one score"
    case .ratio: "a token's probability changed more than tenfold within a rollout"
    }
  }

  /// Whether it says that the policy leaves what the reward knows; the others are about the update.
  public var isOfTheAnswers: Bool { self != .equal && self != .ratio }
}

/// Notices when answers degenerate: once for each kind of trouble.
package struct RolloutWatch: Codable {
  /// Nats an answer, and a token, above which a policy is far from its start. An answer of the policy is
  /// then e^20 times likelier than its start has it; long answers may go as far without harm, so both
  /// must hold.
  static let klLimits = (answer: 20.0, token: 0.25)

  /// Rollouts that a reward is the mean of where it is held against another: a rollout's prompts are
  /// harder or easier than another's, and a few say little.
  package static let window = 4

  /// The two rewards of a rollout's answers.
  private struct Rewards: Codable {
    var trained: Double
    var watched: Double
    var trainedDeviation: Double
    var watchedDeviation: Double
  }

  package private(set) var warnings: [String] = []
  private var firstEntropy: Double?
  private var firstRepetition: Double?
  private var firstLength: Double?
  /// The trained and the watched reward of the first and of the last rollouts.
  private var firstRewards: [Rewards] = []
  private var lastRewards: [Rewards] = []
  private var seen: [RolloutAlarm] = []

  /// Nothing seen yet.
  package init() {}

  /// Looks at a rollout.
  ///
  /// - Returns: What is new, in words.
  package mutating func look(
    at totals: MetricTotals, maximumLength: Int
  ) -> [(alarm: RolloutAlarm, text: String)] {
    var new: [(alarm: RolloutAlarm, text: String)] = []
    func raise(_ alarm: RolloutAlarm, _ text: String) {
      guard !seen.contains(alarm) else { return }
      seen.append(alarm)
      new.append((alarm, text))
    }
    if let kl = totals[.klSequence], kl > Self.klLimits.answer,
      (totals[.klToken] ?? .infinity) > Self.klLimits.token
    {
      raise(
        .kl,
        "KL from the start is \(fixed(kl, 1)) nats an answer: the reward was learned on others")
    }
    if let entropy = totals[.entropy] {
      let first = firstEntropy ?? entropy
      firstEntropy = first
      if entropy < 0.3 * first {
        raise(
          .entropy,
          "entropy fell from \(fixed(first, 2)) to \(fixed(entropy, 2)) nats: answers become all alike"
        )
      }
    }
    if let repetition = totals[.repetition] {
      let first = firstRepetition ?? repetition
      firstRepetition = first
      if repetition > 0.2, repetition > 2 * first {
        raise(
          .repetition,
          "\(fixed(100 * repetition, 0)) % of word 4-grams are repeated (at first "
            + "\(fixed(100 * first, 0)) %): answers go round in circles")
      }
    }
    if let length = totals[.responseLength] {
      let first = firstLength ?? length
      firstLength = first
      if length > 0.95 * Double(maximumLength), first < 0.8 * Double(maximumLength) {
        raise(
          .long, "answers grew from \(fixed(first, 0)) to \(fixed(length, 0)) tokens, the limit")
      }
      if length < 0.2 * first || length < 2 {
        raise(.short, "answers shrank from \(fixed(first, 0)) to \(fixed(length, 1)) tokens")
      }
    }
    if let trained = totals[.rewardMean], let watched = totals[.goldReward] {
      let rewards = Rewards(
        trained: trained, watched: watched, trainedDeviation: totals[.rewardDeviation] ?? 0,
        watchedDeviation: totals[.goldDeviation] ?? 0)
      if firstRewards.count < Self.window {
        firstRewards.append(rewards)
      } else {
        lastRewards = (lastRewards + [rewards]).suffix(Self.window)
      }
      if let text = divergence() { raise(.gold, text) }
    }
    if let equal = totals[.equalRewardShare], equal == 1 {
      raise(
        .equal,
        "all answers to each prompt got one score: there is nothing to tell apart and learn")
    }
    if let ratio = totals[.ratioMaximum], ratio > 10 {
      raise(.ratio, "a token's probability changed \(fixed(ratio, 0)) times within one rollout")
    }
    warnings += new.map(\.text)
    return new
  }

  /// What there is to say where the trained reward gained over a deviation more than the watched one, each
  /// in deviations of the first rollouts' answers.
  private func divergence() -> String? {
    guard lastRewards.count == Self.window else { return nil }
    func gain(
      _ reward: KeyPath<Rewards, Double>, over deviation: KeyPath<Rewards, Double>
    ) -> Double? {
      func mean(_ rewards: [Rewards], _ value: KeyPath<Rewards, Double>) -> Double {
        Statistics.mean(rewards.map { $0[keyPath: value] })
      }
      let scale = mean(firstRewards, deviation)
      return scale > 0 ? (mean(lastRewards, reward) - mean(firstRewards, reward)) / scale : nil
    }
    guard let trained = gain(\.trained, over: \.trainedDeviation),
      let watched = gain(\.watched, over: \.watchedDeviation), trained - watched > 1
    else { return nil }
    return
      "the reward that is trained on moved by \(fixed(trained, 1)) deviations, the watched one by "
      + "\(fixed(watched, 1)): they no longer say the same"
  }
}
