// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneStore
import Synchronization

/// The policies that are trained while people label, as whoever trains them tells it, and what people
/// said of them: of the progress view and of `collect --json`.
public struct PolicyProgress: Encodable, Sendable, Equatable {
  /// A policy.
  public struct Policy: Encodable, Sendable, Equatable {
    /// Its number; the start is 0.
    public var number: Int
    /// Its model's name.
    public var name: String
    /// What tells its weights from others.
    public var fingerprint: String
    /// The policy that it is held against; nil for the start.
    public var previous: Int?
    /// Comparisons with a winner when its round began.
    public var labels: Int
    /// Share of the held-out pairs that its implicit reward ranks as people did; nil of none.
    public var accuracy: Double?
    /// Pairs held out.
    public var heldOut: Int
    /// What it won against the previous one, as the collector counts; nil for the start.
    public internal(set) var wins: WinCount?

    /// Makes one.
    public init(
      number: Int, name: String, fingerprint: String, previous: Int? = nil, labels: Int = 0,
      accuracy: Double? = nil, heldOut: Int = 0
    ) {
      self.number = number
      self.name = name
      self.fingerprint = fingerprint
      self.previous = previous
      self.labels = labels
      self.accuracy = accuracy
      self.heldOut = heldOut
    }

    /// Nobody who reads it needs the fingerprint.
    private enum CodingKeys: CodingKey {
      case number, name, labels, accuracy, heldOut, previous, wins
    }
  }

  /// The start and all that came after it.
  public var policies: [Policy]
  /// The one that answers.
  public var current: Int
  /// The one that is being trained; nil for none.
  public var training: Int?
  /// Comparisons with a winner that there are, as the collector counts.
  public internal(set) var labels = 0
  /// Those at which the next round begins.
  public var nextRound: Int

  /// Makes it.
  public init(policies: [Policy], current: Int, nextRound: Int, training: Int? = nil) {
    self.policies = policies
    self.current = current
    self.nextRound = nextRound
    self.training = training
  }

  /// The report for people, a line a policy.
  public var text: String {
    policies.compactMap { policy in
      guard let previous = policy.previous, let wins = policy.wins else { return nil }
      func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
      let share = wins.value.map {
        "won \(percent($0)) (\(percent(wins.interval.low)) to \(percent(wins.interval.high))) of "
          + "\(wins.pairs)"
      }
      return "policy \(policy.number), of \(policy.labels) labels: \(share ?? "no comparison yet")"
        + " against policy \(previous)" + (policy.number == current ? "; it answers now" : "")
    }.joined(separator: "\n")
  }
}

extension Collector {
  /// Tells the progress view which policies there are.
  public func setPolicies(_ progress: PolicyProgress) { policies.withLock { $0 = progress } }

  /// What aligning came to; nil where nothing is aligned.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func alignment() throws -> PolicyProgress? {
    try policies.withLock { $0 }?.counted(by: store)
  }
}

extension PolicyProgress {
  /// The same with what people have said by now.
  func counted(by store: FeedbackStore) throws -> PolicyProgress {
    var progress = self
    let held = policies.indices.filter { policies[$0].previous != nil }
    let wins = try store.wins(
      held.map { place in
        let previous = policies.first { $0.number == policies[place].previous }
        return (policies[place].fingerprint, previous?.fingerprint ?? "")
      })
    for (place, count) in zip(held, wins) { progress.policies[place].wins = count }
    progress.labels = try store.decidedCount()
    return progress
  }
}
