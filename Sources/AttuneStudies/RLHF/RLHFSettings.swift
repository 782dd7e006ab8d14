// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import AttuneObjectives
public import AttuneRewards
public import AttuneTraining

/// The knobs of the whole job: those of every stage, and one seed for all of them.
public struct RLHFSettings: HoldsMethods {
  /// Answers that preferences are collected over.
  public var sample = SampleSettings()
  /// How preferences are drawn.
  public var label = LabelSettings()
  /// Who prefers in place of a labeller (RLAIF); a labeller does where it names no judge. The judge
  /// also decides the win rate.
  public var judge = JudgeSettings()
  /// How many people's labels are waited for, in place of a labeller; none where `labels` is 0.
  public var people = PeopleSettings()
  /// A reward that checks answers, in place of preferences and a reward model: `answer:number`. The policy climbs
  /// it, and it decides the win rate. None where it is empty.
  public var grader = ""
  /// How the reward model is trained.
  public var reward = RewardModelSettings()
  /// How the policy is trained; the settings of the other methods are not read.
  public var method = RLHF.Method.ppo
  /// The knobs of every method; the pairs of iterate are ranked by the reward model.
  @Flattened public var methodKnobs = MethodsSettings()
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

  /// The sampling temperature of the job, of `collect` too. At 1 a small model's answers are often broken, so
  /// that preferences are mostly between bad and worse, and what the policy learns is hard to see.
  public static let temperature = 0.7

  /// The defaults: those of every stage, with rankings for the reward model, and one temperature for
  /// everything that samples.
  public init() {
    sample.n = 6
    label.shape = .rankings
    reward.loss = .kWise
    reward.epochs = 2
    reward.batchSize = 8
    setSampling(temperature: Self.temperature, maxTokens: sample.maxTokens)
  }

  /// One temperature, one longest answer and one sampler for everything that samples; nil leaves it.
  package mutating func setSampling(
    temperature: Double? = nil, maxTokens: Int? = nil, sampler: Sampler? = nil
  ) {
    sample.maxTokens = maxTokens ?? sample.maxTokens
    evaluation.maxTokens = maxTokens ?? evaluation.maxTokens
    sample.temperature = temperature ?? sample.temperature
    evaluation.temperature = temperature ?? evaluation.temperature
    sample.sampler = sampler ?? sample.sampler
    evaluation.sampler = sampler ?? evaluation.sampler
    for method in RLHF.Method.allCases {
      methodKnobs[method].setSampling(
        temperature: temperature, maxTokens: maxTokens, sampler: sampler)
    }
  }

  /// The knobs of the method.
  var policyKnobs: any PolicyMethod { methodKnobs[method] }

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
      Knob(
        "grader",
        "A reward that checks answers, in place of preferences and a reward model: answer:number. The "
          + "policy climbs it, and it decides the win rate. None where it is empty.", .text),
      Knob("reward", "How the reward model is trained.", .knobs(of: RewardModelSettings.self)),
      Knob(
        "method", "How the policy is trained; the settings of the other methods are not read.",
        .choice(RLHF.Method.self)),
    ]
    + MethodsSettings.knobs
    .saying("iterate", "Those of iterate, whose pairs are ranked by the reward model.") + [
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

  private var unreadMethods: [(knob: String, why: String)] {
    RLHF.Method.allCases.flatMap { other in
      other == method
        ? policyKnobs.unreadKnobs(in: other.rawValue)
        : methodKnobs[other].allKnobs(in: other.rawValue, "method is \(method.rawValue)")
    }
  }

  private var unreadWithGrader: [(knob: String, why: String)] {
    let why = "a grader checks answers"
    return sample.allKnobs(in: "sample", why) + label.allKnobs(in: "label", why)
      + judge.allKnobs(in: "judge", why) + people.allKnobs(in: "people", why)
      + reward.allKnobs(in: "reward", why) + [("rounds", why), ("early_rollouts", why)]
      + unreadMethods + evaluation.unreadKnobs(in: "evaluation")
  }

  /// Knobs without effect, those of the stages among them.
  public var unreadKnobs: [(knob: String, why: String)] {
    let noPeople = people.allKnobs(in: "people", "people.labels is 0: no people are asked")
      .filter { $0.knob != "people.labels" }
    let preferences =
      hasPeople
      ? label.allKnobs(in: "label", "people label") + judge.allKnobs(in: "judge", "people label")
        + (rounds == 1 ? [("people.later_labels", "rounds is 1")] : [])
      : (hasJudge
        ? judge.unreadKnobs(in: "judge") + label.allKnobs(in: "label", "a judge labels")
        : label.unreadKnobs(in: "label")
          + judge.allKnobs(in: "judge", "there is no judge; name one with judge.judges"))
        + noPeople
    guard !hasGrader else { return unreadWithGrader }
    return sample.unreadKnobs(in: "sample") + preferences + reward.unreadKnobs(in: "reward")
      + unreadMethods + evaluation.unreadKnobs(in: "evaluation")
      + (method.readsPreferences
        ? [("\(method.rawValue).evaluation_share", "the held-out prompts are evaluated on")] : [])
      + [("reward.evaluation_share", "the held-out prompts are evaluated on")]
      + (rounds == 1 ? [("early_rollouts", "rounds is 1")] : [])
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try sample.validate(in: "sample")
    try label.validate(in: "label")
    try judge.validate(in: "judge")
    try people.validate(in: "people")
    try require(!hasPeople || !hasJudge, "people.labels", "0 where a judge prefers")
    if hasGrader {
      let kind = try RewardSpecification(grader).measured(by: "grader").kind
      try require(
        !kind.isLearned && ![.labeller, .length, .words].contains(kind), "grader",
        "a reward that checks or grades answers, as answer:number, and is not learned")
      try require(method.samples, "method", "one that samples, where a grader checks answers")
      try require(
        rounds == 1 && !hasJudge && !hasPeople, "grader",
        "empty where there are rounds, a judge or people")
    }
    try reward.validate(in: "reward")
    try policyKnobs.validate(in: method.rawValue)
    for text in policyKnobs.constraints { _ = try ConstraintSpecification(text) }
    try require(
      hasGrader || !method.readsPreferences || hasJudge || hasPeople || label.shape == .pairs,
      "label.shape",
      "pairs where method is \(method.rawValue), and reward.loss one of pairs such as bradley_terry"
    )
    try evaluation.validate(in: "evaluation")
    try require(sample.n > 1, "sample.n", "at least 2: preferences need answers to compare")
    try require(evaluation.n > 1, "evaluation.n", "at least 2")
    try require(
      evaluation.temperature > 0, "evaluation.temperature", "above 0: greedy answers have no KL")
  }

  /// The stages' settings with seeds that follow from the run's, one for each.
  var seeded: RLHFSettings {
    var settings = self
    let base = seed &* 1_000_003
    settings.sample.seed = base &+ 1
    settings.evaluation.seed = base &+ 2
    settings.label.seed = base &+ 3
    settings.reward.seed = base &+ 4
    for method in RLHF.Method.allCases { settings.methodKnobs[method].seed = base &+ 5 }
    settings.judge.seed = base &+ 6
    return settings
  }

  /// Whether an AI judge prefers, not a labeller.
  var hasJudge: Bool { !judge.judges.isEmpty }

  /// Whether a grader checks answers, in place of preferences.
  var hasGrader: Bool { !grader.isEmpty }

  /// Whether people prefer.
  public var hasPeople: Bool { people.labels > 0 }

  /// The defaults of a method and of who prefers.
  ///
  /// - Parameters:
  ///   - method: What learns from the collected preferences reads pairs, not rankings.
  ///   - judged: Whether an AI judge prefers (RLAIF), who gives soft labels of pairs.
  ///   - people: Whether people do, who are shown pairs.
  public static func defaults(
    _ method: RLHF.Method, judged: Bool = false, people: Bool = false
  ) -> RLHFSettings {
    var settings = RLHFSettings()
    settings.method = method
    if judged || people || method.readsPreferences {
      settings.reward.loss = .bradleyTerry
      settings.label.shape = .pairs
    }
    if people { settings.people.labels = 64 }
    return settings
  }

  /// The recipe of `attune quickstart`: SmolLM2 on two cores in about six minutes.
  ///
  /// Many prompts with few answers each, for the reward model as for a rollout: of 16 prompts with two
  /// answers the policies of three seeds end as near to one another as their evaluation can tell, where
  /// those of 8 with four are 8 points of win rate apart.
  ///
  /// A first policy of ten rollouts is there to be labelled: the reward model of the second round knows
  /// what a policy does that climbs it. After eighteen rollouts of the last one its gold reward hardly
  /// rises and only KL still does.
  ///
  /// Low-rank adapters on the top 10 of 30 layers, so that the lower 20 run once a batch and serve
  /// policy, reference, reward model and every epoch.
  public static var quickstart: RLHFSettings {
    var settings = RLHFSettings()
    settings.setSampling(maxTokens: 48)
    settings.sample.n = 3
    settings.rounds = 2
    settings.earlyRollouts = 10
    settings.evaluation.n = 8
    settings.label.sharpness = 3
    settings.reward.batchSize = 16
    settings.reward.learningRate = 2e-3
    settings.reward.evaluationGroups = 8
    settings.ppo.rollouts = 18
    settings.ppo.promptsPerRollout = 16
    settings.ppo.samplesPerPrompt = 2
    settings.ppo.learningRate = 1.1e-3
    settings.ppo.beta = 0.1
    settings.ppo.klTarget = 6
    return settings
  }

  /// The recipe of `attune quickstart` for answers that are checked: no preferences, GRPO on the grader's verdict.
  public static var checkedQuickstart: RLHFSettings {
    var settings = RLHFSettings()
    settings.setSampling(maxTokens: 20)
    settings.method = .grpo
    settings.grader = ProceduralTask.sums.reward
    settings.evaluation.n = 8
    settings.grpo.temperature = 1
    settings.grpo.rollouts = 40
    settings.grpo.evaluationEvery = 8
    settings.grpo.evaluationSamples = 2
    settings.grpo.promptsPerRollout = 16
    settings.grpo.learningRate = 1e-3
    settings.grpo.beta = 0
    return settings
  }
}
