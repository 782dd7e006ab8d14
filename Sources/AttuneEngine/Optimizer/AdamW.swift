// SPDX-License-Identifier: Apache-2.0

/// AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), with the
/// arithmetic of `torch.optim.AdamW`. Decay is applied to every trained number.
public struct AdamW: Codable, Sendable, Equatable {
  /// Decay of the mean of gradients.
  public var beta1: Double
  /// Decay of the mean of squared gradients.
  public var beta2: Double
  /// Added to the root of the squared mean.
  public var epsilon: Double
  /// Share of each weight taken away a step, times the learning rate.
  public var weightDecay: Double

  /// Makes an optimiser.
  ///
  /// - Parameters:
  ///   - beta1: Decay of the mean of gradients.
  ///   - beta2: Decay of the mean of squared gradients.
  ///   - epsilon: Added to the root of the squared mean.
  ///   - weightDecay: Decay of weights a step, times the learning rate.
  public init(
    beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }
}
