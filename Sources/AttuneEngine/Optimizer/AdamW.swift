// SPDX-License-Identifier: Apache-2.0

/// AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), with the
/// arithmetic of `torch.optim.AdamW`. Decay is applied to every trained number.
public struct AdamW: Codable, Sendable, Equatable {
  /// How its moments are kept.
  public var name: OptimizerName
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
  ///   - name: How its moments are kept; a model has those of one optimiser.
  ///   - beta1: Decay of the mean of gradients.
  ///   - beta2: Decay of the mean of squared gradients.
  ///   - epsilon: Added to the root of the squared mean.
  ///   - weightDecay: Decay of weights a step, times the learning rate.
  public init(
    _ name: OptimizerName = .adamw, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0
  ) {
    self.name = name
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }
}

/// An optimiser by its name in a recipe and on the command line.
public enum OptimizerName: String, Codable, Sendable, CaseIterable {
  /// AdamW, moments in float32: 8 bytes a trained number.
  case adamw
  /// AdamW, moments as 8-bit codes (block-wise dynamic quantisation, Dettmers et al. 2022,
  /// arXiv:2110.02861): 2 bytes a trained number.
  case adamw8bit = "adamw-8bit"
}

extension OptimizerName {
  /// Checks that moments which are this optimiser's are those of the one that is to go on with them.
  ///
  /// - Throws: `EngineError` that names both.
  package func require(_ other: OptimizerName) throws {
    guard self != other else { return }
    throw EngineError(
      .badRequest,
      "the model's moments are those of \(rawValue), and \(other.rawValue) can't go on with them: "
        + "give --optimizer \(rawValue), or begin the run anew")
  }
}
