// SPDX-License-Identifier: Apache-2.0

/// The weight β of the KL term, and how it follows a target.
///
/// β ← β·(1 + 0.1·clip(KL/target − 1, ±0.2)), once a rollout. A state that an objective owns: it is
/// in the checkpoint.
///
/// Paper: Ziegler et al. 2019, arXiv:1909.08593. Differs from the paper: nothing, except that
/// without a target β stays.
public struct AdaptiveKL: Codable, Sendable, Equatable {
  /// The weight now.
  public private(set) var beta: Double
  /// KL in nats a sequence to steer towards; `nil` keeps β as it is.
  public let target: Double?
  /// How fast β follows.
  public let rate: Double
  /// The largest relative error that counts.
  public let bound: Double

  /// Starts at a weight.
  ///
  /// - Parameters:
  ///   - beta: The first weight, at least 0.
  ///   - target: KL in nats a sequence to steer towards, or `nil`.
  ///   - rate: How fast β follows.
  ///   - bound: The largest relative error that counts.
  /// - Throws: `ObjectiveError` for a value out of range.
  public init(
    beta: Double, target: Double? = nil, rate: Double = 0.1, bound: Double = 0.2
  ) throws {
    guard beta >= 0, beta.isFinite else {
      throw ObjectiveError(.badSetting, "beta must be a number of at least 0")
    }
    if let target {
      guard target > 0, target.isFinite, beta > 0 else {
        throw ObjectiveError(.badSetting, "a KL target needs to be above 0, and beta too")
      }
    }
    guard rate > 0, bound > 0, rate * bound < 1 else {
      throw ObjectiveError(.badSetting, "rate and bound must be above 0, their product below 1")
    }
    self.beta = beta
    self.target = target
    self.rate = rate
    self.bound = bound
  }

  /// Moves β by the KL that a rollout showed, in nats a sequence; a KL that is not finite is ignored.
  public mutating func update(kl: Double) {
    guard let target, kl.isFinite else { return }
    beta *= 1 + rate * min(max(kl / target - 1, -bound), bound)
  }
}
