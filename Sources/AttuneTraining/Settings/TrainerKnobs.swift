// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

extension Knob {
  /// Which numbers are trained, in every trainer.
  ///
  /// - Parameter written: What is written in the end.
  static func trained(_ written: String = "policy") -> [Knob] {
    [
      Knob("train", "Which numbers are trained.", .choice(TrainedPart.self)),
      Knob(
        "layers",
        "Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is "
          + "all.", .whole(atLeast: 0)),
      Knob("rank", "Rank of the adapters.", .whole(1...1_000_000)),
      Knob("alpha", "Scale of the adapters, divided by the rank.", .number(.above(0))),
      Knob("projections", "The matrices that carry adapters.", .choices(Projection.self)),
      Knob(
        "merge", "Whether adapters are merged into the weights when the \(written) is written.",
        .flag),
    ]
  }

  /// How large a step is, in every trainer.
  static let steps = [
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
  ]

  /// How the work is done, in every trainer: nothing that changes what is learned.
  static func work(cutBetween parts: String) -> [Knob] {
    [
      Knob(
        "piece_tokens",
        "Tokens that are worked on at once; a larger batch is cut between \(parts), with the same "
          + "result.", .whole(atLeast: 1)),
      Knob(
        "recompute",
        "Computes activations again instead of keeping them: less memory, a third more time.", .flag
      ),
    ]
  }

  /// Seconds between checkpoints: up to a year.
  static let checkpointSeconds = Knob(
    "checkpoint_seconds", "Seconds between checkpoints; more where writing one takes long.",
    .number(.from(0, to: 31_536_000)))

  /// What random choices follow from.
  package static func seed(_ what: String) -> Knob { Knob("seed", "The seed of \(what).", .seed) }

  /// Passes over a file of rows.
  static func passes(batch: String) -> [Knob] {
    [
      Knob("epochs", "Passes over the data.", .whole(1...Knob.mostSteps)),
      Knob("max_steps", "Optimiser steps at most; 0 is no limit.", .whole(atLeast: 0)),
      Knob("batch_size", "\(batch) that an optimiser step sees.", .whole(atLeast: 1)),
      Knob(
        "max_length", "Longest prompt and answer in tokens; 0 is the model's own limit.",
        .whole(2...most, or: 0)),
      Knob(
        "too_long",
        "What becomes of longer ones: cut (the prompt loses its start down to a quarter of max_length, "
          + "then the answer its end) or drop.", .choice(TooLong.self)),
    ]
  }

  /// Held-out rows, and the memory that later passes may take.
  static let evaluationShare = Knob(
    "evaluation_share",
    "Share of the prompts held out for evaluation where no file is given for it.",
    .number(.from(0, below: 1)))
  static let trunkMegabytes = Knob(
    "trunk_megabytes",
    "Megabytes in which the frozen layers' results may be kept for later epochs.",
    .whole(atLeast: 0))
  static let precomputeReference = Knob(
    "precompute_reference",
    "Whether the reference's log-probabilities are computed once, before training.", .flag)
  static let softLabels = Knob(
    "soft_labels",
    "Whether a row's `probability` is its label; else the chosen answer is simply the better one.",
    .flag)
  static let harden = Knob(
    "harden", "Whether soft labels are rounded where the loss can't read them.", .flag)
}

extension SFTSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained("model") + [
      Knob(
        "score_prompts", "Whether prompts count in the loss too, and not only the answers.", .flag),
      Knob(
        "answers", "Which answers of a conversation are learned.",
        .choice(LearnedAnswers.self)),
      Knob(
        "reduction", "What the sum over tokens is divided by.", .choice(TokenReduction.self)),
    ]
    + Knob.passes(batch: "Rows")
    .saying("max_length", "Longest text in tokens; 0 is the model's own limit.")
    + Knob.steps + [
      Knob(
        "evaluate_every",
        "Held-out rows are scored every so many steps, and at the end; 0 is only then.",
        .whole(atLeast: 0))
    ]
    + Knob.work(cutBetween: "rows") + [
      Knob.checkpointSeconds,
      Knob.seed("the order of rows, and of weights that start at random"),
    ]
}

extension RewardModelSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained("model").saying("train", "Which numbers are trained, beside the scalar head.") + [
      Knob("loss", "The loss.", .choice(RewardLoss.self)),
      Knob(
        "centring", "Weight of the term that keeps the rewards of a pair around zero.",
        .number(.atLeast(0))),
      Knob(
        "ties",
        "What is done with 'tie' and 'both bad' where the loss has no place for them.",
        .choice(RewardSettings.Ties.self)),
      Knob.harden, Knob.softLabels,
      Knob(
        "head",
        "How the scalar head starts: keep goes on from that of a reward model, new from zero.",
        .choice(RewardModelSettings.HeadStart.self)),
    ]
    + Knob.passes(batch: "Groups (pairs, rankings)") + Knob.steps + [
      Knob.evaluationShare,
      Knob(
        "evaluation_groups", "Groups that are evaluated at most; 0 is all.", .whole(atLeast: 0)),
    ]
    + Knob.work(cutBetween: "groups") + [
      Knob.trunkMegabytes, Knob.checkpointSeconds,
      Knob.seed("the order of rows and the held-out choice"),
    ]
}

extension DPOSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [
      Knob("loss", "The loss.", .choice(PreferenceLoss.self)),
      Knob(
        "beta",
        "β: what a nat of log-ratio is worth; null is the loss's own (0.1, `dpop` 0.3, `simpo` 2).",
        .number(.above(0)), orNull: true),
      Knob(
        "smoothing",
        "ε, the share of labels taken to be wrong; null is the loss's own (0, `robust` 0.1, `exo` "
          + "0.001).", .number(.from(0, to: 1)), orNull: true),
      Knob(
        "length_normalised", "Whether `ipo` divides log-ratios by the response's tokens.", .flag),
      Knob(
        "lambda", "λ: the penalty of `dpop` (50), the weight of the odds of `orpo` (0.1).",
        .number(.atLeast(0)), orNull: true),
      Knob(
        "length_price", "What a token costs in `rdpo` (0.01).", .number(.finite), orNull: true),
      Knob("gamma", "γ: the margin of `simpo` (1).", .number(.finite), orNull: true),
      Knob("tau", "τ: how soft `discopop` switches (0.05).", .number(.above(0)), orNull: true),
      Knob("divergence", "The divergence from the reference.", .choice(FDivergence.self)),
      Knob("divergence_alpha", "α of the divergence `alpha`.", .number(.finite)),
      Knob(
        "sft_weight",
        "Weight of the chosen response's negative log-likelihood; null is the loss's own (0, `cpo` "
          + "and `orpo` 1).", .number(.atLeast(0)), orNull: true),
      Knob(
        "nll_reduction", "What that likelihood is divided by.", .choice(TokenReduction.self)),
      Knob(
        "nll_over", "What that likelihood is of.",
        .choice(PreferenceSettings.LikelihoodOver.self)),
      Knob(
        "ties", "What is done with 'tie' and 'both bad'.", .choice(RewardSettings.Ties.self)),
      Knob.harden,
      Knob(
        "xpo_alpha",
        "α of XPO's bonus: the weight of log π of a row's `explored` answer, which the reference "
          + "gave; `iterate` writes such rows. 0 is off.", .number(.atLeast(0))),
      Knob.softLabels, Knob.precomputeReference,
    ]
    + Knob.passes(batch: "Pairs") + Knob.steps + [Knob.evaluationShare]
    + Knob.work(cutBetween: "rows") + [
      Knob.trunkMegabytes, Knob.checkpointSeconds,
      Knob.seed("the order of rows and the held-out choice"),
    ]
}

extension KTOSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    Knob.trained() + [
      Knob("loss", "The loss.", .choice(UnpairedLoss.self)),
      Knob("beta", "β: what a nat of log-ratio is worth.", .number(.above(0))),
      Knob("up_weight", "Weight of thumbs up.", .number(.atLeast(0))),
      Knob("down_weight", "Weight of thumbs down.", .number(.atLeast(0))),
      Knob.precomputeReference,
    ]
    + Knob.passes(batch: "Responses") + Knob.steps + [Knob.evaluationShare]
    + Knob.work(cutBetween: "rows") + [
      Knob.trunkMegabytes, Knob.checkpointSeconds,
      Knob.seed("the order of rows, the mismatched pairs and the held-out choice"),
    ]
}
