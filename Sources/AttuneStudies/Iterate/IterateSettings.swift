// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneObjectives
public import AttuneRewards
public import AttuneTraining

/// The knobs of iterative preference optimisation.
public struct IterateSettings: Settings {
  /// Which pairs are made of a prompt's ranked answers.
  public enum Pairs: String, CaseIterable, Codable, Sendable {
    /// The best against the worst.
    case bestWorst = "best_worst"
    /// The best against each that is worse.
    case bestRest = "best_rest"
    /// Each against each that is worse.
    case all

    /// One line for help.
    public var summary: String {
      switch self {
      case .bestWorst: "a prompt's best answer against its worst"
      case .bestRest: "its best answer against each that is worse"
      case .all: "each answer against each that is worse"
      }
    }
  }

  /// How often answers are sampled and trained on.
  public var rounds = 3
  /// Whether a round is one optimiser step on a batch of fresh pairs, the policy kept in memory.
  public var online = false
  /// Prompts of a round; 0 is all of them, and online `dpo.batch_size`.
  public var promptsPerRound = 0
  /// Answers to each prompt; with `dpo.xpo_alpha` the last one is the reference's, as its paper has it.
  public var samplesPerPrompt = 4
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Sampling temperature; KL and implicit rewards of the samples are taken at it too.
  public var temperature = 1.0
  /// Which numbers answers are drawn with.
  public var sampler = Sampler.same
  /// Which pairs are made of a prompt's ranked answers.
  public var pairs = Pairs.bestWorst
  /// Whether every round's reference is the policy that it began with, not the start.
  public var moveReference = false
  /// Share of each round's pairs that is taken from a fixed file; 0 without one.
  public var mixShare = 0.0
  /// Who ranks the answers where no reward does.
  public var judge = JudgeSettings()
  /// The contrastive round.
  public var dpo = DPOSettings()
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: every pair is trained on.
  public init() { dpo.evaluationShare = 0 }

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
      .sampler,
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

  /// Knobs without effect, those of the round and the judge among them.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list =
      dpo.unreadKnobs(in: "dpo")
      + (hasJudge
        ? judge.unreadKnobs(in: "judge")
          + ["shape", "pairs_per_prompt"].map { ("judge.\($0)", "pairs says which pairs are made") }
        : judge.allKnobs(in: "judge", "there is no judge; name one with judge.judges"))
    list.append(("dpo.evaluation_share", "every pair is trained on; fresh ones evaluate"))
    if !dpo.loss.needsReference {
      list.append(("move_reference", "\(dpo.loss.rawValue) needs no reference"))
    }
    if online {
      list.append(("move_reference", "online is true: each step would begin at its reference"))
      for knob in ["epochs", "max_steps", "precompute_reference"] {
        list.append(("dpo.\(knob)", "online is true: a round is one step on fresh pairs"))
      }
    }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try require(dpo.evaluationShare == 0, "dpo.evaluation_share", "0: fresh pairs evaluate")
    try require(!moveReference || !online, "move_reference", "false where online is true")
    try require(
      !moveReference || dpo.loss.needsReference, "move_reference",
      "false where the loss (\(dpo.loss.rawValue)) needs no reference")
    try dpo.validate(in: "dpo")
    try judge.validate(in: "judge")
  }
}

extension IterateSettings: PolicyMethod {
  package static let summary =
    "rounds of a loss on pairs of the policy's own answers (iterate.dpo.loss)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("dpo.loss", variants(\.dpo.loss))
  }
  package static var readsPreferences: Bool { false }
  package var readsBeta: Bool { dpo.readsBeta }
  package var sampledAnswers: Int { rounds * promptsPerRound * samplesPerPrompt }

  package mutating func setBeta(_ beta: Double) { dpo.setBeta(beta) }

  package mutating func setSampling(temperature: Double?, maxTokens: Int?, sampler: Sampler?) {
    self.temperature = temperature ?? self.temperature
    self.maxTokens = maxTokens ?? self.maxTokens
    self.sampler = sampler ?? self.sampler
  }

  /// As many answers in whole rounds, on all prompts where the budget allows.
  package mutating func take(_ budget: AnswerBudget) {
    samplesPerPrompt = budget.rollout.samplesPerPrompt
    promptsPerRound = min(budget.prompts, max(1, budget.answers / samplesPerPrompt))
    rounds = max(1, budget.answers / (promptsPerRound * samplesPerPrompt))
    maxTokens = budget.rollout.maxTokens
    temperature = budget.rollout.temperature
  }

  package func trainPolicy(_ task: PolicyTask) throws -> PolicyOutcome {
    let report = try Iterate.train(
      task.start, data: try DataFile.readPrompts(task.prompts), rewards: task.rewards,
      rewardFingerprint: task.rewardFingerprint, watched: task.gold, settings: self,
      output: task.output, options: task.options)
    let first = report.rounds.first?.reward ?? 0
    return PolicyOutcome(
      words: "\(rounds) rounds of \(report.loss), learned reward \(readable(first)) → "
        + "\(readable(report.trained.reward)), KL \(readable(report.trained.kl, digits: 1)) nats")
  }
}

extension IterateSettings {
  /// Whether a judge ranks, not a reward.
  var hasJudge: Bool { !judge.judges.isEmpty }

  /// Whether one of the answers to a prompt is the reference's.
  var explores: Bool { dpo.xpoAlpha > 0 }

  /// Prompts of a round.
  func promptCount(of all: Int) -> Int {
    promptsPerRound > 0 ? promptsPerRound : online ? min(all, dpo.batchSize) : all
  }

  /// The knobs of a round's training.
  func roundSettings(_ round: Int) -> DPOSettings {
    var settings = dpo
    settings.seed = seed &* 1_000_003 &+ UInt64(round)
    return settings
  }

  /// How a round's answers are sampled: with random numbers of its own, over the whole vocabulary.
  ///
  /// - Parameters:
  ///   - round: From 1; 0 is the look at the trained policy.
  ///   - count: Answers to each prompt.
  ///   - end: The tokens that end an answer.
  func sampling(round: Int, count: Int, end: [Int32]) -> SamplingSettings {
    var sampling = SamplingSettings()
    sampling.temperature = temperature
    sampling.sampler = sampler
    sampling.maxTokens = maxTokens
    sampling.samplesPerPrompt = count
    sampling.seed = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(round)
    sampling.stopIds = end
    return sampling
  }
}
