// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
public import AttuneTraining

/// The knobs of a reward–KL frontier: which methods at which β, one budget for all of them, and the
/// settings of each.
public struct FrontierSettings: Settings {
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
  /// What the reward is normalised by, in every method that samples in rollouts.
  public var normalise = RewardNormalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score, in every
  /// method that samples in rollouts.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0
  /// The round of the run whose reward model is climbed; 0 is the last.
  public var round = 0
  /// Pairs of each prompt's collected answers that dpo and kto read; 0 is all.
  public var pairsPerPrompt = 0
  /// Answers of the start to each held-out prompt, which best-of-n chooses from.
  public var startAnswers = 32
  /// How policies are held against the start.
  public var evaluation = EvaluationSettings()
  /// The knobs of method ppo.
  public var ppo = PPOSettings()
  /// Those of reinforce.
  public var reinforce = ReinforceSettings()
  /// Those of rloo.
  public var rloo = RLOOSettings()
  /// Those of grpo.
  public var grpo = GRPOSettings()
  /// Those of raft.
  public var raft = RAFTSettings()
  /// Those of dpg.
  public var dpg = DPGSettings()
  /// Those of brain.
  public var brain = BRAInSettings()
  /// Those of iterate.
  public var iterate = IterateSettings()
  /// Those of dpo.
  public var dpo = DPOSettings()
  /// Those of kto.
  public var kto = KTOSettings()
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: every method trains adapters on the top 10 layers, at 1e-3 where it samples in
  /// rollouts and at 5e-4 where a loss of pairs or thumbs is trained; what clips a ratio takes four
  /// steps a rollout.
  public init() {
    ppo.adaptiveKl = false
    ppo.learningRate = 1e-3
    rloo.epochs = 2
    rloo.minibatches = 2
    grpo.epochs = 2
    raft.learningRate = 1e-3
    dpg.learningRate = 1e-3
    brain.learningRate = 1e-3
    iterate.pairs = .all
    iterate.dpo.layers = 10
    iterate.dpo.learningRate = 5e-4
    dpo.layers = 10
    dpo.learningRate = 5e-4
    dpo.evaluationShare = 0
    kto.layers = 10
    kto.learningRate = 5e-4
    kto.evaluationShare = 0
  }

  /// The defaults for a task: its longest answer, its temperature, and its price of an answer that does
  /// not end.
  ///
  /// - Parameter task: A finished run.
  public static func defaults(_ task: AlignmentTask) -> FrontierSettings {
    var settings = FrontierSettings()
    var run = task.settings
    settings.maxTokens = run.sample.maxTokens
    // The reward model knows answers that were drawn at it.
    settings.evaluation.temperature = run.evaluation.temperature
    run.changeOnline {
      settings.penaliseMissingEnd = $0.penaliseMissingEnd
      settings.missingEndReward = $0.missingEndReward
    }
    return settings
  }

  /// The knobs that are one for all methods, by their names in each.
  private static let shared: [(knob: String, of: String)] = [
    ("rollouts", "rollouts"), ("prompts_per_rollout", "prompts_per_rollout"),
    ("samples_per_prompt", "samples_per_prompt"), ("max_tokens", "max_tokens"),
    ("normalise", "normalise"), ("penalise_missing_end", "penalise_missing_end"),
    ("missing_end_reward", "missing_end_reward"), ("beta", "betas"), ("seed", "seed"),
    ("adaptive_kl", "betas"), ("kl_target", "betas"), ("temperature", "evaluation.temperature"),
    ("rounds", "rollouts"), ("prompts_per_round", "rollouts"), ("dpo.beta", "betas"),
    ("dpo.seed", "seed"),
  ]

  /// Knobs without effect: of methods that are not run, those that are one for all, and what none of a
  /// method's variants reads.
  public var unreadKnobs: [(knob: String, why: String)] {
    let methods = (try? methods.map { try FrontierMethod($0) }) ?? []
    var list: [(knob: String, why: String)] = []
    for method in RLHF.Method.allCases {
      let own = methods.filter { $0.method == method }
      var settings = job
      settings.method = method
      let name = method.rawValue
      guard !own.isEmpty else {
        list += settings.policyKnobs.allKnobs(in: name, "\(name) is not among the methods")
        continue
      }
      list += Self.shared.map { ("\(name).\($0.knob)", "\($0.of) is one for all methods") }
      if own.allSatisfy({ $0.variant != nil }) {
        list += own[0].variantKnobs.map { ($0, "methods names the variants") }
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
    if !penaliseMissingEnd {
      list.append(("missing_end_reward", "penalise_missing_end is false"))
    }
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
    _ = try plans(prompts: promptsPerRollout)
  }

  /// The settings of the methods as those of the whole job.
  private var job: RLHFSettings {
    var job = RLHFSettings()
    (job.ppo, job.reinforce, job.rloo, job.grpo, job.raft) = (ppo, reinforce, rloo, grpo, raft)
    (job.dpg, job.brain, job.iterate, job.dpo, job.kto) = (dpg, brain, iterate, dpo, kto)
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
  var budget: Int { rollouts * promptsPerRollout * samplesPerPrompt }

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
      let reads = method.readsBeta(base)
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
    settings.ppo.adaptiveKl = false
    settings.rloo.adaptiveKl = false
    settings.reinforce.adaptiveKl = false
    settings.changePolicy(seed: { _ in trainingSeed })
    settings.changeOnline {
      $0.rollouts = rollouts
      $0.promptsPerRollout = promptsPerRollout
      $0.samplesPerPrompt = samplesPerPrompt
      $0.maxTokens = maxTokens
      $0.temperature = evaluation.temperature
      $0.normalise = normalise
      $0.penaliseMissingEnd = penaliseMissingEnd
      $0.missingEndReward = missingEndReward
    }
    // As many answers in whole rounds, on all prompts where the budget allows.
    let perRound = min(prompts, max(1, budget / samplesPerPrompt))
    settings.iterate.promptsPerRound = perRound
    settings.iterate.rounds = max(1, budget / (perRound * samplesPerPrompt))
    settings.iterate.samplesPerPrompt = samplesPerPrompt
    settings.iterate.maxTokens = maxTokens
    settings.iterate.temperature = evaluation.temperature
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
