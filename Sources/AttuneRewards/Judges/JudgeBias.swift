// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneTraining

/// What judges lean towards, whatever the answers say.
public struct JudgeBias: Codable, Sendable, Equatable {
  /// Mean probability of the answer that is shown first, less one half: −½ … ½. It cancels in the
  /// labels, which are means over both orders, but what it takes from a judge's attention is lost.
  public var position: Double
  /// Share of readings in which the better answer changes with the order.
  public var flips: Double
  /// Share of pairs of different length in which the longer answer is preferred.
  public var longerPreferred: Double?
  /// Pearson's correlation of P(an answer ≻ the other) with the difference of their lengths in words.
  public var lengthCorrelation: Double?

  private enum CodingKeys: String, CodingKey {
    case position, flips
    case longerPreferred = "longer_preferred"
    case lengthCorrelation = "length_correlation"
  }

  /// Measures verdicts.
  ///
  /// - Parameters:
  ///   - verdicts: The verdicts that say something.
  ///   - words: The words of the first and the second answer of each.
  package init(_ verdicts: [Verdict], words: [(first: Int, second: Int)]) {
    let readings = verdicts.flatMap(\.readings)
    position = Statistics.mean(readings.map(\.positionBias))
    flips = Statistics.mean(readings.map { $0.flips ? 1 : 0 })
    let rows = zip(verdicts, words).compactMap { verdict, words in
      verdict.probability.map { (p: $0, difference: Double(words.first - words.second)) }
    }
    longerPreferred = Self.longerPreferred(rows)
    // Which answer comes first means nothing, so each pair counts both ways round.
    lengthCorrelation = Statistics.pearson(
      rows.flatMap { [$0.p, 1 - $0.p] }, rows.flatMap { [$0.difference, -$0.difference] })
  }

  /// How often the longer one of two is preferred; a tie is half.
  static func longerPreferred(_ rows: [(p: Double, difference: Double)]) -> Double? {
    let uneven = rows.filter { $0.difference != 0 }
    guard !uneven.isEmpty else { return nil }
    return Statistics.mean(
      uneven.map { $0.p == 0.5 ? 0.5 : ($0.p > 0.5) == ($0.difference > 0) ? 1 : 0 })
  }
}

/// How far a judge agrees with people: `attune judge --check`.
public struct JudgeCheck: Codable, Sendable, Equatable {
  /// The file of people's preferences.
  public var data: String
  /// Pairs on which people have decided and the judge gave an answer.
  public var pairs: Int
  /// Pairs that people called a tie or both bad, which are left out.
  public var undecided: Int
  /// Pairs without a valid answer of the judge.
  public var unanswered: Int
  /// Share of pairs on which the judge prefers what people prefer; its tie counts half.
  public var accuracy: Double
  /// Wilson's interval of the accuracy.
  public var accuracyInterval: Interval
  /// Cohen's κ with people. Which answer of a pair comes first means nothing, so both sides say
  /// "first" as often as "second" and chance agrees on one half: κ = 2·accuracy − 1.
  public var kappa: Double
  /// Expected calibration error: confidence max(p, 1 − p) against whether people agree, ten bins.
  public var ece: Double
  /// Mean confidence.
  public var confidence: Double
  /// Mean probability that the letters have together, where log-probabilities are known.
  public var letterMass: Double?
  /// What the judge leans towards.
  public var bias: JudgeBias
  /// Share of pairs of different length in which people prefer the longer answer.
  public var peopleLonger: Double?

  /// Compares verdicts with people.
  ///
  /// - Parameters:
  ///   - data: The file's name.
  ///   - verdicts: On pairs whose first answer is the one that people prefer.
  ///   - words: The words of both answers.
  ///   - undecided: How many pairs people have not decided.
  ///   - letterMass: What the letters have together.
  init(
    data: String, verdicts: [Verdict], words: [(first: Int, second: Int)], undecided: Int,
    letterMass: Double?
  ) {
    let chances = verdicts.compactMap(\.probability)
    let right = chances.map { $0 > 0.5 ? 1 : $0 == 0.5 ? 0.5 : 0 }
    self.data = data
    self.undecided = undecided
    self.letterMass = letterMass
    pairs = chances.count
    unanswered = verdicts.count - chances.count
    accuracy = Statistics.mean(right)
    accuracyInterval = Interval(
      Statistics.wilson(successes: right.reduce(0, +), trials: Double(right.count)))
    kappa = 2 * accuracy - 1
    let sure = chances.map { max($0, 1 - $0) }
    ece = Statistics.calibration(predictions: sure, outcomes: right).error
    confidence = Statistics.mean(sure)
    bias = JudgeBias(verdicts, words: words)
    peopleLonger = JudgeBias.longerPreferred(
      words.map { (p: 1, difference: Double($0.first - $0.second)) })
  }
}
