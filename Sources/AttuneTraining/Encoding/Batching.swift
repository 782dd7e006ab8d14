// SPDX-License-Identifier: Apache-2.0

import AttuneData
package import AttuneEngine

/// How many optimiser steps there are, and which rows each of them sees.
///
/// The rows of a step depend on the seed and the step alone, so the step is the data position.
package struct BatchOrder {
  package let rows: Int
  let batch: Int
  let seed: UInt64
  /// Steps of one pass over the rows; the last one may be smaller.
  var stepsPerEpoch: Int { (rows + batch - 1) / batch }
  private var cached: (epoch: Int, order: [Int])?

  package init(rows: Int, batch: Int, seed: UInt64) {
    self.rows = rows
    self.batch = batch
    self.seed = seed
  }

  /// Whether a step, counted from 0, is the first one of a pass over the rows.
  func beginsEpoch(_ step: Int) -> Bool { step % stepsPerEpoch == 0 }

  /// Optimiser steps of so many passes, but no more than `maximum`; 0 is no limit.
  func steps(epochs: Int, atMost maximum: Int) -> Int {
    maximum > 0 ? min(epochs * stepsPerEpoch, maximum) : epochs * stepsPerEpoch
  }

  /// As many prompts for every rollout: where a pass over them ends, the next one begins.
  package mutating func promptsOfRollout(_ rollout: Int) -> [Int] {
    var chosen: [Int] = []
    var place = rollout * batch
    while chosen.count < batch {
      let row = order(epoch: place / rows)[place % rows]
      // At the seam of two passes a prompt could come twice.
      if !chosen.contains(row) || batch > rows { chosen.append(row) }
      place += 1
    }
    return chosen
  }

  private mutating func order(epoch: Int) -> [Int] {
    if let cached, cached.epoch == epoch { return cached.order }
    let order = Shuffle.order(count: rows, seed: seed, epoch: epoch)
    cached = (epoch, order)
    return order
  }

  /// The rows of a step, counted from 0.
  package mutating func rows(of step: Int) -> [Int] {
    let epoch = step / stepsPerEpoch
    let start = step % stepsPerEpoch * batch
    return Array(order(epoch: epoch)[start..<min(start + batch, rows)])
  }
}

/// Cuts a batch into pieces that fit into memory, between groups and never inside one.
///
/// - Parameters:
///   - tokens: The tokens of each group.
///   - openings: What each group begins with, which counts once for all of a piece that begin with it.
///   - budget: Tokens of a piece; a group that is larger is a piece by itself. Behind an opening of half of them or
///     more a piece has them all, or it would be run for few tokens again and again.
/// - Returns: Consecutive ranges of groups.
package func cutIntoPieces(
  _ tokens: [Int], openings: [ArraySlice<Int32>] = [], budget: Int
) -> [Range<Int>] {
  var pieces: [Range<Int>] = []
  var start = 0
  var sum = 0
  var limit = budget
  var seen: Set<ArraySlice<Int32>> = []
  for (i, count) in tokens.enumerated() {
    let opening = openings.isEmpty ? [] : openings[i]
    var own = count - (seen.contains(opening) ? opening.count : 0)
    if i > start, sum + own > limit {
      pieces.append(start..<i)
      (start, sum, own) = (i, 0, count)
      seen = []
    }
    if i == start { limit = 2 * opening.count < budget ? budget : opening.count + budget }
    seen.insert(opening)
    sum += own
  }
  if start < tokens.count { pieces.append(start..<tokens.count) }
  return pieces
}

/// Cuts groups into pieces that fit into memory.
///
/// - Parameters:
///   - groups: The groups.
///   - model: The model that reads them.
///   - budget: Tokens of a piece.
/// - Returns: Consecutive ranges of groups.
package func cutIntoPieces(
  _ groups: [EncodedGroup], for model: any LanguageModel, budget: Int
) -> [Range<Int>] {
  cutIntoPieces(
    groups.map(\.tokens),
    openings: groups.map { model.opening(of: $0) }, budget: budget)
}

extension LanguageModel {
  /// What a group begins with that others may begin with too; one without a prompt is its answer.
  func opening(of group: EncodedGroup) -> ArraySlice<Int32> {
    opening(of: group.prompt.isEmpty ? group.answers.first?.ids ?? [] : group.prompt)
  }
}
