// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneObjectives
import GRDB

/// What a store's feedback is worth: `attune feedback stats`.
///
/// Every ranking counts as the pairs it is made of. An item is a prompt with two answers, whichever
/// models gave them; of an annotator's labels of one item the last counts. Feedback of nobody in
/// particular is one annotator's, `"not named"`.
public struct FeedbackStatistics: Codable, Sendable, Equatable {
  /// A share with Wilson's 95 % interval.
  public struct Share: Codable, Sendable, Equatable {
    /// The share; nil of nothing.
    public var value: Double?
    /// Its interval.
    public var interval: Statistics.Interval
    /// Of how many.
    public var count: Int

    init(_ hits: Double, of count: Int) {
      value = count > 0 ? hits / Double(count) : nil
      interval = Statistics.wilson(successes: hits, trials: Double(count))
      self.count = count
    }
  }

  /// One annotator.
  public struct Annotator: Codable, Sendable, Equatable {
    /// The name.
    public var name: String
    /// Pairs that were labelled.
    public var labels: Int
    /// Share of ties and of both bad.
    public var undecided: Double
    /// Share of gold questions answered as the key has it.
    public var gold: Share
    /// Mean of Cohen's κ with each other annotator who labelled some of the same items.
    public var kappa: Double?
    /// Share of decided pairs in which the answer shown first is preferred.
    public var firstPreferred: Share
    /// Share of decided pairs of different length in which the longer answer is preferred.
    public var longerPreferred: Share
    /// Median time a comparison took, where it is known.
    public var medianSeconds: Double?
    /// Judgements that hold and took less than ``Pace/hastyMilliseconds``.
    public var hasty = 0
  }

  /// Two annotators.
  public struct Pair: Codable, Sendable, Equatable {
    /// Their names.
    public var annotators: [String]
    /// Items that both labelled.
    public var items: Int
    /// Share of them on which they agree.
    public var agreement: Double
    /// Cohen's κ.
    public var kappa: Double?
  }

  /// How many labels an accuracy is likely to need.
  public struct Need: Codable, Sendable, Equatable {
    /// The accuracy.
    public var accuracy: Double
    /// Labels, by the learning curve that was given; nil where the curve does not say.
    public var labels: Double?
    /// Beyond those in the store.
    public var more: Double?
    /// Share of pairs of labels by different annotators that agree. A model that is measured by
    /// such labels can hardly be right more often.
    public var ceiling: Double?
  }

  /// The version of this object.
  public var formatVersion = 1
  /// Comparisons that hold.
  public var comparisons: Int
  /// Pairs in them.
  public var pairs: Int
  /// Items: prompts with two answers.
  public var items: Int
  /// Thumbs that hold.
  public var thumbs: Int
  /// Critiques and rationales.
  public var critiques: Int
  /// How many pairs ended in what.
  public var outcomes: [String: Int]
  /// Fleiss' κ over all items with several labels.
  public var fleissKappa: Double?
  /// Krippendorff's α (nominal) over the same.
  public var krippendorffAlpha: Double?
  /// Every annotator, the one with most labels first.
  public var annotators: [Annotator]
  /// Every two annotators with items in common.
  public var agreement: [Pair]
  /// Share of decided pairs in which the answer shown first is preferred.
  public var firstPreferred: Share
  /// Share of decided pairs of different length in which the longer answer is preferred.
  public var longerPreferred: Share
  /// How many labels are needed, if that was asked.
  public var need: Need?
}

/// A label of an item by an annotator.
struct PairLabel {
  /// Which of the two it is; the answers stand in the order of their digests, which has nothing to
  /// do with which is better or was shown first.
  enum Verdict: String { case first, second, tie, bothBad }

  var item: String
  var annotator: String
  var verdict: Verdict
  var isGold: Bool
  /// Whether the answer shown first was preferred; nil where it was not decided or is not known.
  var prefersFirstShown: Bool?
  /// Whether the longer one in words was preferred; nil where undecided or equally long.
  var prefersLonger: Bool?
  var milliseconds: Int?

  /// The pairs of a comparison; two equal answers are no pair.
  static func all(_ comparison: LiveComparison) throws -> [PairLabel] {
    let words = try comparison.entries.map {
      try LiveComparison.content($0.content).lastText.split(whereSeparator: \.isWhitespace).count
    }
    let entries = comparison.entries
    var labels: [PairLabel] = []
    for i in entries.indices {
      for j in entries.indices where j > i && entries[i].digest != entries[j].digest {
        let isOrdered = entries[i].digest < entries[j].digest
        let (a, b) = isOrdered ? (i, j) : (j, i)
        let isDecided = comparison.outcome == .preferred && entries[a].rank != entries[b].rank
        let (best, worst) = entries[a].rank < entries[b].rank ? (a, b) : (b, a)
        var label = PairLabel(
          item: "\(comparison.prompt) \(entries[a].digest) \(entries[b].digest)",
          annotator: comparison.annotator ?? "not named",
          verdict: comparison.outcome == .bothBad
            ? .bothBad : isDecided ? (best == a ? .first : .second) : .tie,
          isGold: comparison.isGold, milliseconds: comparison.milliseconds)
        if isDecided {
          if let x = entries[best].position, let y = entries[worst].position {
            label.prefersFirstShown = x < y
          }
          if words[best] != words[worst] { label.prefersLonger = words[best] > words[worst] }
        }
        labels.append(label)
      }
    }
    return labels
  }
}

extension FeedbackStore {
  /// Counts and measures what the store holds.
  ///
  /// - Parameters:
  ///   - accuracy: An accuracy whose need of labels is estimated, above 0 and below 1.
  ///   - curve: The accuracy of a reward model after numbers of labels (`learning_curve` of
  ///     `attune reward --json`).
  /// - Throws: ``StoreError`` if the store can't be read.
  public func statistics(
    accuracy: Double? = nil, curve: [(labels: Double, accuracy: Double)] = []
  ) throws -> FeedbackStatistics {
    let (live, thumbs, critiques) = try read { db in
      let standing = """
        SELECT count(*) FROM thumb t
        WHERE t.withdrawn = 0
          AND NOT EXISTS (SELECT 1 FROM thumb later WHERE later.supersedes = t.id)
        """
      return (
        try LiveComparison.all(in: db), try Int.fetchOne(db, sql: standing) ?? 0,
        try Int.fetchOne(db, sql: "SELECT count(*) FROM critique") ?? 0
      )
    }
    var all = try live.flatMap(PairLabel.all)
    var spellings = AnnotatorNames()
    for i in all.indices { all[i].annotator = spellings.spelling(of: all[i].annotator) }
    let labels = all.filter { !$0.isGold }
    // item → annotator → verdict; of several the last one.
    var items: [String: [String: PairLabel.Verdict]] = [:]
    for label in labels { items[label.item, default: [:]][label.annotator] = label.verdict }
    let gold = all.filter(\.isGold).reduce(into: [:]) { $0[$1.item] = $1.verdict }
    let verdicts = items.values.map { Array($0.values) }
    let names = Set(labels.map(\.annotator)).sorted()
    let agreement = names.indices.flatMap { i in
      names[(i + 1)...].compactMap { other in Self.agreement(names[i], other, in: items) }
    }
    let hasty = Dictionary(try paces().map { ($0.name, $0.hasty) }, uniquingKeysWith: +)
    let annotators = names.map { name in
      var annotator = FeedbackStatistics.Annotator(
        name: name, labels: labels.filter { $0.annotator == name }, items: items, gold: gold,
        agreement: agreement)
      annotator.hasty = hasty[name] ?? 0
      return annotator
    }
    var statistics = FeedbackStatistics(
      comparisons: live.count, pairs: all.count, items: Set(all.map(\.item)).count, thumbs: thumbs,
      critiques: critiques,
      outcomes: all.reduce(into: [:]) { $0[$1.outcome, default: 0] += 1 },
      fleissKappa: Agreement.fleiss(verdicts),
      krippendorffAlpha: Agreement.krippendorff(verdicts),
      annotators: annotators.sorted { ($1.labels, $0.name) < ($0.labels, $1.name) },
      agreement: agreement, firstPreferred: .init(labels.compactMap(\.prefersFirstShown)),
      longerPreferred: .init(labels.compactMap(\.prefersLonger)))
    if let accuracy {
      let several = verdicts.filter { $0.count > 1 }
      let needed = LearningCurve(curve)?.labels(for: accuracy)
      statistics.need = .init(
        accuracy: accuracy, labels: needed.flatMap { $0.isFinite ? $0 : nil },
        more: needed.flatMap { $0.isFinite ? max(0, $0 - Double(labels.count)) : nil },
        ceiling: several.isEmpty
          ? nil : Statistics.mean(several.map { Agreement.agreeingPairs($0) }))
    }
    return statistics
  }

  private static func agreement(
    _ first: String, _ second: String, in items: [String: [String: PairLabel.Verdict]]
  ) -> FeedbackStatistics.Pair? {
    let both = items.values.compactMap { labels in
      labels[first].flatMap { a in labels[second].map { (a, $0) } }
    }
    guard !both.isEmpty else { return nil }
    return .init(
      annotators: [first, second], items: both.count,
      agreement: Double(both.count { $0.0 == $0.1 }) / Double(both.count),
      kappa: Agreement.cohen(both))
  }
}

extension FeedbackStatistics.Share {
  init(_ cases: [Bool]) { self.init(Double(cases.count { $0 }), of: cases.count) }
}

extension FeedbackStatistics.Annotator {
  init(
    name: String, labels: [PairLabel], items: [String: [String: PairLabel.Verdict]],
    gold: [String: PairLabel.Verdict], agreement: [FeedbackStatistics.Pair]
  ) {
    let answered = gold.compactMap { item, key in items[item]?[name].map { $0 == key } }
    let kappas = agreement.filter { $0.annotators.contains(name) }.compactMap(\.kappa)
    let times = labels.compactMap(\.milliseconds).map { Double($0) / 1000 }.sorted()
    self.init(
      name: name, labels: labels.count,
      undecided: Statistics.mean(
        labels.map { $0.verdict == .tie || $0.verdict == .bothBad ? 1 : 0 }),
      gold: .init(answered), kappa: kappas.isEmpty ? nil : Statistics.mean(kappas),
      firstPreferred: .init(labels.compactMap(\.prefersFirstShown)),
      longerPreferred: .init(labels.compactMap(\.prefersLonger)),
      medianSeconds: times.isEmpty ? nil : Statistics.quantile(sorted: times, 0.5))
  }
}

extension PairLabel {
  /// What it ended in, by the name that files use.
  var outcome: String {
    switch verdict {
    case .first, .second: Comparison.Outcome.preferred.rawValue
    case .tie: Comparison.Outcome.tie.rawValue
    case .bothBad: Comparison.Outcome.bothBad.rawValue
    }
  }
}
