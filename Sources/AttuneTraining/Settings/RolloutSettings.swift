// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

/// Who samples the answers that a trainer learns from.
public enum Samplers: String, Codable, Sendable, CaseIterable {
  /// The trainer itself, with the policy as it is.
  case own
  /// Others, through a folder of the run (`attune rollouts`), with the policy as it was up to
  /// `maxStaleness` rollouts before.
  case folder
}

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
  /// Who samples.
  public var samplers = Samplers.own
  /// Rollouts that the policy may have been trained on since it sampled, where others do.
  public var maxStaleness = 1
  /// Prompts that one of them takes at a time.
  public var leasePrompts = 8
  /// Seconds after which what one took and gave no sign of is another's.
  public var leaseSeconds = 60.0
  /// Training ends when KL in nats a sequence is above this; 0 is never.
  public var klBudget = 0.0
  /// Held-out rows are answered every so many rollouts.
  public var evaluationEvery = 4
  /// Answers to each of them.
  public var evaluationSamples = 4
  /// Which policy is written, by its answers to them.
  public var keepBest = KeepBest.none
  /// Whether prompts come first that the start answers right about every second time.
  public var curriculum = false
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
    Knob(
      "samplers",
      "Who samples: own, the trainer itself, or folder, others by attune rollouts, with a policy some "
        + "rollouts old.",
      .choice(Samplers.self)),
    Knob(
      "max_staleness",
      "Rollouts that the policy may have been trained on since it sampled, where samplers is folder.",
      .whole(0...1000)),
    Knob("lease_prompts", "Prompts that a sampler takes at a time.", .whole(atLeast: 1)),
    Knob(
      "lease_seconds", "Seconds after which what a sampler took and gave no sign of is another's.",
      .number(.above(0))),
  ]

  /// Those of them without effect.
  var unreadKnobs: [(knob: String, why: String)] {
    samplers == .folder
      ? []
      : ["max_staleness", "lease_prompts", "lease_seconds"].map {
        ($0, "samplers is own: the trainer samples by itself")
      }
  }

  /// How held-out rows are answered, where there are such.
  static let heldOut = [
    Knob(
      "evaluation_every",
      "Rows of --eval-data are answered every so many rollouts, before the first and after the last.",
      .whole(atLeast: 1)),
    Knob(
      "evaluation_samples", "Answers to each of those rows, or prompts.",
      .whole(1...Knob.mostAnswers)),
    Knob(
      "keep_best",
      "Which policy is written: the last one (`none`), or that with the best figure on those rows.",
      .choice(KeepBest.self)),
    Knob(
      "curriculum",
      "Whether prompts come in the order of how near their pass rate is to ½, by evaluation_samples answers of "
        + "the start to each; else in random order.", .flag),
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
