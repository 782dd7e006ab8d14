// SPDX-License-Identifier: Apache-2.0

/// What was said about two answers to one prompt.
public struct PairComparison: Codable, Sendable, Equatable {
  /// What was said.
  public enum Outcome: String, CaseIterable, Codable, Sendable {
    /// The winner is better.
    case preferred
    /// Both are equally good.
    case tie
    /// Neither is acceptable.
    case bothBad = "both_bad"
  }

  /// Index of the preferred answer in its group (of either, for a tie).
  public var winner: Int
  /// Index of the other one.
  public var loser: Int
  /// P(winner ≻ loser), for soft labels; 1 for a plain preference.
  public var probability: Double
  /// By how much the winner should score higher, in units of the score.
  public var margin: Double
  /// What was said.
  public var outcome: Outcome

  /// Makes a comparison.
  ///
  /// - Parameters:
  ///   - winner: Index of the preferred answer.
  ///   - loser: Index of the other one.
  ///   - probability: P(winner ≻ loser).
  ///   - margin: By how much the winner should score higher.
  ///   - outcome: What was said.
  public init(
    winner: Int, loser: Int, probability: Double = 1, margin: Double = 0,
    outcome: Outcome = .preferred
  ) {
    self.winner = winner
    self.loser = loser
    self.probability = probability
    self.margin = margin
    self.outcome = outcome
  }
}

/// The answers to one prompt with their scores and what is known about them.
///
/// A group is what a batch may be cut between: a pair, a ranking, or all judged answers of a prompt,
/// each scored once however many comparisons it takes part in.
public struct RewardGroup: Codable, Sendable, Equatable {
  /// The model's score of each answer; not read by `statistics`.
  public var scores: [Double]
  /// What was said about pairs of them.
  public var comparisons: [PairComparison]
  /// Rank of each answer, lower is better, equal is tied; empty if not ranked.
  public var ranks: [Int]
  /// Score that a person or judge gave to each answer, for regression; empty if none.
  public var targets: [Double?]
  /// Thumbs up (true) or down of each answer; empty if none.
  public var thumbs: [Bool?]
  /// How much the group counts.
  public var weight: Double

  /// Makes a group.
  ///
  /// - Parameters:
  ///   - scores: The model's score of each answer.
  ///   - comparisons: What was said about pairs.
  ///   - ranks: Rank of each answer, lower is better.
  ///   - targets: Score given to each answer.
  ///   - thumbs: Thumbs up or down of each answer.
  ///   - weight: How much the group counts.
  public init(
    scores: [Double] = [], comparisons: [PairComparison] = [], ranks: [Int] = [],
    targets: [Double?] = [], thumbs: [Bool?] = [], weight: Double = 1
  ) {
    self.scores = scores
    self.comparisons = comparisons
    self.ranks = ranks
    self.targets = targets
    self.thumbs = thumbs
    self.weight = weight
  }

  /// Every pair that is known: the comparisons, or else all pairs of the ranking.
  var pairs: [PairComparison] {
    if !comparisons.isEmpty || ranks.isEmpty { return comparisons }
    var pairs: [PairComparison] = []
    for i in ranks.indices {
      for j in ranks.indices.dropFirst(i + 1) {
        let (winner, loser) = ranks[i] <= ranks[j] ? (i, j) : (j, i)
        pairs.append(
          PairComparison(
            winner: winner, loser: loser, outcome: ranks[i] == ranks[j] ? .tie : .preferred))
      }
    }
    return pairs
  }
}

/// The knobs of the reward-model losses, flat; `RewardLoss.reads` says which one reads which.
public struct RewardSettings: Codable, Sendable, Equatable {
  /// What to do with 'tie' and 'both bad' where the loss has no place for them.
  public enum Ties: String, CaseIterable, Codable, Sendable {
    /// Count them and leave them out.
    case skip
    /// Train towards probability ½.
    case half
  }

  /// A knob, by the name that a recipe has for it.
  public enum Knob: String, CaseIterable, Codable, Sendable {
    case centring, ties, harden, targetMean, targetDeviation
    // Not settings but columns of the data.
    case margin, probability
  }

  /// Weight c of c·(r⁺ + r⁻)²; 0.01 where it is wanted.
  public var centring = 0.0
  /// What to do with ties.
  public var ties = Ties.skip
  /// Whether soft labels are rounded to plain ones where the loss cannot read them.
  public var harden = false
  /// Mean of the data set's targets, for regression.
  public var targetMean = 0.0
  /// Standard deviation of the data set's targets, for regression.
  public var targetDeviation = 1.0

  /// What a person sets; the others are the data's.
  private enum CodingKeys: String, CodingKey { case centring, ties, harden }

  /// The defaults.
  public init() {}

  /// The knobs that are not at their default.
  var set: [Knob] {
    let plain = RewardSettings()
    var knobs: [Knob] = []
    if centring != plain.centring { knobs.append(.centring) }
    if ties != plain.ties { knobs.append(.ties) }
    if harden != plain.harden { knobs.append(.harden) }
    if targetMean != plain.targetMean { knobs.append(.targetMean) }
    if targetDeviation != plain.targetDeviation { knobs.append(.targetDeviation) }
    return knobs
  }
}
