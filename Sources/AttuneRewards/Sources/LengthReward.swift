// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneTraining
import Foundation

/// How long an answer is against what is wanted: `length:RULE`.
///
/// `MIN-MAX` counts words between white space; the other rules count sampled tokens, the end of the sequence
/// included.
public struct LengthReward: RewardSource {
  /// A rule. With n tokens, or w = max(words, 1):
  enum Rule: Equatable {
    /// 0 within, ln(w/MIN) below and −ln(w/MAX) above: half or twice the wanted length costs 0.69, a tenth or
    /// ten times 2.3.
    case words(ClosedRange<Int>)
    /// −n: a cost of each token, which the weight gives.
    case tokens
    /// −|n − N|. Paper: Aggarwal and Welleck 2025 (LCPO-Exact), arXiv:2503.04697.
    case target(Int)
    /// 0 up to LIMIT − CACHE, then falling to −1 at LIMIT. Paper: Yu et al. 2025 (DAPO), arXiv:2503.14476.
    case overlong(limit: Int, cache: Int)
    /// ½ − (n − shortest)/(longest − shortest) among the answers to a prompt, 0 where all are equally long.
    /// Paper: Kimi Team 2025, arXiv:2501.12599. Differs from the paper: wrong answers are not held to 0
    /// at most, since another source says which are.
    case group
  }

  /// `length:20-40`.
  public let name: String
  private let rule: Rule

  /// Makes a source of a length.
  ///
  /// - Parameter argument: `20`, `20-40`, `tokens`, `target:120`, `overlong:512` or `overlong:512,100`, `group`.
  /// - Throws: `TrainingError.badSetting` for anything else.
  public init(_ argument: String) throws {
    guard let rule = Self.rule(argument) else {
      throw TrainingError(
        .badSetting,
        "reward source length:\(argument): write length:MIN or length:MIN-MAX, whole numbers of words from 1 "
          + "on; or of tokens length:tokens, length:target:N, length:overlong:LIMIT[,CACHE] with a CACHE "
          + "up to LIMIT, length:group")
    }
    self.rule = rule
    name = "length:\(argument)"
  }

  private static func rule(_ argument: String) -> Rule? {
    let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    func numbers(_ separator: Character) -> [Int]? {
      let numbers = (parts.last ?? "").split(
        separator: separator, omittingEmptySubsequences: false
      ).map { Int($0) }
      guard (1...2).contains(numbers.count), numbers.allSatisfy({ $0 ?? 0 >= 1 }) else {
        return nil
      }
      return numbers.compactMap(\.self)
    }
    switch (parts.first, parts.count) {
    case ("tokens", 1): return .tokens
    case ("group", 1): return .group
    case ("target", 2):
      guard let number = numbers(","), number.count == 1 else { return nil }
      return .target(number[0])
    case ("overlong", 2):
      guard let bounds = numbers(",") else { return nil }
      // A fifth of the limit, as DAPO's.
      let cache = bounds.count == 2 ? bounds[1] : max(1, bounds[0] / 5)
      return cache <= bounds[0] ? .overlong(limit: bounds[0], cache: cache) : nil
    case (_, 1):
      guard let bounds = numbers("-"), bounds[0] <= bounds[bounds.count - 1] else { return nil }
      return .words(bounds[0]...bounds[bounds.count - 1])
    default: return nil
    }
  }

  /// Whether it compares the answers to a prompt.
  public var isRelative: Bool { rule == .group }

  /// The score of every answer.
  ///
  /// - Throws: `AnswerFault` where tokens are counted of an answer that is known as text alone.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    if case .words(let range) = rule {
      return completions.map {
        let words = max(1, TextStatistics.words($0.text).count)
        let nearest = min(max(words, range.lowerBound), range.upperBound)
        return -abs(log(Double(words) / Double(nearest)))
      }
    }
    let lengths = try completions.enumerated().map { i, completion in
      guard !completion.ids.isEmpty || completion.text.isEmpty else {
        throw AnswerFault(
          source: name, answer: i,
          message:
            "is known as text alone, and tokens are counted: give a length in words, as length:20-40"
        )
      }
      return completion.ids.count
    }
    switch rule {
    case .words: return []
    case .tokens: return lengths.map { -Double($0) }
    case .target(let wanted): return lengths.map { -Double(abs($0 - wanted)) }
    case .overlong(let limit, let cache):
      return lengths.map { Advantage.overlongPenalty(length: $0, limit: limit, cache: cache) }
    case .group:
      return prompts.groups.flatMap { group in
        let own = lengths[group]
        let (least, most) = (own.min() ?? 0, own.max() ?? 0)
        return own.map { most > least ? 0.5 - Double($0 - least) / Double(most - least) : 0 }
      }
    }
  }
}
