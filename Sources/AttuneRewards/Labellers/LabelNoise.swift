// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining
import Foundation

/// How preferences are drawn from scores: a Bradley–Terry person whose sharpness is a knob.
///
/// What is drawn for a prompt depends on the seed, the prompt's place and the answers' places alone:
/// not on how many pairs are asked for, on other prompts, or on where a run was resumed.
public struct LabelNoise: Codable, Sendable, Equatable {
  /// What the score difference is multiplied with: P(i ≻ j) = σ(sharpness·(s_i − s_j)). 0 is a coin,
  /// infinity always prefers the higher score.
  public let sharpness: Double
  /// Seed of all draws.
  public let seed: UInt64

  /// Makes one.
  ///
  /// - Parameters:
  ///   - sharpness: At least 0; may be infinite.
  ///   - seed: Seed of all draws.
  /// - Throws: `TrainingError` for a sharpness below 0.
  public init(sharpness: Double, seed: UInt64) throws {
    guard sharpness >= 0 else {
      throw TrainingError(.badSetting, "sharpness must be 0 or more, not \(sharpness)")
    }
    self.sharpness = sharpness
    self.seed = seed
  }

  /// P(first ≻ second): one half for equal scores, whatever the sharpness.
  public func probability(_ first: Double, over second: Double) -> Double {
    first == second ? 0.5 : sigmoid(sharpness * (first - second))
  }

  /// Whether the first of two answers is preferred.
  ///
  /// - Parameters:
  ///   - scores: The scores of the prompt's answers.
  ///   - i: The first answer.
  ///   - j: The second, i < j.
  ///   - prompt: The prompt's place in the file.
  func prefersFirst(_ scores: [Double], _ i: Int, _ j: Int, prompt: Int) -> Bool {
    let random = CounterRandom(seed: seed, 1, UInt64(prompt), UInt64(i), UInt64(j))
    return random.uniform(0) < probability(scores[i], over: scores[j])
  }

  /// Distinct pairs of answers, in random order, each with i < j.
  ///
  /// - Parameters:
  ///   - candidates: The answers that may be compared.
  ///   - count: How many pairs at most; 0 is all.
  ///   - prompt: The prompt's place in the file.
  func pairs(of candidates: [Int], count: Int, prompt: Int) -> [(Int, Int)] {
    var pairs: [(Int, Int)] = []
    for (place, i) in candidates.enumerated() {
      for j in candidates[(place + 1)...] { pairs.append((min(i, j), max(i, j))) }
    }
    pairs = CounterRandom(seed: seed, 2, UInt64(prompt)).shuffled(pairs)
    return count > 0 ? Array(pairs.prefix(count)) : pairs
  }

  /// The scores as the labeller perceives them once: score + Gumbel noise/sharpness.
  ///
  /// Their order is a draw of the Plackett–Luce distribution with worths e^{sharpness·score}
  /// (Yellott 1977), so any two answers stand in it as a Bradley–Terry pair of that sharpness would.
  /// With sharpness 0 they are noise alone, with infinity the scores themselves.
  func perceived(_ scores: [Double], prompt: Int) -> [Double] {
    guard sharpness.isFinite else { return scores }
    return scores.enumerated().map { i, score in
      let noise = CounterRandom(seed: seed, 3, UInt64(prompt), UInt64(i)).gumbel(0)
      return sharpness == 0 ? noise : score + noise / sharpness
    }
  }
}
