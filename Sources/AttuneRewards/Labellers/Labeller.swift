// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
public import Foundation

/// A named, transparent rule that scores answers, in place of a person: preferences are drawn from
/// its scores, and the scores are the gold reward that a report holds the learned one against.
public enum Labeller: String, CaseIterable, Codable, Sendable {
  case concise
  case positive

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .concise: "short, finished, without repetition: about 20 words, ended by itself"
    case .positive: "positive in sentiment: VADER's compound score, from −1 to 1"
    }
  }

  /// What is scored, exactly.
  public var formula: String {
    switch self {
    case .concise:
      "2·[ended by itself] − |ln(max(w, 1)/20)| − 3·s − 2·[w < 4], w words between white space, "
        + "s the share of word 4-grams that repeat an earlier one (0 where w < 4)"
    case .positive: "the compound score of VADER 3.3.2 (Hutto & Gilbert 2014)"
    }
  }

  /// Makes it ready to score.
  ///
  /// - Parameter lexicon: The folder of VADER's files, for `positive`; the pulled one if `nil`.
  /// - Throws: `TrainingError` if a file that it needs can't be read, with how to fetch it.
  public func scorer(lexicon: URL? = nil) throws -> Scorer {
    switch self {
    case .concise: return Scorer(labeller: self, sentiment: nil)
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
    ///   - prompt: What was asked; neither built-in labeller reads it.
    ///   - completion: The answer's text, without special tokens.
    ///   - endedByItself: Whether the answer ended by its end-of-sequence token or a stop string, not
    ///     at the token limit; only `concise` reads it.
    public func score(prompt: String, completion: String, endedByItself: Bool) -> Double {
      switch labeller {
      case .concise: Labeller.concise(completion, endedByItself: endedByItself)
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
}
