// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
public import Foundation

/// A named, transparent rule that scores answers, in place of a person: preferences are drawn from
/// its scores, and the scores are the gold reward that a report holds the learned one against.
public enum Labeller: String, CaseIterable, Codable, Sendable {
  case concise
  case direct
  case polite
  case positive

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .concise: "short, finished, without repetition: about 20 words, ended by itself"
    case .direct:
      "answers what is asked: takes the question up, adds to it, ended by itself, without repetition"
    case .polite: "courteous, and on the question: up to two expressions of courtesy"
    case .positive: "positive in sentiment: VADER's compound score, from −1 to 1"
    }
  }

  private static let counts =
    "w words between white space, s the share of word 4-grams that repeat an earlier one (0 where w < 4)"
  private static let takenUp =
    "u the share of the prompt's content words that the answer takes up (1 where it has none)"

  /// What is scored, exactly.
  public var formula: String {
    switch self {
    case .concise:
      "2·[ended by itself] − |ln(max(w, 1)/20)| − 3·s − 2·[w < 4], \(Self.counts)"
    case .direct:
      "2·[ended by itself] + 2·min(1, 2u) + min(1, 2v) − max(0, ln(15/max(w, 1)), ln(w/40)) − 3·s − 2·[w < 4], "
        + "\(Self.takenUp), v the share of the answer's that the prompt has not, \(Self.counts)"
    case .polite:
      "[ended by itself] + 1.5·min(2, c) + 2·min(1, 2u) − 3·s − 2·[w < 4], c the number of different "
        + "expressions of courtesy (\"thank you\", \"happy to help\", …), \(Self.takenUp), \(Self.counts)"
    case .positive: "the compound score of VADER 3.3.2 (Hutto & Gilbert 2014)"
    }
  }

  /// Makes it ready to score.
  ///
  /// - Parameter lexicon: The folder of VADER's files, for `positive`; the pulled one if `nil`.
  /// - Throws: `TrainingError` if a file that it needs can't be read, with how to fetch it.
  public func scorer(lexicon: URL? = nil) throws -> Scorer {
    switch self {
    case .concise, .direct, .polite: return Scorer(labeller: self, sentiment: nil)
    case .positive:
      let folder = try lexicon ?? Pull.named("vader").folder
      return Scorer(
        labeller: self, sentiment: SentimentScorer(try SentimentLexicon(folder: folder)))
    }
  }

  /// A labeller with what it needs at hand.
  public struct Scorer: Sendable {
    /// Which one it is.
    public let labeller: Labeller
    private let sentiment: SentimentScorer?

    fileprivate init(labeller: Labeller, sentiment: SentimentScorer?) {
      self.labeller = labeller
      self.sentiment = sentiment
    }

    /// Scores an answer; higher is better.
    ///
    /// - Parameters:
    ///   - prompt: What was asked; `direct` and `polite` read it.
    ///   - completion: The answer's text, without special tokens.
    ///   - endedByItself: Whether the answer ended by its end-of-sequence token or a stop string, not
    ///     at the token limit; all but `positive` read it.
    public func score(prompt: String, completion: String, endedByItself: Bool) -> Double {
      switch labeller {
      case .concise: Labeller.concise(completion, endedByItself: endedByItself)
      case .direct: Labeller.direct(prompt, completion, endedByItself: endedByItself)
      case .polite:
        Labeller.polite(prompt, completion, endedByItself: endedByItself)
      case .positive: sentiment?.compound(completion) ?? 0
      }
    }
  }

  /// 2·[ended by itself] − |ln(max(w, 1)/20)| − 3·s − 2·[w < 4].
  ///
  /// At most 2, at exactly 20 words that end by themselves and never repeat four words in a row.
  private static func concise(_ text: String, endedByItself: Bool) -> Double {
    let words = TextStatistics.words(text).count
    var score = endedByItself ? 2.0 : 0
    score -= abs(log(Double(max(words, 1)) / 20))
    score -= 3 * TextStatistics.repetition(text)
    if words < 4 { score -= 2 }
    return score
  }

  /// 2·[ended by itself] + 2·min(1, 2u) + min(1, 2v) − max(0, ln(15/max(w, 1)), ln(w/40)) − 3·s − 2·[w < 4].
  ///
  /// At most 5. The question said again has v = 0, an answer beside the question u = 0.
  private static func direct(_ prompt: String, _ text: String, endedByItself: Bool) -> Double {
    let words = Double(max(TextStatistics.words(text).count, 1))
    var score = endedByItself ? 2.0 : 0
    score += 2 * min(1, 2 * (TextStatistics.takenUp(prompt: prompt, answer: text) ?? 1))
    score += min(1, 2 * (TextStatistics.added(prompt: prompt, answer: text) ?? 0))
    score -= max(0, log(15 / words), log(words / 40))
    score -= 3 * TextStatistics.repetition(text)
    if words < 4 { score -= 2 }
    return score
  }

  /// [ended by itself] + 1.5·min(2, c) + 2·min(1, 2u) − 3·s − 2·[w < 4]: at most 6.
  private static func polite(_ prompt: String, _ text: String, endedByItself: Bool) -> Double {
    var score = endedByItself ? 1.0 : 0
    score += 1.5 * Double(min(2, Courtesy.expressions(in: text)))
    score += 2 * min(1, 2 * (TextStatistics.takenUp(prompt: prompt, answer: text) ?? 1))
    score -= 3 * TextStatistics.repetition(text)
    if TextStatistics.words(text).count < 4 { score -= 2 }
    return score
  }
}
