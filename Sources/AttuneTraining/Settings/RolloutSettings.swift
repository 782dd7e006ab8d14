// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

/// The knobs of a trainer that samples its own answers: how it does, and what it has because it does.
public struct RolloutSettings: Codable, Sendable, Equatable {
  /// How often answers are sampled.
  public var rollouts = 16
  /// Prompts of a rollout.
  public var promptsPerRollout = 8
  /// Answers to each prompt.
  public var samplesPerPrompt = 4
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 0
  /// Sampling temperature; log-probabilities are taken at it too.
  public var temperature = 1.0
  /// Which numbers answers are drawn with.
  public var sampler = Sampler.same
  /// Training ends when KL in nats a sequence is above this; 0 is never.
  public var klBudget = 0.0
  /// Adam's ε.
  public var adamEpsilon = 1e-5
  /// A sample is shown every so many rollouts; 0 is never.
  public var showEvery = 4

  /// The defaults.
  public init() {}

  /// Answers of all rollouts.
  package var answers: Int { rollouts * promptsPerRollout * samplesPerPrompt }

  /// How answers are sampled.
  static let knobs = [
    Knob("rollouts", "How often answers are sampled.", .whole(1...Knob.mostSteps)),
    Knob("prompts_per_rollout", "Prompts of a rollout.", .whole(1...Knob.mostSteps)),
    Knob("samples_per_prompt", "Answers to each prompt.", .whole(1...Knob.mostAnswers)),
    Knob("max_tokens", "Longest answer in tokens.", .whole(atLeast: 1)),
    Knob(
      "max_length", "Longest prompt and answer in tokens; 0 is the model's own limit.",
      .whole(atLeast: 0)),
    Knob(
      "temperature", "Sampling temperature; log-probabilities are taken at it too.",
      .number(.above(0)), because: "greedy answers have no log-probability"),
    .sampler,
  ]

  static let klBudget = Knob(
    "kl_budget", "Training ends when KL in nats a sequence is above this; 0 is never.",
    .number(.atLeast(0)))
  static let adamEpsilon = Knob("adam_epsilon", "Adam's ε.", .number(.above(0)))
  static let showEvery = Knob(
    "show_every", "A sample is shown every so many rollouts; 0 is never.", .whole(atLeast: 0))
}

/// The knobs of passes over a rollout.
public struct PassesSettings: Codable, Sendable, Equatable {
  /// Passes over a rollout.
  public var epochs = 1
  /// Optimiser steps of a pass.
  public var minibatches = 2

  /// The defaults.
  public init() {}

  /// Every knob.
  static let knobs = [
    Knob("epochs", "Passes over a rollout.", .whole(1...Knob.mostSteps)),
    Knob("minibatches", "Optimiser steps of a pass.", .whole(1...Knob.mostSteps)),
  ]
}
