// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneStore
import Synchronization

/// The policies that are trained while people label, as whoever trains them tells it.
public struct PolicyProgress: Sendable, Equatable {
  /// A policy.
  public struct Policy: Sendable, Equatable {
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
    /// Share of the held-out pairs that its implicit reward ranks as people did.
    public var accuracy: Double?
    /// Pairs held out.
    public var heldOut: Int

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
  }

  /// The start and all that came after it.
  public var policies: [Policy]
  /// The one that answers.
  public var current: Int
  /// Comparisons with a winner at which the next round begins.
  public var nextRound: Int
  /// The policy that is being trained; nil for none.
  public var training: Int?

  /// Makes it.
  public init(policies: [Policy], current: Int, nextRound: Int, training: Int? = nil) {
    self.policies = policies
    self.current = current
    self.nextRound = nextRound
    self.training = training
  }
}

/// What aligning while people label came to: of the progress view and of `collect --json`.
public struct AlignReport: Codable, Sendable, Equatable {
  /// A policy with what people said of it.
  public struct Policy: Codable, Sendable, Equatable {
    /// Its number; the start is 0.
    public var number: Int
    /// Its model's name.
    public var name: String
    /// Comparisons with a winner when its round began.
    public var labels: Int
    /// Share of the held-out pairs that its implicit reward ranks as people did; nil of none.
    public var accuracy: Double?
    /// Pairs held out.
    public var heldOut: Int
    /// The policy that it is held against; nil for the start.
    public var previous: Int?
    /// What it won against that one; nil for the start.
    public var wins: WinCount?

    private enum CodingKeys: String, CodingKey {
      case number, name, labels, accuracy, previous, wins
      case heldOut = "held_out"
    }
  }

  /// The start and all that came after it.
  public var policies: [Policy]
  /// The one that answers.
  public var current: Int
  /// The one that is being trained; nil for none.
  public var training: Int?
  /// Comparisons with a winner that there are.
  public var labels: Int
  /// Those at which the next round begins.
  public var nextRound: Int

  private enum CodingKeys: String, CodingKey {
    case policies, current, training, labels
    case nextRound = "next_round"
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
  public func alignment() throws -> AlignReport? {
    guard let progress = policies.withLock({ $0 }) else { return nil }
    let held = progress.policies.filter { $0.previous != nil }
    func fingerprint(_ number: Int?) -> String {
      progress.policies.first { $0.number == number }?.fingerprint ?? ""
    }
    let wins = try store.wins(held.map { ($0.fingerprint, fingerprint($0.previous)) })
    let byNumber = Dictionary(uniqueKeysWithValues: zip(held.map(\.number), wins))
    return AlignReport(
      policies: progress.policies.map {
        AlignReport.Policy(
          number: $0.number, name: $0.name, labels: $0.labels, accuracy: $0.accuracy,
          heldOut: $0.heldOut, previous: $0.previous, wins: byNumber[$0.number])
      }, current: progress.current, training: progress.training, labels: try decided(),
      nextRound: progress.nextRound)
  }
}
