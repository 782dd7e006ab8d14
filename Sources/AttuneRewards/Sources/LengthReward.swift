// SPDX-License-Identifier: Apache-2.0

public import AttuneData
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
    /// λ = ½ − (n − shortest)/(longest − shortest) among the answers to a prompt, 0 where all are equally
    /// long; of a wrong answer min(0, λ), where a source says which are right. Paper: Kimi Team 2025,
    /// arXiv:2501.12599.
    case group
    /// From 1 to ½ for a right answer, the longer the less, and from −1 to −½ for a wrong one, by half a cosine
    /// up to LIMIT. Paper: Yeo et al. 2025, arXiv:2502.03373, with TRL's bounds.
    case cosine(limit: Int)
  }

  /// `length:20-40`.
  public let name: String
  private let rule: Rule
  /// Says which answers are right, where the rule asks.
  private let checking: (any RewardSource)?

  /// Makes a source of a length.
  ///
  /// - Parameters:
  ///   - argument: `20`, `20-40`, `tokens`, `target:120`, `overlong:512` or `overlong:512,100`, `group`,
  ///     `group:SOURCE`, `cosine:512:SOURCE`.
  ///   - open: Opens the source that says which answers are right.
  /// - Throws: `TrainingError.badSetting` for anything else.
  public init(
    _ argument: String,
    open: (RewardSpecification) throws -> any RewardSource = { source in
      throw TrainingError(.badSetting, "\(source.name): nothing is given that opens it")
    }
  ) throws {
    let (rule, source) = try Self.parts(argument)
    self.rule = rule
    checking = try source.map(open)
    name = "length:\(argument)"
  }

  /// The rule of an argument, and the source behind it.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> (rule: Rule, checking: RewardSpecification?) {
    let parts = argument.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      .map(String.init)
    func numbers(_ text: String, _ separator: Character) -> [Int]? {
      let numbers = text.split(separator: separator, omittingEmptySubsequences: false).map {
        Int($0)
      }
      guard (1...2).contains(numbers.count), numbers.allSatisfy({ $0 ?? 0 >= 1 }) else {
        return nil
      }
      return numbers.compactMap(\.self)
    }
    let one = parts.count > 1 ? numbers(parts[1], ",") : nil
    switch (parts[0], parts.count) {
    case ("tokens", 1): return (.tokens, nil)
    case ("group", 1): return (.group, nil)
    case ("group", _): return (.group, try checker(parts[1...], in: argument))
    case ("target", 2): if let one, one.count == 1 { return (.target(one[0]), nil) }
    case ("cosine", 3):
      if let one, one.count == 1 {
        return (.cosine(limit: one[0]), try checker(parts[2...], in: argument))
      }
    case ("overlong", 2):
      // A fifth of the limit, as DAPO's.
      if let one, case let cache = one.count == 2 ? one[1] : max(1, one[0] / 5), cache <= one[0] {
        return (.overlong(limit: one[0], cache: cache), nil)
      }
    case (_, 1):
      if let bounds = numbers(parts[0], "-"), bounds[0] <= bounds[bounds.count - 1] {
        return (.words(bounds[0]...bounds[bounds.count - 1]), nil)
      }
    default: break
    }
    throw TrainingError(
      .badSetting,
      "reward source length:\(argument): write length:MIN or length:MIN-MAX, whole numbers of words from 1 "
        + "on; or of tokens length:tokens, length:target:N, length:overlong:LIMIT[,CACHE] with a CACHE "
        + "up to LIMIT, length:group[:SOURCE], length:cosine:LIMIT:SOURCE")
  }

  /// A source that says which answers are right.
  private static func checker(
    _ parts: ArraySlice<String>, in argument: String
  ) throws -> RewardSpecification {
    let source = try RewardSpecification(parts.joined(separator: ":"))
    guard [.answer, .ifeval, .tests].contains(source.kind), source.weight == 1 else {
      throw TrainingError(
        .badSetting,
        "reward source length:\(argument): \(source.name) does not say which answers are right; behind "
          + "\(argument.prefix { $0 != ":" }) stands answer, ifeval or tests, without a weight")
    }
    return source
  }

  /// Whether the row says which answers are right.
  public var readsRows: Bool { checking?.readsRows == true }

  /// Refuses a row that does not say so.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    try checking?.check(row, at: place)
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
      let right = try right(prompts, completions, shared)
      return prompts.groups.flatMap { group in
        let own = lengths[group]
        let (least, most) = (own.min() ?? 0, own.max() ?? 0)
        return group.map { i in
          let gain = most > least ? 0.5 - Double(lengths[i] - least) / Double(most - least) : 0
          return right?[i] == false ? min(0, gain) : gain
        }
      }
    case .cosine(let limit):
      let right = try right(prompts, completions, shared) ?? []
      return zip(lengths, right).map { length, isRight in
        let share = (1 + cos(.pi * min(1, Double(length) / Double(limit)))) / 2
        return isRight ? 0.5 + 0.5 * share : -0.5 - 0.5 * share
      }
    }
  }

  /// Which answers are right; nil where nobody says so.
  private func right(
    _ prompts: [DataPrompt], _ completions: [Completion], _ shared: SharedPass?
  ) throws -> [Bool]? {
    try checking?.checkedScores(prompts: prompts, completions: completions, shared: shared)
      .map { $0 == 1 }
  }
}

/// The number of an answer's words, which stand between white space: `words`, a cost.
public struct WordCount: RewardSource {
  /// `words`.
  public let name = "words"

  /// Makes a source.
  ///
  /// - Parameter argument: Nothing.
  /// - Throws: `TrainingError.badSetting` for anything else.
  public init(_ argument: String = "") throws {
    guard argument.isEmpty else {
      throw TrainingError(
        .badSetting,
        "reward source words:\(argument): words stands alone; a range is length:MIN-MAX")
    }
  }

  /// The numbers.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) -> [Double] {
    completions.map { Double(TextStatistics.words($0.text).count) }
  }
}
