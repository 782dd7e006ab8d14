// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

extension EvaluationSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("n", "Answers to each prompt; one at temperature 0.", .whole(1...Knob.mostAnswers)),
    Knob("max_tokens", "Most tokens of an answer.", .whole(atLeast: 1)),
    Knob(
      "temperature",
      "Sampling temperature; 0 takes the most probable token, of which there is no KL.",
      .number(.atLeast(0))),
    Knob("confidence", "The confidence of every interval.", .number(.above(0, below: 1))),
    Knob(
      "greedy",
      "Prompts, from the first, to which each model's greedy answer is kept too where answers are; "
        + "0: none.", .whole(atLeast: 0)),
    Knob("piece_tokens", "Tokens that are worked on at once.", .whole(atLeast: 1)),
    Knob.seed("samples and of the bootstrap; every model draws the same random numbers"),
  ]
}

extension LabelSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("labeller", "The labeller.", .choice(Labeller.self)),
    Knob(
      "shape", "What is made of the answers to a prompt.", .choice(PreferenceMaker.Shape.self)),
    Knob(
      "sharpness",
      "What score differences are multiplied by: i is preferred to j with probability "
        + "σ(sharpness·(s_i − s_j)). 0 labels at random, a large number without noise.",
      .number(.atLeast(0))),
    Knob("pairs_per_prompt", "Pairs that are drawn for each prompt; 0 is all.", .whole(atLeast: 0)),
    Knob.seed("the draws"),
  ]
}

extension PromptSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "count", "Prompts that are drawn, those held out among them; 0 is all.", .whole(atLeast: 0)),
    Knob("held_out_share", "Share of them that is held out.", .number(.from(0, below: 1))),
    Knob.seed("both draws"),
  ]
}

extension ReviewSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("texts", "Reviews that the model is tuned on.", .whole(atLeast: 1)),
    Knob("prompts", "Prompts, each of another review than these.", .whole(atLeast: 1)),
    Knob("words", "Words of a prompt.", .whole(1...64)),
    Knob("seed", "What the choice of reviews follows from.", .seed),
  ]
}

extension PeopleSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "labels",
      "Comparisons with a winner that the first round waits for, over answers to the prompts that "
        + "are trained on; 0 asks nobody.", .whole(atLeast: 0)),
    Knob(
      "later_labels", "Those that each later round waits for; 0: as many as the first.",
      .whole(atLeast: 0)),
    Knob(
      "held_out_labels",
      "Those over answers to held-out prompts, which the reward model is evaluated on.",
      .whole(atLeast: 1)),
    Knob("votes", "People that each question goes to.", .whole(1...1000)),
  ]
}

extension Knob {
  /// The knobs of every method that a policy can be trained by, under its name.
  ///
  /// - Parameter ranking: Who ranks the pairs of `iterate`.
  fileprivate static func methods(ranking: String) -> [Knob] {
    [
      Knob("ppo", "The knobs of method ppo.", .knobs(of: PPOSettings.self)),
      Knob("reinforce", "Those of reinforce.", .knobs(of: ReinforceSettings.self)),
      Knob("rloo", "Those of rloo.", .knobs(of: RLOOSettings.self)),
      Knob("grpo", "Those of grpo.", .knobs(of: GRPOSettings.self)),
      Knob("raft", "Those of raft.", .knobs(of: RAFTSettings.self)),
      Knob("dpg", "Those of dpg.", .knobs(of: DPGSettings.self)),
      Knob("brain", "Those of brain.", .knobs(of: BRAInSettings.self)),
      Knob("iterate", "Those of iterate\(ranking).", .knobs(of: IterateSettings.self)),
      Knob("dpo", "Those of dpo.", .knobs(of: DPOSettings.self)),
      Knob("kto", "Those of kto.", .knobs(of: KTOSettings.self)),
    ]
  }
}

extension RLHFSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    [
      Knob(
        "sample", "Answers that preferences are collected over.", .knobs(of: SampleSettings.self)),
      Knob("label", "How preferences are drawn.", .knobs(of: LabelSettings.self)),
      Knob(
        "judge",
        "Who prefers in place of a labeller (RLAIF); a labeller does where it names no judge. The "
          + "judge also decides the win rate.", .knobs(of: JudgeSettings.self)),
      Knob(
        "people",
        "How many people's labels are waited for, in place of a labeller; none where `labels` is 0.",
        .knobs(of: PeopleSettings.self)),
      Knob("reward", "How the reward model is trained.", .knobs(of: RewardModelSettings.self)),
      Knob(
        "method", "How the policy is trained; the settings of the other methods are not read.",
        .choice(RLHF.Method.self)),
    ]
    + Knob.methods(ranking: ", whose pairs are ranked by the reward model") + [
      Knob(
        "evaluation",
        "How the policy is held against its start; the start's answers to held-out prompts also give "
          + "the pairs that the reward model is evaluated on.", .knobs(of: EvaluationSettings.self)),
      Knob(
        "rounds",
        "How often answers of the policy so far are labelled, a reward model is trained on all "
          + "labels, and a policy with that; the settings of a stage hold for each round.",
        .whole(1...100)),
      Knob(
        "early_rollouts",
        "Rollouts of the rounds before the last, whose policy is there to be labelled; 0: as many as "
          + "in the last.", .whole(0...Knob.mostSteps)),
      Knob(
        "held_out_share", "Share of the prompts held out where no file is given for them.",
        .number(.above(0, below: 1))),
      Knob("side_by_side", "Answers shown side by side in the report.", .whole(atLeast: 0)),
      Knob("seed", "What every random choice follows from.", .seed),
    ]
}

extension FrontierSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    [
      Knob(
        "methods",
        "Methods, with variants and, after an @, β of their own: `grpo:dapo`, `dpg:gdc++@0.25/0.5`.",
        .texts),
      Knob("betas", "β of every method that has none of its own.", .numbers(.atLeast(0))),
      Knob("rollouts", "Rollouts of every method that samples.", .whole(1...Knob.mostSteps)),
      Knob("prompts_per_rollout", "Prompts of a rollout.", .whole(1...Knob.mostSteps)),
      Knob(
        "samples_per_prompt", "Answers to each of them.", .whole(2...Knob.mostAnswers),
        because: "answers are compared"),
      Knob(
        "max_tokens", "Longest answer in tokens, in training and in evaluation.",
        .whole(atLeast: 1)),
      Knob(
        "normalise",
        "What the reward is normalised by, in every method that samples in rollouts.",
        .choice(RewardNormalisation.self)),
      Knob(
        "penalise_missing_end",
        "Whether an answer that did not end by itself gets `missing_end_reward` instead of its "
          + "score, in every method that samples in rollouts.", .flag),
      Knob("missing_end_reward", "That reward, after normalisation.", .number(.finite)),
      Knob(
        "round", "The round of the run whose reward model is climbed; 0 is the last.",
        .whole(atLeast: 0)),
      Knob(
        "pairs_per_prompt",
        "Pairs of each prompt's collected answers that dpo and kto read; 0 is all.",
        .whole(atLeast: 0)),
      Knob(
        "start_answers",
        "Answers of the start to each held-out prompt, which best-of-n chooses from.",
        .whole(2...Knob.mostAnswers), because: "the best of several is taken"),
      Knob(
        "evaluation", "How policies are held against the start.",
        .knobs(of: EvaluationSettings.self)),
    ]
    + Knob.methods(ranking: "") + [
      Knob("seed", "What every random choice follows from.", .seed)
    ]
}

extension HackingSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "rules",
      "What is climbed beside the one reward model: an ensemble's `min`, `mean`, `mean-1std`.",
      .texts),
    Knob(
      "members", "Reward models of an ensemble, the run's own among them.", .whole(2...16)),
    Knob(
      "bootstrap",
      "Whether the others learn from rows drawn from its preferences with replacement (Breiman "
        + "1996), as many as there are; else they differ in the order of rows alone, for adapters "
        + "begin with the same numbers.", .flag),
    Knob("method", "The method with its variant; `policy` has its knobs.", .text),
    Knob(
      "policy", "Budget, evaluation and the knobs of the method.",
      .knobs(of: FrontierSettings.self)),
    Knob("seed", "What every random choice follows from.", .seed),
  ]
}

extension IterateSettings {
  /// Every knob.
  public static let knobs: [Knob] =
    [
      Knob("rounds", "How often answers are sampled and trained on.", .whole(1...Knob.mostSteps)),
      Knob(
        "online",
        "Whether a round is one optimiser step on a batch of fresh pairs, the policy kept in memory.",
        .flag),
      Knob(
        "prompts_per_round",
        "Prompts of a round; 0 is all of them, and online `dpo.batch_size`.",
        .whole(0...Knob.mostSteps)),
      Knob(
        "samples_per_prompt",
        "Answers to each prompt; with `dpo.xpo_alpha` the last one is the reference's, as its paper "
          + "has it.", .whole(2...Knob.mostAnswers), because: "one answer makes no pair"),
      Knob("max_tokens", "Longest answer in tokens.", .whole(atLeast: 1)),
      Knob(
        "temperature",
        "Sampling temperature; KL and implicit rewards of the samples are taken at it too.",
        .number(.above(0)), because: "greedy answers are all the same"),
      Knob("pairs", "Which pairs are made of a prompt's ranked answers.", .choice(Pairs.self)),
      Knob(
        "move_reference",
        "Whether every round's reference is the policy that it began with, not the start.", .flag),
      Knob(
        "mix_share",
        "Share of each round's pairs that is taken from a fixed file; 0 without one.",
        .number(.from(0, below: 1))),
      Knob("judge", "Who ranks the answers where no reward does.", .knobs(of: JudgeSettings.self)),
      Knob("dpo", "The contrastive round.", .knobs(of: DPOSettings.self)),
      Knob("seed", "What every random choice follows from.", .seed),
    ]
}

extension AlignSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "every", "Comparisons with a winner after which a policy is trained.", .whole(atLeast: 1)),
    Knob(
      "versus",
      "Share of the prompts on which a new policy is asked about against the one before it; the "
        + "others are answered by the new one alone.", .number(.above(0, atMost: 1))),
    Knob(
      "dpo",
      "The contrastive round, from the start and on all labels so far; the start is the reference.",
      .knobs(of: DPOSettings.self)),
  ]
}
