// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The price λ ≥ 0 of a constraint E[c(x, y)] ≤ d, by damped dual ascent, once a rollout:
/// I ← max(0, I + η·(E c − d)/s), λ = max(0, I + 2·(E c − d)/s), s the root mean square of c − d on the first
/// rollout.
///
/// max E r − β·KL(π‖ρ) subject to E c ≤ d is, at the λ that makes λ·(E c − d) = 0, the unconstrained
/// optimum of r − λ·c: π* ∝ ρ·e^{(r − λc)/β}. There the last excess is 0 and λ = I. Without it, policy and
/// price would swing about that point, each following the other. A state that an objective owns: it is in the
/// checkpoint.
///
/// Paper: Achiam et al. 2017, arXiv:1705.10528; the proportional part: Stooke et al. 2020, arXiv:2007.03964;
/// for language models Dai et al. 2024 (Safe RLHF), arXiv:2310.12773. Differs from that: λ itself is stepped,
/// not its logarithm, so that it can be 0.
public struct DualAscent: Codable, Sendable, Equatable {
  /// λ, in rewards for s of costs.
  public var multiplier: Double { max(0, integral + Self.damping * excess) }
  /// What of the last excess is in λ: twice it, so that a policy that is slow to follow does not swing.
  private static let damping = 2.0
  /// I, what λ comes to rest at.
  private var integral = 0.0
  /// How far the last mean was above the limit, in s.
  private var excess = 0.0
  /// d.
  public let limit: Double
  /// η.
  public let rate: Double
  /// s; nil before the first costs.
  public private(set) var scale: Double?

  /// Starts at λ = 0.
  ///
  /// - Parameters:
  ///   - limit: d.
  ///   - rate: η, above 0.
  ///   - scale: s; nil: of the first costs.
  /// - Throws: `ObjectiveError` for a number out of range.
  public init(limit: Double, rate: Double, scale: Double? = nil) throws {
    guard limit.isFinite, rate > 0, rate.isFinite, scale.map({ $0 > 0 && $0.isFinite }) ?? true
    else {
      throw ObjectiveError(
        .badSetting, "a constraint has a finite limit, a rate above 0 and a scale above 0")
    }
    self.limit = limit
    self.rate = rate
    self.scale = scale
  }

  /// Takes the scale from the first costs; later ones leave it.
  public mutating func measure(_ costs: [Double]) {
    guard scale == nil, !costs.isEmpty else { return }
    let square = Statistics.mean(costs.map { ($0 - limit) * ($0 - limit) })
    scale = square > 0 ? square.squareRoot() : 1
  }

  /// What a cost takes off the reward: λ·(c − d)/s.
  public func price(of cost: Double) -> Double { multiplier * (cost - limit) / (scale ?? 1) }

  /// Moves λ by the mean cost that a rollout showed.
  public mutating func update(meanCost: Double) {
    guard meanCost.isFinite else { return }
    excess = (meanCost - limit) / (scale ?? 1)
    integral = max(0, integral + rate * excess)
  }

  /// Where the constrained maximum of E r − β·KL(π‖ρ) is, by bisection of λ.
  ///
  /// - Parameters:
  ///   - reference: ρ of every response.
  ///   - rewards: r of each.
  ///   - costs: c of each.
  ///   - beta: β.
  ///   - limit: d.
  /// - Returns: The probability of every response, and λ.
  /// - Throws: `ObjectiveError` where no policy keeps the constraint.
  public static func optimum(
    reference: [Double], rewards: [Double], costs: [Double], beta: Double, limit: Double
  ) throws -> (probabilities: [Double], multiplier: Double) {
    let possible = zip(reference, costs).filter { $0.0 > 0 }.map(\.1)
    guard let least = possible.min(), least < limit else {
      throw ObjectiveError(
        .badSetting,
        "no policy keeps the constraint: the least cost of any response is \(possible.min() ?? .nan), and the "
          + "limit \(limit); raise it")
    }
    func policy(_ multiplier: Double) -> [Double] {
      let logs = reference.indices.map {
        log(reference[$0]) + (rewards[$0] - multiplier * costs[$0]) / beta
      }
      let total = logSumExp(logs)
      return logs.map { exp($0 - total) }
    }
    func cost(_ multiplier: Double) -> Double {
      zip(policy(multiplier), costs).reduce(0) { $0 + $1.0 * $1.1 }
    }
    if cost(0) <= limit { return (policy(0), 0) }
    var (low, high) = (0.0, 1.0)
    while cost(high) > limit, high < 1e9 { high *= 2 }
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if cost(middle) > limit { low = middle } else { high = middle }
    }
    return (policy(high), high)
  }
}
