// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

/// The knobs of the optimiser: which it is, and how large a step.
public struct OptimiserSettings: Codable, Sendable, Equatable {
  /// Which optimiser it is: how AdamW keeps its moments.
  public var optimizer = OptimizerName.adamw
  /// Whether each process of a run keeps the moments of a share of what is trained (ZeRO-1).
  public var shardMoments = false
  /// Highest learning rate.
  public var learningRate = 2e-4
  /// How the learning rate falls.
  public var decay = Decay.linear
  /// Steps over which the learning rate rises; at most a tenth of all.
  public var warmupSteps = 10
  /// Share of each trained number taken away a step, times the learning rate.
  public var weightDecay = 0.0
  /// The gradient is scaled down to this norm; 0 is never.
  public var maxGradientNorm = 1.0
  /// How much of the mean of the trained numbers a step keeps; that mean is what is written. 0: the last step's.
  public var averageDecay = 0.0

  /// The defaults.
  public init() {}

  /// Every knob.
  static let knobs = [
    Knob(
      "optimizer",
      "Which optimiser it is: adamw keeps its moments in float32, 8 bytes a trained number, "
        + "adamw-8bit as 8-bit codes, 2 bytes.", .choice(OptimizerName.self)),
    Knob(
      "shard_moments",
      "Whether each process of a run (mpirun) keeps AdamW's moments of a share of the trained numbers "
        + "alone, in place of all: ZeRO-1 (Rajbhandari et al. 2020, arXiv:1910.02054). The same numbers, "
        + "less memory, half as much again to send; of one process it changes nothing.", .flag),
    Knob(
      "learning_rate",
      "Highest learning rate; unless given it follows train: that of LoRA is ten times, that of the "
        + "last layers five times the one of all weights.", .number(.above(0))),
    Knob("decay", "How the learning rate falls.", .choice(Decay.self)),
    Knob(
      "warmup_steps", "Steps over which the learning rate rises; at most a tenth of all.",
      .whole(atLeast: 0)),
    Knob(
      "weight_decay", "Share of each trained number taken away a step, times the learning rate.",
      .number(.atLeast(0))),
    Knob(
      "max_gradient_norm", "The gradient is scaled down to this norm; 0 is never.",
      .number(.atLeast(0))),
    Knob(
      "average_decay",
      "How much of the mean of the trained numbers over earlier steps a step keeps (EMA: 0.9 is a mean of "
        + "about the last ten); the mean is what is evaluated and written. 0: there is none, the last "
        + "step's numbers are.", .number(.from(0, below: 1))),
  ]
}
