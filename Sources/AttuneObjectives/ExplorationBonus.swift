// SPDX-License-Identifier: Apache-2.0

/// XPO's bonus for exploration, added to any contrastive loss of an online or iterative run:
/// α·E log π(ỹ | x), ỹ drawn from the reference.
///
/// It is minimised, so it takes probability away from what the reference says anyway: the policy is
/// optimistic about what nobody has seen yet. α = 0 is plain iterative DPO. log π(ỹ) has no lower bound: an α
/// that outweighs what pairs push back with, at most β a pair, empties everything that the reference says.
///
/// Paper: Xie et al. 2024, arXiv:2405.21046, algorithm 1: π ← argmin α·Σ log π(ỹ) − Σ log σ(βΔ). Differs
/// from it: both sums are means over the batch's rows, and those of earlier rounds are not kept.
public enum ExplorationBonus {
  /// The bonus of a piece of a batch.
  ///
  /// The result's `logProbabilities` hold for each row [∂/∂ log π(ỹ)], or nothing where it has no ỹ.
  ///
  /// - Parameters:
  ///   - explored: For each row of the piece log π(ỹ), a sum over tokens; nil for a row without one.
  ///   - rows: Rows of the whole batch.
  ///   - alpha: α.
  public static func loss(_ explored: [Double?], rows: Int, alpha: Double) -> LossResult {
    var result = LossResult()
    let share = rows > 0 ? alpha / Double(rows) : 0
    result.loss = explored.reduce(0) { $0 + share * ($1 ?? 0) }
    result.logProbabilities = explored.map { $0 == nil ? [] : [share] }
    result.metrics.add(.explorationLoss, result.loss)
    return result
  }
}
