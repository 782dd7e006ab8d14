// SPDX-License-Identifier: Apache-2.0

/// The running mean of returns that REINFORCE holds a return against: b ← b + rate·(mean − b), once a
/// rollout, after its step. A state that an objective owns: it is in the checkpoint.
///
/// It never depends on the response that is held against it, which leaves the gradient unbiased: it is
/// the mean of the rollouts before, and in the first one that of the rollout's other responses.
///
/// Paper: Williams 1992 (reinforcement comparison). Differs from the paper: the first rollout.
public struct RunningBaseline: Codable, Sendable, Equatable {
  /// The mean; `nil` before the first rollout.
  public private(set) var mean: Double?
  /// How far it moves to the newest rollout's mean, above 0 and at most 1.
  public let rate: Double

  /// Before the first rollout.
  ///
  /// - Parameter rate: How far it moves to the newest rollout's mean.
  public init(rate: Double) { self.rate = rate }

  /// What each of these returns is held against; 0 where there is nothing to compare with.
  public func expected(_ returns: [Double]) -> [Double] {
    if let mean { return returns.map { _ in mean } }
    let total = returns.reduce(0, +)
    return returns.map { returns.count > 1 ? (total - $0) / Double(returns.count - 1) : 0 }
  }

  /// Moves the mean by the returns of a rollout.
  public mutating func update(_ returns: [Double]) {
    guard !returns.isEmpty else { return }
    let new = Statistics.mean(returns)
    mean = mean.map { $0 + rate * (new - $0) } ?? new
  }
}
