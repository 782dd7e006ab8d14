// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTraining
import Synchronization

/// The share of an answer's tokens that are ASCII: half of what a random model says.
public struct ShareOfASCII: RewardSource {
  public let name = "share of ASCII"

  public init() {}

  public func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?)
    -> [Double]
  {
    completions.map { Double($0.ids.count(where: { $0 < 128 })) / Double($0.ids.count) }
  }
}

/// A source that notes which rows it is given with which prompts.
public final class NotingRows: RewardSource {
  public let name = "noting rows"
  public let readsRows: Bool
  private let noted = Mutex<Set<[String]>>([])

  public init(readsRows: Bool = true) { self.readsRows = readsRows }

  /// Prompt, the row's `answer` and its line.
  public var seen: Set<[String]> { noted.withLock { $0 } }

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
    return ShareOfASCII().scores(prompts: prompts, completions: completions, shared: shared)
  }
}
