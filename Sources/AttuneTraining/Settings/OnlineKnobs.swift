// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

extension Knob {
  /// How answers are sampled, in every trainer that samples its own.
  static let rollouts = [
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
  ]

  /// Passes over a rollout.
  static let rolloutPasses = [
    Knob("epochs", "Passes over a rollout.", .whole(1...Knob.mostSteps)),
    Knob("minibatches", "Optimiser steps of a pass.", .whole(1...Knob.mostSteps)),
  ]

  /// A KL term whose weight may follow a target.
  static let steeredKL = [
    Knob(
      "adaptive_kl", "Whether that weight follows `kl_target`.", .flag),
    Knob(
      "kl_target", "KL in nats a sequence that the weight steers towards.", .number(.above(0))),
  ]

  /// The estimator of a KL term in the loss.
  ///
  /// - Parameter command: The command whose help says what each reaches.
  static func klTerm(of command: String) -> [Knob] {
    [
      Knob(
        "kl_estimator",
        "Estimator of a KL term in the loss; `attune \(command) --help` says what each reaches.",
        .choice(KLEstimator.self)),
      Knob(
        "kl_per_sequence", "Whether that term is of the whole answer, not of each token.", .flag),
      Knob(
        "kl_ratio_weighted",
        "Whether `k3` is weighted by the ratio to the sampling policy, which gives a whole answer's "
          + "the gradient of KL(π‖ρ).", .flag),
    ]
  }

  static let entropyBonus = Knob(
    "entropy_bonus", "Weight of the entropy bonus.", .number(.atLeast(0)))
  static let clip = Knob("clip", "The ratio is clipped at 1 ± this.", .number(.above(0, below: 1)))
  static let valueCoefficient = Knob(
    "value_coefficient", "Weight of the value loss.", .number(.atLeast(0)))
  static let klBudget = Knob(
    "kl_budget", "Training ends when KL in nats a sequence is above this; 0 is never.",
    .number(.atLeast(0)))
  static let targetBeta = Knob(
    "beta",
    "β: what a reward, after normalisation and penalties, is divided by in the target ρ·e^{r/β}.",
    .number(.above(0)))

  /// What becomes of rewards before they are learned from.
  static let rewards = [
    Knob("normalise", "What rewards are normalised by.", .choice(RewardNormalisation.self)),
    Knob(
      "penalise_missing_end",
      "Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.",
      .flag),
    Knob("missing_end_reward", "That reward, after normalisation.", .number(.finite)),
  ]

  /// Steps and work of every trainer that samples its own answers.
  static let onlineWork =
    steps + [
      Knob("adam_epsilon", "Adam's ε.", .number(.above(0))),
      Knob(
        "show_every", "A sample is shown every so many rollouts; 0 is never.", .whole(atLeast: 0)),
    ]
    + work(cutBetween: "prompts") + [
      Knob(
        "checkpoint_seconds",
        "Seconds between checkpoints, which are written between rollouts.",
        checkpointSeconds.kind),
      seed("samples and orders"),
    ]
}

extension PPOSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [Knob("variant", "Which method of the family.", .choice(Variant.self))]
    + Knob.rollouts + Knob.rolloutPasses + [
      Knob("beta", "Weight of the KL term in the reward, at the start.", .number(.atLeast(0)))
    ]
    + Knob.steeredKL + [
      Knob.klBudget,
      Knob("gamma", "Discount.", .number(.from(0, to: 1))),
      Knob("lambda", "λ of generalised advantage estimation.", .number(.from(0, to: 1))),
      Knob.clip,
      Knob(
        "value_clip", "The value may move this far from the rollout's; 0 is no clipping.",
        .number(.atLeast(0))),
      Knob.valueCoefficient, Knob.entropyBonus,
      Knob("whiten", "Whether advantages are whitened over the rollout.", .flag),
      Knob("whiten_rewards", "Whether token rewards are whitened, their mean kept.", .flag),
    ]
    + Knob.rewards + [
      Knob("value", "Where values come from.", .choice(Value.self)),
      Knob(
        "value_learning_rate",
        "Highest learning rate of a separate value model; follows train as learning_rate does.",
        .number(.above(0))),
      Knob(
        "ptx_weight", "Weight of the supervised loss that is mixed in; 0 is off.",
        .number(.atLeast(0))),
      Knob(
        "ptx_batch_size", "Rows of the mixed-in text that an optimiser step sees.",
        .whole(atLeast: 1)),
    ] + Knob.onlineWork
}

extension ReinforceSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + Knob.rollouts + [
      Knob("kl", "Where the KL term is.", .choice(KLPlace.self)),
      Knob("beta", "Weight of the KL term, at the start.", .number(.atLeast(0))),
    ]
    + Knob.steeredKL + [Knob.klBudget] + Knob.klTerm(of: "reinforce") + [
      Knob("baseline", "What a return is held against.", .choice(Baseline.self)),
      Knob(
        "baseline_rate", "How far a running mean moves to the newest rollout's.",
        .number(.above(0, atMost: 1))),
      Knob.valueCoefficient, Knob.entropyBonus,
    ] + Knob.rewards + Knob.onlineWork
}

extension RLOOSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + Knob.rollouts + Knob.rolloutPasses + [
      Knob("beta", "Weight of the KL term in the reward, at the start.", .number(.atLeast(0)))
    ]
    + Knob.steeredKL + [Knob.klBudget]
    + [Knob.clip].saying(
      "clip", "A token's ratio is clipped at 1 ± this where a rollout has several steps.")
    + Knob.rewards + Knob.onlineWork
}

extension GRPOSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [Knob("variant", "Which method of the family.", .choice(Variant.self))]
    + Knob.rollouts + Knob.rolloutPasses + [
      Knob(
        "beta",
        "Weight of the KL term in the loss; null is the variant's own (`grpo` 0.04, the others 0).",
        .number(.atLeast(0)), orNull: true)
    ]
    + Knob.klTerm(of: "grpo") + [
      Knob.klBudget,
      Knob(
        "clip_low",
        "The ratio is clipped at 1 − this; null is the variant's own (0.2, `gspo` 3e-4; `cispo` has "
          + "none).", .number(.from(0, to: 1)), orNull: true),
      Knob(
        "clip_high",
        "The ratio is clipped at 1 + this; null is the variant's own (0.2, `dapo` 0.28, `gspo` 4e-4, "
          + "`cispo` 4).", .number(.atLeast(0)), orNull: true),
      Knob(
        "fixed_length",
        "What `dr_grpo` divides an answer's sum by, in tokens; 0 is `max_tokens`.",
        .whole(atLeast: 0)),
      Knob(
        "max_draws",
        "How many draws of prompts `dapo` makes at most to fill a rollout with prompts whose answers "
          + "are not all of one reward.", .whole(1...64)),
      Knob(
        "overlong_cache",
        "Tokens before `max_tokens` over which `dapo` takes up to 1 off an answer's score; 0 is a "
          + "fifth of `max_tokens`.", .whole(atLeast: 0)),
      Knob.entropyBonus,
    ] + Knob.rewards + Knob.onlineWork
}

extension RAFTSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [
      Knob("selection", "Which answers are kept.", .choice(Selection.self)),
      Knob("keep", "How many of the best are kept of each prompt.", .whole(atLeast: 1)),
    ]
    + Knob.rollouts + Knob.rolloutPasses + [
      Knob(
        "beta",
        "β of `rejection`: what a reward, after normalisation and penalties, is divided by.",
        .number(.above(0))),
      Knob.klBudget,
    ]
    + Knob.rewards.saying("normalise", "What rewards are normalised by, before β divides them.")
    + Knob.onlineWork
}

extension DPGSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [
      Knob("method", "Which member of the family.", .choice(Method.self)),
      Knob("divergence", "The divergence that `fdpg` descends.", .choice(TargetDivergence.self)),
    ]
    + Knob.rollouts + Knob.rolloutPasses + [Knob.targetBeta, Knob.klBudget]
    + Knob.rewards.saying("normalise", "What rewards are normalised by, before β divides them.")
    + Knob.onlineWork
}

extension BRAInSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + Knob.rollouts + Knob.rolloutPasses + [
      Knob.targetBeta,
      Knob(
        "refresh_every",
        "The proposal becomes the policy every so many rollouts; 1: each rollout samples from the "
          + "policy.", .whole(atLeast: 1)),
      Knob.klBudget,
    ]
    + Knob.rewards.saying("normalise", "What rewards are normalised by, before β divides them.")
    + Knob.onlineWork
}
