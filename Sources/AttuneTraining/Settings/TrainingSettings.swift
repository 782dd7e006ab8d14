// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// The knobs of every trainer.
public struct TrainingSettings: Codable, Sendable, Equatable {
  /// Which numbers are trained.
  @Flattened public var weights = WeightsSettings()
  /// The optimiser, and how large a step is.
  @Flattened public var optimiser = OptimiserSettings()
  /// How the engine does its work.
  @Flattened public var engine = EngineSettings()
  /// Seconds between checkpoints.
  public var checkpointSeconds = 120.0
  /// What random choices follow from.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// The defaults of trainers that keep the frozen layers' results.
  static var keepingTrunks: TrainingSettings {
    var training = TrainingSettings()
    training.engine.trunkMegabytes = 2000
    return training
  }

  /// Seconds between checkpoints: up to a year.
  static let checkpointSeconds = Knob(
    "checkpoint_seconds", "Seconds between checkpoints; more where writing one takes long.",
    .number(.from(0, to: 31_536_000)))
}

/// Settings of a trainer, with the knobs that all have: `settings.learningRate` is
/// `settings.training.optimiser.learningRate`.
@dynamicMemberLookup
public protocol TrainsWeights: Settings {
  /// The knobs of every trainer.
  var training: TrainingSettings { get set }
  /// Adam's ε.
  var adamEpsilon: Double { get }
}

extension TrainsWeights {
  /// A knob of what is trained.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<WeightsSettings, Value>) -> Value {
    get { training.weights[keyPath: knob] }
    set { training.weights[keyPath: knob] = newValue }
  }

  /// A knob of a step.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<OptimiserSettings, Value>) -> Value {
    get { training.optimiser[keyPath: knob] }
    set { training.optimiser[keyPath: knob] = newValue }
  }

  /// A knob of the engine's work.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<EngineSettings, Value>) -> Value {
    get { training.engine[keyPath: knob] }
    set { training.engine[keyPath: knob] = newValue }
  }

  /// Seconds between checkpoints.
  public var checkpointSeconds: Double {
    get { training.checkpointSeconds }
    set { training.checkpointSeconds = newValue }
  }

  /// What random choices follow from.
  public var seed: UInt64 {
    get { training.seed }
    set { training.seed = newValue }
  }

  /// Adam's ε: the optimiser's own.
  public var adamEpsilon: Double { AdamW().epsilon }

  /// The norm that a gradient is scaled down to; nil: never.
  var gradientBound: Double? {
    training.optimiser.maxGradientNorm > 0 ? training.optimiser.maxGradientNorm : nil
  }
}
