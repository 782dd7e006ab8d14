// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining
import Foundation

/// What a win rate would be if both models' answers were equally long.
///
/// The judge's preferences are explained by a constant and by the difference of lengths,
/// logit p = θ + φ·tanh(Δ/sd(Δ)); the win rate under length control is σ(θ).
///
/// Paper: Dubois et al. 2024, arXiv:2404.04475. Differs from the paper: no term for the difficulty
/// of an instruction, which needs the answers of many models.
package enum LengthControl {
  /// A compared pair.
  package struct ComparedPair {
    /// P(ours ≻ theirs).
    package var probability: Double
    /// Words of ours less words of theirs.
    package var difference: Double

    package init(probability: Double, difference: Double) {
      self.probability = probability
      self.difference = difference
    }
  }

  /// The win rate under length control.
  ///
  /// - Parameters:
  ///   - rows: The compared pairs, at least one.
  ///   - deviation: What the differences are divided by; that of the rows unless given.
  package static func winRate(_ rows: [ComparedPair], deviation: Double? = nil) -> Double {
    let deviation = deviation ?? spread(rows)
    let x = rows.map { deviation > 0 ? tanh($0.difference / deviation) : 0 }
    // A prior as weak as half a pair keeps both finite where all pairs are won, and φ at 0 where
    // lengths don't differ.
    let prior = 0.5
    var (theta, phi) = (0.0, 0.0)
    for _ in 0..<50 {
      var (g0, g1) = (prior * (0.5 - sigmoid(theta)) * 2, -prior * phi)
      var (h00, h01, h11) = (
        prior * 2 * sigmoid(theta) * sigmoid(-theta), 0.0, prior
      )
      for (row, x) in zip(rows, x) {
        let p = sigmoid(theta + phi * x)
        let (error, weight) = (row.probability - p, p * (1 - p))
        g0 += error
        g1 += error * x
        h00 += weight
        h01 += weight * x
        h11 += weight * x * x
      }
      let determinant = h00 * h11 - h01 * h01
      guard determinant > 1e-12 else { break }
      // Steps are held, for far from the solution the curvature says little.
      let step0 = max(-2, min(2, (h11 * g0 - h01 * g1) / determinant))
      let step1 = max(-2, min(2, (h00 * g1 - h01 * g0) / determinant))
      theta += step0
      phi += step1
      if abs(step0) + abs(step1) < 1e-10 { break }
    }
    return sigmoid(theta)
  }

  /// The standard deviation of the differences of lengths.
  package static func spread(_ rows: [ComparedPair]) -> Double {
    Statistics.standardDeviation(rows.map(\.difference))
  }
}
