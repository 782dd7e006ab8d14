// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// An answer and where it came from.
struct Answer {
  /// The answer, without the prompt.
  var content: Content
  /// Who answered; nil where nobody knows.
  var model: SampleRow.Model?
  /// How it was sampled: an object of `temperature`, `seed` and the like.
  var sampling = JSONValue.object([])
}

/// Two or more answers to one prompt, compared by one annotator.
public struct Comparison {
  /// Where a judgement comes from.
  public enum Origin: String, Sendable, CaseIterable {
    /// A file that does not say.
    case file
    /// A person.
    case person
    /// A language model.
    case ai
  }

  /// What it ended in.
  public enum Outcome: String, Sendable, CaseIterable {
    /// The ranks say which answers are better.
    case preferred
    /// None is better.
    case tie
    /// None is good enough.
    case bothBad = "both_bad"
    /// The comparison that this one supersedes no longer holds.
    case withdrawn
  }

  /// An answer among those compared.
  struct Entry {
    /// The answer.
    var answer: Answer
    /// 1 for the best; equal ranks are ties.
    var rank: Int
    /// The annotator's score of it, if there is one.
    var score: Double?
    /// Where it was shown, from 0; nil where nobody knows.
    var position: Int?
  }

  /// What was answered.
  var prompt: Content
  /// The answers, at least two.
  var entries: [Entry]
  /// What it ended in.
  var outcome: Outcome
  /// Who or what compared them.
  var annotator: String?
  /// Whether that was a person or a model.
  var origin: Origin
  /// How much better, 1 (slightly) and up; nil where it was not asked.
  var strength: Int?
  /// How probable it is that the first entry is the better one, where labels are soft.
  var probability: Double?
  /// By how much the reward of the first entry should at least exceed the other's.
  var margin: Double?
  /// Whether it is an answer key that others are measured by.
  var isGold: Bool
  /// When, in seconds since 1970; 0 where nobody knows.
  var time: Double
  /// How long it took.
  var milliseconds: Int?
}

extension Comparison.Outcome {
  /// What a row of a file says.
  init(_ said: Preference.Outcome) {
    switch said {
    case .preferred: self = .preferred
    case .tie: self = .tie
    case .bothBad: self = .bothBad
    }
  }

  /// What the store's file says.
  ///
  /// - Throws: ``StoreError`` for an outcome that there is none of, which the file's own rules refuse.
  init(stored name: String) throws {
    guard let known = Self(rawValue: name) else {
      throw StoreError(
        .file, "the store holds a comparison with the outcome \(name), which is none")
    }
    self = known
  }

  /// The same as a row of a file says it; nil for what no longer holds.
  var said: Preference.Outcome? { Preference.Outcome(rawValue: rawValue) }
}
