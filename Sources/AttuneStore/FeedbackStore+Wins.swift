// SPDX-License-Identifier: Apache-2.0

public import AttuneObjectives

/// How often one model's answers were preferred to another's.
public struct WinCount: Codable, Sendable, Equatable {
  /// Pairs in which its answer was preferred.
  public var won = 0
  /// Pairs in which the other's was.
  public var lost = 0
  /// Pairs in which neither was.
  public var tied = 0
  /// Pairs in which both were bad, which say nothing of which is better.
  public var bothBad = 0
  /// Share of the others that it won, a tie counting half; nil of none.
  public var value: Double?
  /// Wilson's 95 % interval of that share.
  public var interval = Statistics.wilson(successes: 0, trials: 0)

  /// No pair yet.
  public init() {}

  /// Pairs that count.
  public var pairs: Int { won + lost + tied }

  mutating func add(_ outcome: Comparison.Outcome, isBetter: Bool?) {
    switch (outcome, isBetter) {
    case (.bothBad, _): bothBad += 1
    case (.preferred, true?): won += 1
    case (.preferred, false?): lost += 1
    case (.preferred, nil), (.tie, _): tied += 1
    case (.withdrawn, _): break
    }
    let points = Double(won) + Double(tied) / 2
    value = pairs > 0 ? points / Double(pairs) : nil
    interval = Statistics.wilson(successes: points, trials: Double(pairs))
  }
}

extension FeedbackStore {
  /// Counts what models won against others, by the provenance of the answers that were compared;
  /// answer keys are left out.
  ///
  /// - Parameter matches: Fingerprints: of the model, and of the one that it is held against.
  /// - Returns: A count for each match.
  /// - Throws: ``StoreError`` if the store can't be read.
  public func wins(_ matches: [(model: String, against: String)]) throws -> [WinCount] {
    let live = try read { try LiveComparison.all(in: $0) }.filter { !$0.isGold }
    return matches.map { match in
      var count = WinCount()
      for comparison in live {
        for ours in comparison.entries where ours.fingerprint == match.model {
          for theirs in comparison.entries where theirs.fingerprint == match.against {
            count.add(
              comparison.outcome,
              isBetter: ours.rank == theirs.rank ? nil : ours.rank < theirs.rank)
          }
        }
      }
      return count
    }
  }
}
