// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
public import AttuneTraining
import Foundation

/// An answer's place among those to its prompt, which a judge puts in order in one call: `rank:M|URL`.
///
/// Of n different answers the one in place k (from 1) gets (n − k)/(n − 1): 1 the best, 0 the worst. Equal
/// answers are shown once. Such a reward says nothing across prompts (as RULER of ART, which has a judge
/// score a group's trajectories in one call).
public final class RankReward: RewardSource {
  /// The letters that answers are called by.
  private static let most = 26

  /// `rank:smollm2,orders=2`.
  public let name: String
  /// What tells it from others.
  let fingerprint: String
  private let judge: RewardJudge
  private let orders: Int

  /// Makes a source.
  ///
  /// - Parameters:
  ///   - argument: What stands behind `rank:`.
  ///   - answers: Where the judge's answers are kept; nil: for as long as this lives.
  ///   - engine: What computes models.
  ///   - policy: A model that is open already.
  /// - Throws: An error that says what is wrong with argument, model or server.
  init(
    _ argument: String, answers: URL?, on engine: any Engine, beside policy: LoadedModel?
  ) throws {
    let knobs = try JudgedKnobs.reading(argument, of: .rank)
    name = "rank:\(argument)"
    orders = knobs.orders
    judge = try RewardJudge(name, knobs, answers: answers, on: engine, beside: policy)
    fingerprint = try judge.fingerprint(with: [argument])
  }

  /// True: of another prompt's answer it says nothing.
  public var isRelative: Bool { true }

  /// Every answer's place, the mean over principles and orders.
  ///
  /// - Throws: `AnswerFault` where there is one answer to each prompt, a group is too large, or an order
  ///   can't be read.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    let groups = prompts.groups
    guard groups.isEmpty || groups.contains(where: { $0.count > 1 }) else {
      throw AnswerFault(
        source: name, answer: 0,
        message:
          "it is the only answer to its prompt, and so are all others: there is nothing to put in "
          + "order; sample several answers to each prompt")
    }
    var items: [RewardJudge.Item] = []
    /// For each question the texts in the order in which they are shown, and the answers to its prompt.
    var shown: [(texts: [String], answers: Range<Int>)] = []
    for group in groups {
      var texts: [String] = []
      for answer in group where !texts.contains(completions[answer].text) {
        texts.append(completions[answer].text)
      }
      guard texts.count <= Self.most else {
        throw AnswerFault(
          source: name, answer: group.lowerBound,
          message: "there are \(texts.count) different answers to its prompt, and a judge puts "
            + "\(Self.most) in order at most")
      }
      guard texts.count > 1 else { continue }
      let prompt = prompts[group.lowerBound].content
      for principle in try judge.principles(for: prompt) {
        for turn in 0..<orders {
          let texts = turn == 0 ? texts : texts.reversed()
          items.append(
            RewardJudge.Item(
              answer: group.lowerBound, question: .order(prompt, texts, principle: principle)))
          shown.append((texts, group))
        }
      }
    }
    var scores: [[Double]] = completions.map { _ in [] }
    for (order, item) in zip(try judge.orders(items, prompts: prompts), shown) {
      let last = Double(order.count - 1)
      for (place, option) in order.enumerated() {
        for answer in item.answers where completions[answer].text == item.texts[option] {
          scores[answer].append((last - Double(place)) / last)
        }
      }
    }
    // Where all answers are one, none is better.
    return scores.map { $0.isEmpty ? 0.5 : Statistics.mean($0) }
  }

  /// What asking has cost since this was last read.
  public func takeCost() -> RewardCost? { judge.takeCost() }
}
