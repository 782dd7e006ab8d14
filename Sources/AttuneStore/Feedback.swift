// SPDX-License-Identifier: Apache-2.0

public import AttuneData

/// An answer and where it came from.
public struct Answer: Sendable, Hashable {
  /// The answer, without the prompt.
  public var content: Content
  /// Who answered; nil where nobody knows.
  public var model: SampleRow.Model?
  /// How it was sampled: an object of `temperature`, `seed` and the like.
  public var sampling: JSONValue

  /// Makes an answer.
  public init(
    _ content: Content, model: SampleRow.Model? = nil, sampling: JSONValue = .object([])
  ) {
    self.content = content
    self.model = model
    self.sampling = sampling
  }
}

/// Two or more answers to one prompt, compared by one annotator.
public struct Comparison: Sendable, Hashable {
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
  public struct Entry: Sendable, Hashable {
    /// The answer.
    public var answer: Answer
    /// 1 for the best; equal ranks are ties.
    public var rank: Int
    /// The annotator's score of it, if there is one.
    public var score: Double?
    /// Where it was shown, from 0; nil where nobody knows.
    public var position: Int?

    /// Makes an entry.
    public init(_ answer: Answer, rank: Int, score: Double? = nil, position: Int? = nil) {
      self.answer = answer
      self.rank = rank
      self.score = score
      self.position = position
    }
  }

  /// What was answered.
  public var prompt: Content
  /// The answers, at least two.
  public var entries: [Entry]
  /// What it ended in.
  public var outcome: Outcome
  /// Who or what compared them.
  public var annotator: String?
  /// Whether that was a person or a model.
  public var origin: Origin
  /// How much better, 1 (slightly) and up; nil where it was not asked.
  public var strength: Int?
  /// How probable it is that the first entry is the better one, where labels are soft.
  public var probability: Double?
  /// By how much the reward of the first entry should at least exceed the other's.
  public var margin: Double?
  /// Whether it is an answer key that others are measured by.
  public var isGold: Bool
  /// When, in seconds since 1970; 0 where nobody knows.
  public var time: Double
  /// How long it took.
  public var milliseconds: Int?

  /// Makes a comparison.
  public init(
    prompt: Content, entries: [Entry], outcome: Outcome = .preferred, annotator: String? = nil,
    origin: Origin = .file, strength: Int? = nil, probability: Double? = nil,
    margin: Double? = nil, isGold: Bool = false, time: Double = 0, milliseconds: Int? = nil
  ) {
    self.prompt = prompt
    self.entries = entries
    self.outcome = outcome
    self.annotator = annotator
    self.origin = origin
    self.strength = strength
    self.probability = probability
    self.margin = margin
    self.isGold = isGold
    self.time = time
    self.milliseconds = milliseconds
  }
}

/// A thumb up or down on one answer.
public struct Thumb: Sendable, Hashable {
  /// What was answered.
  public var prompt: Content
  /// The answer.
  public var answer: Answer
  /// Up (true) or down.
  public var isGood: Bool
  /// Who or what gave it.
  public var annotator: String?
  /// When, in seconds since 1970; 0 where nobody knows.
  public var time: Double
  /// How long it took.
  public var milliseconds: Int?

  /// Makes a thumb.
  public init(
    prompt: Content, answer: Answer, isGood: Bool, annotator: String? = nil, time: Double = 0,
    milliseconds: Int? = nil
  ) {
    self.prompt = prompt
    self.answer = answer
    self.isGood = isGood
    self.annotator = annotator
    self.time = time
    self.milliseconds = milliseconds
  }
}

/// What somebody says about an answer, or why a comparison came out as it did.
public struct Critique: Sendable, Hashable {
  /// What was answered.
  public var prompt: Content
  /// The answer it is about; nil for a comparison's rationale.
  public var answer: Answer?
  /// The comparison it is about, by its number in the store.
  public var comparison: Int64?
  /// The words.
  public var text: String
  /// Whose they are.
  public var annotator: String?
  /// When, in seconds since 1970; 0 where nobody knows.
  public var time: Double

  /// Makes a critique.
  public init(
    prompt: Content, answer: Answer? = nil, comparison: Int64? = nil, text: String,
    annotator: String? = nil, time: Double = 0
  ) {
    self.prompt = prompt
    self.answer = answer
    self.comparison = comparison
    self.text = text
    self.annotator = annotator
    self.time = time
  }
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
  var said: Preference.Outcome? {
    switch self {
    case .preferred: .preferred
    case .tie: .tie
    case .bothBad: .bothBad
    case .withdrawn: nil
    }
  }
}
