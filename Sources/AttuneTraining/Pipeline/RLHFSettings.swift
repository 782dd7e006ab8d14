// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// The knobs of the whole job: those of every stage, and one seed for all of them.
public struct RLHFSettings: Settings {
  /// Answers that preferences are collected over.
  public var sample = SampleSettings()
  /// How preferences are drawn.
  public var label = LabelSettings()
  /// Who prefers in place of a labeller (RLAIF); a labeller does where it names no judge. The judge
  /// also decides the win rate.
  public var judge = JudgeSettings()
  /// How the reward model is trained.
  public var reward = RewardModelSettings()
  /// How the policy is trained.
  public var ppo = PPOSettings()
  /// How the policy is held against its start; the start's answers to held-out prompts also give
  /// the pairs that the reward model is evaluated on.
  public var evaluation = EvaluationSettings()
  /// How often answers of the policy so far are labelled, a reward model is trained on all labels, and
  /// a policy with that; the settings of a stage hold for each round.
  public var rounds = 1
  /// Rollouts of the rounds before the last, whose policy is there to be labelled; 0: as many as in
  /// the last.
  public var earlyRollouts = 0
  /// Share of the prompts held out where no file is given for them.
  public var heldOutShare = 0.33
  /// Answers shown side by side in the report.
  public var sideBySide = 10
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: those of every stage, with rankings for the reward model.
  public init() {
    sample.n = 6
    label.shape = .rankings
    reward.loss = .kWise
    reward.epochs = 2
    reward.batchSize = 8
    evaluation.maxTokens = sample.maxTokens
    ppo.maxTokens = sample.maxTokens
  }

  /// Knobs without effect, those of the stages among them.
  public var unreadKnobs: [(knob: String, why: String)] {
    let preferences =
      hasJudge
      ? judge.unreadKnobs(in: "judge") + label.allKnobs(in: "label", "a judge labels")
      : label.unreadKnobs(in: "label")
        + judge.allKnobs(in: "judge", "there is no judge; name one with judge.judges")
    return sample.unreadKnobs(in: "sample") + preferences + reward.unreadKnobs(in: "reward")
      + ppo.unreadKnobs(in: "ppo") + evaluation.unreadKnobs(in: "evaluation")
      + [("reward.evaluation_share", "the held-out prompts are evaluated on")]
      + (rounds == 1 ? [("early_rollouts", "rounds is 1")] : [])
  }

  /// Checks ranges.
  public func validate() throws {
    try sample.validate(in: "sample")
    try label.validate(in: "label")
    try judge.validate(in: "judge")
    try reward.validate(in: "reward")
    try ppo.validate(in: "ppo")
    try evaluation.validate(in: "evaluation")
    try require((1...100).contains(rounds), "rounds", "from 1 to 100")
    try require(earlyRollouts >= 0, "early_rollouts", "at least 0")
    try require(heldOutShare > 0 && heldOutShare < 1, "held_out_share", "above 0 and below 1")
    try require(sideBySide >= 0, "side_by_side", "at least 0")
    try require(sample.n > 1, "sample.n", "at least 2: preferences need answers to compare")
    try require(evaluation.n > 1, "evaluation.n", "at least 2")
  }

  /// The stages' settings with seeds that follow from the run's, one for each.
  var seeded: RLHFSettings {
    var settings = self
    let base = seed &* 1_000_003
    settings.sample.seed = base &+ 1
    settings.evaluation.seed = base &+ 2
    settings.label.seed = base &+ 3
    settings.reward.seed = base &+ 4
    settings.ppo.seed = base &+ 5
    settings.judge.seed = base &+ 6
    return settings
  }

  /// Whether an AI judge prefers, not a labeller.
  var hasJudge: Bool { !judge.judges.isEmpty }

  /// The defaults of RLAIF: soft labels of pairs.
  public static var rlaif: RLHFSettings {
    var settings = RLHFSettings()
    settings.reward.loss = .bradleyTerry
    return settings
  }

  /// The recipe of `attune quickstart`: SmolLM2 on two cores in under ten minutes.
  ///
  /// A first policy of eight rollouts is there to be labelled: the reward model of the second round knows
  /// what a policy does that climbs it.
  ///
  /// Low-rank adapters on the top 10 of 30 layers, so that the lower 20 run once a batch and serve
  /// policy, reference, reward model and every epoch.
  public static var quickstart: RLHFSettings {
    var settings = RLHFSettings()
    settings.sample.maxTokens = 48
    settings.rounds = 2
    settings.earlyRollouts = 8
    settings.evaluation.n = 8
    settings.evaluation.maxTokens = 48
    settings.label.sharpness = 3
    settings.reward.learningRate = 2e-3
    settings.ppo.maxTokens = 48
    settings.ppo.rollouts = 24
    settings.ppo.learningRate = 1e-3
    settings.ppo.beta = 0.03
    settings.ppo.klTarget = 10
    return settings
  }
}
