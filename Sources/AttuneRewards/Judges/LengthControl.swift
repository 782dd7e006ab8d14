// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining
import Foundation

/// What a win rate would be if both models' answers were equally long.
///
/// The judge's preferences are explained by which model answered, by the difference of lengths and by how hard
/// the instruction is: logit p = θ + φ·tanh(Δ/sd(Δ)) + ψ·δ(x), with an L1 penalty whose weight cross-validation
/// chooses. The win rate under length control is the mean of σ(θ + ψ·δ(x)).
///
/// Paper: Dubois et al. 2024, arXiv:2404.04475. Differs from the paper as alpaca_eval's
/// `length_controlled_noreg` does: no comparisons of "gamed" models as a regulariser; without δ it is
/// `length_controlled_minimal`.
package enum LengthControl {
  /// A compared pair.
  package struct ComparedPair {
    /// P(ours ≻ theirs).
    package var probability: Double
    /// Characters of ours less characters of theirs.
    package var difference: Double
    /// How hard the instruction is, where that is known.
    package var difficulty: Double?

    package init(probability: Double, difference: Double, difficulty: Double? = nil) {
      self.probability = probability
      self.difference = difference
      self.difficulty = difficulty
    }
  }

  /// A row of the regression.
  private struct Row {
    /// The difference of lengths, the difficulty if there is one, 1.
    var features: [Double]
    var target: Double
  }

  /// 1e-4 to 1e4, evenly in the logarithm: scikit-learn's grid of inverse penalties.
  private static let grid = (0..<10).map { pow(10, -4 + 8 * Double($0) / 9) }
  private static let folds = 5
  /// The inverse penalty where there are too few groups to choose one.
  private static let unchosen = 100.0

  /// The standard deviation of the differences of lengths.
  package static func spread(_ rows: [ComparedPair]) -> Double {
    Statistics.standardDeviation(rows.map(\.difference))
  }

  /// The inverse penalty that predicts held-out groups best.
  ///
  /// - Parameters:
  ///   - groups: The compared pairs, those of one prompt together, none of them empty.
  ///   - deviation: What differences of lengths are divided by.
  package static func penalty(_ groups: [[ComparedPair]], deviation: Double) -> Double {
    guard groups.count >= folds else { return unchosen }
    let rows = groups.map { self.rows($0, deviation) }
    var sizes = Array(repeating: 0, count: folds)
    var fold = rows.map { _ in 0 }
    // Large groups first, the last of equal ones first, each to the fold that is least full.
    for group in rows.indices.sorted(by: { (rows[$0].count, $0) > (rows[$1].count, $1) }) {
      fold[group] = sizes.indices.min { (sizes[$0], $0) < (sizes[$1], $1) } ?? 0
      sizes[fold[group]] += rows[group].count
    }
    func loss(_ penalty: Double) -> Double {
      Statistics.mean(
        (0..<folds).map { held in
          func part(_ isHeld: Bool) -> [Row] {
            rows.indices.filter { (fold[$0] == held) == isHeld }.flatMap { rows[$0] }
          }
          let weights = fit(part(false), penalty)
          return Statistics.mean(
            part(true).map { row in
              let q = min(max(sigmoid(dot(weights, row.features)), 1e-15), 1 - 1e-15)
              return -(row.target * log(q) + (1 - row.target) * log(1 - q))
            })
        })
    }
    let losses = grid.map(loss)
    return losses.indices.min { losses[$0] < losses[$1] }.map { grid[$0] } ?? unchosen
  }

  /// The win rate under length control.
  ///
  /// - Parameters:
  ///   - pairs: The compared pairs, at least one.
  ///   - deviation: What differences of lengths are divided by.
  ///   - penalty: The inverse penalty.
  package static func winRate(
    _ pairs: [ComparedPair], deviation: Double, penalty: Double
  ) -> Double {
    let rows = rows(pairs, deviation)
    let weights = fit(rows, penalty)
    return Statistics.mean(
      rows.map { row in
        sigmoid(dot(weights, [0] + row.features.dropFirst()))
      })
  }

  // MARK: Parts

  private static func rows(_ pairs: [ComparedPair], _ deviation: Double) -> [Row] {
    pairs.map { pair in
      Row(
        features: [deviation > 0 ? tanh(pair.difference / deviation) : 0]
          + (pair.difficulty.map { [$0] } ?? []) + [1], target: pair.probability)
    }
  }

  private static func dot(_ a: [Double], _ b: [Double]) -> Double {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// Minimises ‖w‖₁ + C·Σ log-loss by Newton steps on the loss, each with the penalty solved
  /// coordinate by coordinate.
  private static func fit(_ rows: [Row], _ penalty: Double) -> [Double] {
    let count = rows.first?.features.count ?? 0
    var weights = Array(repeating: 0.0, count: count)
    func objective(_ weights: [Double]) -> Double {
      weights.reduce(0) { $0 + abs($1) }
        + penalty
        * rows.reduce(0) {
          let z = dot(weights, $1.features)
          return $0 + softplus(z) - $1.target * z
        }
    }
    var reached = objective(weights)
    for _ in 0..<100 {
      var gradient = Array(repeating: 0.0, count: count)
      var curvature = Array(repeating: Array(repeating: 0.0, count: count), count: count)
      for row in rows {
        let p = sigmoid(dot(weights, row.features))
        for i in 0..<count {
          gradient[i] += penalty * (p - row.target) * row.features[i]
          for j in 0..<count {
            curvature[i][j] += penalty * p * (1 - p) * row.features[i] * row.features[j]
          }
        }
      }
      for i in 0..<count { curvature[i][i] += 1e-12 }
      var step = Array(repeating: 0.0, count: count)
      for _ in 0..<200 {
        var change = 0.0
        for i in 0..<count {
          let now = weights[i] + step[i]
          let aim = now - (gradient[i] + dot(curvature[i], step)) / curvature[i][i]
          let held = max(0, abs(aim) - 1 / curvature[i][i])
          let next = aim < 0 ? -held : held
          change = max(change, abs(next - now))
          step[i] += next - now
        }
        if change < 1e-12 { break }
      }
      var scale = 1.0
      var next = zip(weights, step).map(+)
      var found = objective(next)
      while found > reached + 1e-13 * abs(reached), scale > 1e-6 {
        scale /= 2
        next = zip(weights, step).map { $0 + scale * $1 }
        found = objective(next)
      }
      weights = next
      reached = found
      if step.allSatisfy({ abs($0 * scale) < 1e-9 }) { break }
    }
    return weights
  }
}
