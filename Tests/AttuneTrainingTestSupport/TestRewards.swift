// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTraining
import Synchronization

/// The share of an answer's tokens that have odd numbers: half of what a random model says.
public struct ShareOfOdd: RewardSource {
  /// As metrics name it.
  public let name = "share of odd"

  /// Makes one.
  public init() {}

  /// The shares.
  public func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?)
    -> [Double]
  {
    completions.map { Double($0.ids.count(where: { $0 % 2 == 1 })) / Double($0.ids.count) }
  }
}

/// A source that notes which rows it is given with which prompts.
public final class NotingRows: RewardSource {
  /// As metrics name it.
  public let name = "noting rows"
  /// Whether it asks for rows.
  public let readsRows: Bool
  private let noted = Mutex<Set<[String]>>([])

  /// Makes one.
  public init(readsRows: Bool = true) { self.readsRows = readsRows }

  /// Prompt, the row's `answer` and its line.
  public var seen: Set<[String]> { noted.withLock { $0 } }

  /// Those of `ShareOfOdd`.
  public func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?)
    -> [Double]
  {
    for prompt in prompts {
      let answer = prompt.row?.json["answer"].map { $0.text } ?? "none"
      _ = noted.withLock {
        $0.insert([prompt.content.lastText, answer, "\(prompt.row?.line ?? 0)"])
      }
    }
    // Of texts without tokens there is no share.
    guard completions.allSatisfy({ !$0.ids.isEmpty }) else { return completions.map { _ in 0 } }
    return ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared)
  }
}
