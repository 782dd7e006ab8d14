// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// How a reward moves as a policy leaves its start: R(d) = R₀ + d·(α − γ·log d) with d = √KL, KL in
/// nats a sequence (Gao et al. 2023, arXiv:2210.10760, the law of reinforcement learning).
///
/// α is what each step away from the start gains at first, γ how soon that is lost again. The gold
/// reward of a policy that games its learned one rises, has its peak at d = e^{α/γ − 1}, and falls.
/// The paper sets R₀ = 0; here it is fitted too, for the start's reward is measured with noise.
public struct OveroptimisationLaw: Codable, Sendable, Equatable {
  /// A fitted number with its standard error.
  public struct Coefficient: Codable, Sendable, Equatable {
    /// The number.
    public var value: Double
    /// Its standard error, from the residuals.
    public var standardError: Double
  }

  /// R₀, the reward of the start.
  public var origin: Coefficient
  /// α.
  public var alpha: Coefficient
  /// γ.
  public var gamma: Coefficient
  /// Standard deviation of what the law leaves over, with n − 3 degrees of freedom.
  public var residual: Double
  /// Share of the variance that the law explains; nil where the reward does not vary.
  public var explained: Double?
  /// Points fitted.
  public var points: Int

  /// Fits the law by least squares: it is linear in R₀, α and γ.
  ///
  /// - Parameter points: KL from the start in nats a sequence, and the reward there. An estimate of KL
  ///   below 0 counts as 0.
  /// - Returns: Nil of fewer than four points, or where these say too little: all of one KL.
  public static func fit(_ points: [(kl: Double, reward: Double)]) -> OveroptimisationLaw? {
    let points = points.filter { $0.kl.isFinite && $0.reward.isFinite }
    guard points.count > 3 else { return nil }
    let rows = points.map { basis(kl: $0.kl) }
    var normal = [[Double]](repeating: [0, 0, 0], count: 3)
    var right = [0.0, 0, 0]
    for (row, point) in zip(rows, points) {
      for i in 0..<3 {
        right[i] += row[i] * point.reward
        for j in 0..<3 { normal[i][j] += row[i] * row[j] }
      }
    }
    guard let inverse = inverted(normal) else { return nil }
    let solution = inverse.map { row in zip(row, right).reduce(0) { $0 + $1.0 * $1.1 } }
    let rest = zip(rows, points).map { row, point in
      point.reward - zip(row, solution).reduce(0) { $0 + $1.0 * $1.1 }
    }
    let squares = rest.reduce(0) { $0 + $1 * $1 }
    let variance = squares / Double(points.count - 3)
    let mean = Statistics.mean(points.map(\.reward))
    let total = points.reduce(0) { $0 + ($1.reward - mean) * ($1.reward - mean) }
    func coefficient(_ i: Int) -> Coefficient {
      Coefficient(
        value: solution[i], standardError: (variance * max(0, inverse[i][i])).squareRoot())
    }
    return OveroptimisationLaw(
      origin: coefficient(0), alpha: coefficient(1), gamma: coefficient(2),
      residual: variance.squareRoot(), explained: total > 0 ? 1 - squares / total : nil,
      points: points.count)
  }

  /// The reward that the law gives at a KL.
  public func reward(atKL kl: Double) -> Double {
    let row = Self.basis(kl: kl)
    return origin.value * row[0] + alpha.value * row[1] + gamma.value * row[2]
  }

  /// The KL in nats a sequence of the law's highest reward, e^{2(α/γ − 1)}; nil where it has none
  /// (γ ≤ 0: it only rises).
  public var peakKL: Double? {
    guard gamma.value > 0 else { return nil }
    let kl = exp(2 * (alpha.value / gamma.value - 1))
    return kl.isFinite ? kl : nil
  }

  /// 1, d, −d·log d.
  private static func basis(kl: Double) -> [Double] {
    let d = max(0, kl).squareRoot()
    return [1, d, d > 0 ? -d * log(d) : 0]
  }

  /// The inverse of a symmetric positive matrix of three rows, scaled to a diagonal of 1 first; nil
  /// where its columns say the same.
  private static func inverted(_ matrix: [[Double]]) -> [[Double]]? {
    let scale = (0..<3).map { matrix[$0][$0].squareRoot() }
    guard scale.allSatisfy({ $0 > 0 && $0.isFinite }) else { return nil }
    let m = (0..<3).map { i in (0..<3).map { j in matrix[i][j] / (scale[i] * scale[j]) } }
    func minor(_ i: Int, _ j: Int) -> Double {
      let rows = (0..<3).filter { $0 != i }
      let columns = (0..<3).filter { $0 != j }
      return m[rows[0]][columns[0]] * m[rows[1]][columns[1]]
        - m[rows[0]][columns[1]] * m[rows[1]][columns[0]]
    }
    let determinant = m[0][0] * minor(0, 0) - m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2)
    guard determinant > 1e-10 else { return nil }
    return (0..<3).map { i in
      (0..<3).map { j in
        ((i + j) % 2 == 0 ? 1 : -1) * minor(i, j) / determinant / (scale[i] * scale[j])
      }
    }
  }
}
