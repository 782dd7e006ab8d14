// SPDX-License-Identifier: Apache-2.0

/// A person's judgement of answers that a store has, as a page sends it: under a key of the page's
/// own, so that one that is sent again, because its receipt was lost, is stored once.
public struct Submission: Sendable, Hashable {
  /// What was found.
  public enum Verdict: Sendable, Hashable {
    /// Two answers or more, compared: a rank for each, 1 for the best; equal ranks are ties.
    case comparison(Comparison.Outcome, ranks: [Int], strength: Int?)
    /// One answer, good or bad.
    case thumb(isGood: Bool)
  }

  /// What tells it from the annotator's others.
  public var key: String
  /// Who judged.
  public var annotator: String
  /// What was answered, by its number in the store.
  public var prompt: Int64
  /// The answers by their numbers, in the order in which they were shown.
  public var answers: [Int64]
  /// What was found.
  public var verdict: Verdict
  /// Why, in the annotator's words; empty for none.
  public var reason: String
  /// When, in seconds since 1970.
  public var time: Double
  /// How long it took.
  public var milliseconds: Int?
  /// The annotator's earlier judgement of the same that no longer holds.
  public var supersedes: Int64?

  /// Makes a submission.
  public init(
    key: String, annotator: String, prompt: Int64, answers: [Int64], verdict: Verdict,
    reason: String = "", time: Double, milliseconds: Int? = nil, supersedes: Int64? = nil
  ) {
    self.key = key
    self.annotator = annotator
    self.prompt = prompt
    self.answers = answers
    self.verdict = verdict
    self.reason = reason
    self.time = time
    self.milliseconds = milliseconds
    self.supersedes = supersedes
  }

  /// That it is on the disk.
  public struct Receipt: Sendable, Hashable {
    /// The judgement's number, of comparisons or of thumbs.
    public var number: Int64
    /// False if the store had it already.
    public var isNew: Bool
  }
}

/// A judgement that somebody gave and that holds.
public struct StandingJudgement: Sendable, Hashable {
  /// Its number, of comparisons or of thumbs.
  public var number: Int64
  /// Who judged.
  public var annotator: String
  /// The answers by their numbers, in the order in which they were shown.
  public var answers: [Int64]
  /// Whether it is a thumb.
  public var isThumb: Bool
  /// A rank for each answer, 1 for the best; a thumb down has rank 2.
  public var ranks: [Int]
  /// What it ended in.
  public var outcome: Comparison.Outcome
  /// How much better, where it was asked.
  public var strength: Int?
  /// Why, in the annotator's words; empty for none.
  public var reason: String
  /// When, in seconds since 1970.
  public var time: Double
}
