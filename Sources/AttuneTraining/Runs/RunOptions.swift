// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
public import Foundation

/// What a run is told beside its settings: nothing that changes its outcome, but for the held-out rows
/// that `keep_best` chooses by.
public struct RunOptions: Sendable {
  /// Whether a run that is in the output folder is discarded.
  public var restart = false
  /// Whether nothing is trained or written: a trainer then throws `DryRun`, which says what the run
  /// would take.
  public var isDryRun = false
  /// Writes the report of a run that ends into its folder, for which the start and what is trained
  /// answer a few prompts; nil: there is none.
  public var report: (@Sendable (RunRecord, URL) throws -> Void)?
  /// Rows that a trainer that samples is not trained on, and that its policy answers on the way; nil:
  /// there are none.
  public var heldOut: DataFile?
  /// What shows the run's numbers beside `metrics.jsonl`.
  public var track: [TrackerKind] = []
  /// Where progress goes.
  public var progress = ProgressLine.Style.automatic
  /// Is told how far a training run is and what it says, beside what goes to `progress`.
  public var onEvent: (@Sendable (TrainingEvent) -> Void)?
  /// Is asked between optimiser steps; on true a checkpoint is written and the run ends with
  /// `TrainingError.Code.interrupted`.
  public var shouldStop: @Sendable () -> Bool = { Interrupt.isRequested }

  /// The defaults.
  public init() {}

  /// Says a line where progress goes.
  package func say(_ text: String) {
    var line = ProgressLine("", total: 1, style: progress)
    line.say(text)
    onEvent?(.remark(text))
  }

  /// Trains into a folder that is part of a larger run's: goes on with what is there, or begins anew
  /// where that is of no use, and says so.
  ///
  /// - Parameter train: The training, with the options that it is to have.
  /// - Throws: What the training throws.
  package func inPart<Result>(_ train: (RunOptions) throws -> Result) throws -> Result {
    do {
      return try train(self)
    } catch let error as TrainingError where !restart {
      switch error.code {
      case .finished: break  // Killed before the larger run noted that it is.
      case .badOutput:
        say("warning: \(error.message) (done, for this part of the run)")
      default: throw error
      }
      var options = self
      options.restart = true
      return try train(options)
    }
  }
}

/// What a program that trains is told on the way.
public enum TrainingEvent: Sendable {
  /// A step was made, or a rollout where answers are sampled.
  case progress(TrainingProgress)
  /// A line for people: rows that were left out, a warning.
  case remark(String)
}

/// How far a training run is.
public struct TrainingProgress: Sendable {
  /// The trainer: `dpo`.
  public let stage: String
  /// Steps or rollouts made, with those of earlier processes.
  public let done: Int
  /// Steps or rollouts of the whole run.
  public let total: Int
  /// What was measured, by the names of `metrics.jsonl`.
  public let metrics: [String: Double]
}

/// Which numbers of a model a trainer changes.
public enum TrainedPart: String, Codable, Sendable, CaseIterable {
  /// All.
  case full
  /// The last layers and the final norm.
  case lastLayers = "last_layers"
  /// Low-rank adapters.
  case lora
}

extension TrainsWeights {
  /// The knobs as the engine takes them for a model.
  public func trainable(_ spec: TransformerSpec) -> Trainable {
    let weights = training.weights
    return switch weights.train {
    case .full: .full
    case .lastLayers: .lastLayers(min(weights.layers, spec.layers))
    case .lora:
      .lora(
        LoRASettings(
          rank: weights.rank, alpha: weights.alpha,
          lastLayers: weights.layers < spec.layers ? weights.layers : 0,
          projections: weights.projections))
    }
  }

  /// Checks those knobs, and the engine's, against a model.
  ///
  /// - Throws: `TrainingError` that names the knob.
  package func check(against model: any LanguageModel) throws {
    let (now, plain) = (try ConfigFile.value(of: self), try ConfigFile.value(of: Self()))
    for (knob, why) in model.engine.unreadKnobs where now.value(at: knob) != plain.value(at: knob) {
      throw TrainingError(.badSetting, "\(knob) is set but not read: \(why)")
    }
    let (weights, spec) = (training.weights, model.spec)
    try require(
      weights.train != .lastLayers || weights.layers > 0, "layers",
      "at least 1 where train is last_layers")
    guard weights.train == .lora else { return }
    try require(weights.layers >= 0, "layers", "at least 0")
    guard (1...spec.width).contains(weights.rank) else {
      throw TrainingError(.badSetting, "rank is \(weights.rank); it goes from 1 to \(spec.width)")
    }
    let family = spec.architecture
    guard weights.merge || family.hasAdapterFormat else {
      throw TrainingError(
        .badSetting, "adapters of \(family.title) have no format of their own: set merge to true")
    }
  }
}

/// Checks that a knob is in its range.
///
/// - Throws: `TrainingError` that names it.
package func require(_ holds: Bool, _ knob: String, _ range: String) throws {
  guard holds else { throw TrainingError(.badSetting, "\(knob) must be \(range)") }
}
