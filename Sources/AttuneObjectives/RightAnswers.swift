// SPDX-License-Identifier: Apache-2.0

/// Which of the answers to some prompts are right, prompt by prompt: accuracy, pass@k, the majority's
/// accuracy, and how many groups teach nothing.
public struct RightAnswers: Sendable {
  /// An answer.
  public struct Answer: Sendable {
    /// Whether it is right.
    public var isRight: Bool
    /// What it answers, in a form in which equal answers are equal; nil where it answers nothing.
    public var given: String?

    /// Notes an answer.
    public init(isRight: Bool, given: String?) {
      self.isRight = isRight
      self.given = given
    }
  }

  /// The answers to each prompt.
  public var groups: [[Answer]]

  /// Notes the answers to each prompt.
  public init(_ groups: [[Answer]]) { self.groups = groups.filter { !$0.isEmpty } }

  /// For each prompt 1 for every right answer and 0 for every other.
  public var accuracies: [[Double]] { groups.map { $0.map { $0.isRight ? 1 : 0 } } }

  /// For each prompt that has so many answers the probability that one of k is right that are drawn
  /// from them without putting back: 1 − C(n−c, k)/C(n, k), which is unbiased (Chen et al. 2021,
  /// arXiv:2107.03374).
  ///
  /// - Parameter k: At least 1.
  public func pass(at k: Int) -> [Double] {
    groups.filter { $0.count >= k }.map {
      Self.pass(at: k, of: $0.count, right: $0.count(where: \.isRight))
    }
  }

  /// The same of one prompt.
  ///
  /// - Parameters:
  ///   - k: Answers that are drawn, at most n.
  ///   - n: Answers that there are.
  ///   - right: How many of them are right.
  public static func pass(at k: Int, of n: Int, right: Int) -> Double {
    guard right > 0 else { return 0 }
    guard n - right >= k else { return 1 }
    // A product of k or c factors, whichever are fewer: no binomial coefficient grows too large.
    let (few, many) = (min(right, k), max(right, k))
    let factors = (n - few + 1...n).map { 1 - Double(many) / Double($0) }
    return 1 - factors.reduce(1, *)
  }

  /// For each prompt whether the answer that is given most often is right (self-consistency, Wang et al.
  /// 2023, arXiv:2203.11171); of several that are given equally often the share of right ones.
  public var majorities: [Double] {
    groups.map { answers in
      var votes: [String: (count: Int, isRight: Bool)] = [:]
      for answer in answers {
        guard let given = answer.given else { continue }
        votes[given, default: (0, false)].count += 1
        if answer.isRight { votes[given]?.isRight = true }
      }
      let most = votes.values.map(\.count).max() ?? 0
      let first = votes.values.filter { $0.count == most }
      return first.isEmpty
        ? 0 : Double(first.count(where: \.isRight)) / Double(first.count)
    }
  }

  /// Share of prompts whose answers are all right.
  public var allRightShare: Double { share { $0.allSatisfy(\.isRight) } }

  /// Share of prompts none of whose answers is right.
  public var allWrongShare: Double { share { !$0.contains(where: \.isRight) } }

  private func share(_ holds: ([Answer]) -> Bool) -> Double {
    groups.isEmpty ? 0 : Double(groups.count(where: holds)) / Double(groups.count)
  }
}
