// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
public import AttuneTraining

/// The knobs of a reward–KL frontier: which methods at which β, one budget for all of them, and the
/// settings of each.
public struct FrontierSettings: HoldsMethods {
  /// Methods, with variants and, after an @, β of their own: `grpo:dapo`, `dpg:gdc++@0.25/0.5`.
  public var methods = ["ppo", "rloo", "grpo", "raft", "dpg:gdc++", "brain", "iterate", "dpo"]
  /// β of every method that has none of its own.
  public var betas = [0.03, 0.1, 0.3]
  /// Rollouts of every method that samples.
  public var rollouts = 16
  /// Prompts of a rollout.
  public var promptsPerRollout = 8
  /// Answers to each of them.
  public var samplesPerPrompt = 4
  /// Longest answer in tokens, in training and in evaluation.
  public var maxTokens = 48
  /// What becomes of rewards, in every method that samples in rollouts.
  @Flattened public var rewards = RewardsSettings()
  /// The round of the run whose reward model is climbed; 0 is the last.
  public var round = 0
  /// Pairs of each prompt's collected answers that dpo and kto read; 0 is all.
  public var pairsPerPrompt = 0
  /// Answers of the start to each held-out prompt, which best-of-n chooses from.
  public var startAnswers = 32
  /// How policies are held against the start.
  public var evaluation = EvaluationSettings()
  /// The knobs of every method.
  @Flattened public var methodKnobs = MethodsSettings()
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: every method trains adapters on the top 10 layers, at 1e-3 where it samples in
  /// rollouts and at 5e-4 where a loss of pairs or thumbs is trained; what clips a ratio takes four
  /// steps a rollout.
  public init() {
    methodKnobs.ppo.adaptiveKl = false
    methodKnobs.ppo.learningRate = 1e-3
    methodKnobs.rloo.epochs = 2
    methodKnobs.rloo.minibatches = 2
    methodKnobs.grpo.epochs = 2
    methodKnobs.raft.learningRate = 1e-3
    methodKnobs.dpg.learningRate = 1e-3
    methodKnobs.brain.learningRate = 1e-3
    methodKnobs.iterate.pairs = .all
    methodKnobs.iterate.dpo.layers = 10
    methodKnobs.iterate.dpo.learningRate = 5e-4
    methodKnobs.dpo.layers = 10
    methodKnobs.dpo.learningRate = 5e-4
    methodKnobs.dpo.evaluationShare = 0
    methodKnobs.kto.layers = 10
    methodKnobs.kto.learningRate = 5e-4
    methodKnobs.kto.evaluationShare = 0
  }

  /// The defaults for a task: its longest answer, its temperature, and its price of an answer that does
  /// not end.
  ///
  /// - Parameter task: A finished run.
  public static func defaults(_ task: AlignmentTask) -> FrontierSettings {
    var settings = FrontierSettings()
    let run = task.settings
    settings.maxTokens = run.sample.maxTokens
    // The reward model knows answers that were drawn at it.
    settings.evaluation.temperature = run.evaluation.temperature
    if let knobs = run.policyKnobs as? any OnlineSettings {
      settings.rewards.penaliseMissingEnd = knobs.rewards.penaliseMissingEnd
      settings.rewards.missingEndReward = knobs.rewards.missingEndReward
      settings.rewards.constraints = knobs.rewards.constraints
    }
    return settings
  }

  /// The knobs that are one for all methods, by their names in each.
  private static let shared: [(knob: String, of: String)] = [
    ("rollouts", "rollouts"), ("prompts_per_rollout", "prompts_per_rollout"),
    ("samples_per_prompt", "samples_per_prompt"), ("max_tokens", "max_tokens"),
    ("normalise", "normalise"), ("penalise_missing_end", "penalise_missing_end"),
    ("missing_end_reward", "missing_end_reward"), ("constraints", "constraints"), ("beta", "betas"),
    ("seed", "seed"),
    ("adaptive_kl", "betas"), ("kl_target", "betas"), ("kl_rate", "betas"),
    ("temperature", "evaluation.temperature"),
    ("rounds", "rollouts"), ("prompts_per_round", "rollouts"), ("dpo.beta", "betas"),
    ("dpo.seed", "seed"),
  ]

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
    ]
    + RewardsSettings.knobs.saying(
      "normalise",
      "What the reward is normalised by, in every method that samples in rollouts."
    )
    .saying(
      "penalise_missing_end",
      "Whether an answer that did not end by itself gets `missing_end_reward` instead of its "
        + "score, in every method that samples in rollouts.")
    + [
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
    + MethodsSettings.knobs + [
      Knob("seed", "What every random choice follows from.", .seed)
    ]

  /// Knobs without effect: of methods that are not run, those that are one for all, and what none of a
  /// method's variants reads.
  public var unreadKnobs: [(knob: String, why: String)] {
    let methods = (try? methods.map { try FrontierMethod($0) }) ?? []
    var list: [(knob: String, why: String)] = []
    for method in RLHF.Method.allCases {
      let own = methods.filter { $0.method == method }
      let name = method.rawValue
      guard !own.isEmpty else {
        list += methodKnobs[method].allKnobs(in: name, "\(name) is not among the methods")
        continue
      }
      list += Self.shared.map { ("\(name).\($0.knob)", "\($0.of) is one for all methods") }
      if own.allSatisfy({ $0.variant != nil }) {
        list += [method.variantKnob].compactMap { $0.map { ($0, "methods names the variants") } }
      }
      let unread = own.map { method in
        var settings = job
        method.apply(to: &settings, beta: nil)
        return settings.policyKnobs.unreadKnobs
      }
      for (knob, why) in unread[0] where unread.allSatisfy({ $0.contains { $0.knob == knob } }) {
        list.append(("\(name).\(knob)", why))
      }
    }
    list += rewards.unreadKnobs
    if !methods.contains(where: { $0.method.readsPreferences }) {
      list.append(("pairs_per_prompt", "neither dpo nor kto is among the methods"))
    }
    list.append(("evaluation.max_tokens", "max_tokens is one for all"))
    list.append(("evaluation.greedy", "a frontier shows no single answers"))
    list.append(("evaluation.seed", "the run's own seed is read"))
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(!methods.isEmpty, "methods", "at least one")
    try evaluation.validate(in: "evaluation")
    try require(
      evaluation.temperature > 0, "evaluation.temperature", "above 0: greedy answers have no KL")
    try require(
      evaluation.n > 1 && evaluation.n <= startAnswers, "evaluation.n",
      "from 2 to start_answers (\(startAnswers)): answers to a prompt are compared")
    for text in rewards.constraints { _ = try ConstraintSpecification(text) }
    _ = try plans(prompts: promptsPerRollout)
  }

  /// The settings of the methods as those of the whole job.
  private var job: RLHFSettings {
    var job = RLHFSettings()
    job.methodKnobs = methodKnobs
    return job
  }

  /// The seed of training, which no other choice has.
  private var trainingSeed: UInt64 { seed &* 1_000_003 &+ 5 }

  /// The knobs of evaluation with what is one for all.
  var evaluated: EvaluationSettings {
    var settings = evaluation
    settings.maxTokens = maxTokens
    settings.greedy = 0
    settings.seed = seed &* 1_000_003 &+ 2
    return settings
  }

  /// Answers that a method may sample.
  ///
  /// - Parameter prompts: How many prompts there are to train on.
  func budget(prompts: Int) -> AnswerBudget {
    var rollout = RolloutSettings()
    rollout.rollouts = rollouts
    rollout.promptsPerRollout = promptsPerRollout
    rollout.samplesPerPrompt = samplesPerPrompt
    rollout.maxTokens = maxTokens
    rollout.temperature = evaluation.temperature
    return AnswerBudget(rollout: rollout, rewards: rewards, prompts: prompts)
  }

  /// Every point in the order of the methods.
  ///
  /// - Parameter prompts: How many prompts there are to train on.
  /// - Throws: `TrainingError` that names the method or knob at fault.
  func plans(prompts: Int) throws -> [FrontierPlan] {
    try require(
      promptsPerRollout <= prompts, "prompts_per_rollout", "at most the run's prompts (\(prompts))")
    var plans: [FrontierPlan] = []
    for text in methods {
      let method = try FrontierMethod(text)
      var base = job
      method.apply(to: &base, beta: nil)
      let reads = base.policyKnobs.readsBeta
      guard reads || method.betas.isEmpty else {
        throw TrainingError(.badSetting, "methods: \(method.name) reads no β: write it without @")
      }
      let betas: [Double?] = reads ? (method.betas.isEmpty ? betas : method.betas) : [nil]
      guard !betas.isEmpty else {
        throw TrainingError(.badSetting, "betas must be at least one number")
      }
      for beta in betas {
        let plan = try FrontierPlan(
          method: method, beta: beta, settings: planned(base, method, beta, prompts: prompts))
        guard !plans.contains(where: { $0.name == plan.name }) else {
          throw TrainingError(.badSetting, "methods: \(plan.name) is there twice")
        }
        plans.append(plan)
      }
    }
    return plans
  }

  private func planned(
    _ base: RLHFSettings, _ method: FrontierMethod, _ beta: Double?, prompts: Int
  ) throws -> RLHFSettings {
    var settings = base
    method.apply(to: &settings, beta: beta)
    settings.methodKnobs[method.method].seed = trainingSeed
    settings.methodKnobs[method.method].take(budget(prompts: prompts))
    try settings.policyKnobs.validate(in: method.method.rawValue)
    return settings
  }
}

/// One point of a frontier before it is made.
struct FrontierPlan {
  let method: FrontierMethod
  /// Nil where the method reads none.
  let beta: Double?
  /// The settings of the job, `method` and its knobs among them.
  let settings: RLHFSettings

  /// `grpo:dapo at β 0.1`.
  var name: String { method.name + (beta.map { " at β \(plain($0))" } ?? "") }

  /// The name as that of a folder.
  var folder: String {
    method.name.replacing(":", with: "-") + (beta.map { "-beta-\(plain($0))" } ?? "")
  }

  private func plain(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e9 ? String(Int(value)) : String(value)
  }
}
