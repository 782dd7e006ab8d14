// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
public import AttuneTraining

/// The knobs of a look at reward hacking: one method at β = 0 on one reward model, and on ensembles.
public struct HackingSettings: Settings {
  /// What is climbed beside the one reward model: an ensemble's `min`, `mean`, `mean-1std`.
  public var rules = ["min", "mean-1std"]
  /// Reward models of an ensemble, the run's own among them.
  public var members = 3
  /// Whether the others learn from rows drawn from its preferences with replacement (Breiman 1996), as many
  /// as there are; else they differ in the order of rows alone, for adapters begin with the same numbers.
  public var bootstrap = true
  /// The method with its variant; `policy` has its knobs.
  public var method = "rloo"
  /// Budget, evaluation and the knobs of the method.
  public var policy = FrontierSettings()
  /// What every random choice follows from.
  public var seed: UInt64 = 0

  /// The defaults: no price on KL or on answers that do not end, the reward model of the first round,
  /// which knows answers of the start alone, and rollouts of many prompts with two answers each, for the
  /// mean of few prompts says more of these than of the policy.
  public init() {
    policy.rollouts = 30
    policy.promptsPerRollout = 32
    policy.samplesPerPrompt = 2
    policy.rloo.epochs = 1
    policy.rloo.minibatches = 4
    policy.rloo.learningRate = 2e-3
    policy.round = 1
    policy.rewards.penaliseMissingEnd = false
    policy.startAnswers = 8
  }

  /// The defaults for a task: its longest answer, its temperature, and no more prompts or steps a rollout than it has
  /// prompts.
  ///
  /// - Parameter task: A finished run.
  /// - Throws: `TrainingError` if its prompts can't be read.
  public static func defaults(_ task: AlignmentTask) throws -> HackingSettings {
    var settings = HackingSettings()
    settings.policy.maxTokens = task.settings.sample.maxTokens
    settings.policy.evaluation.temperature = task.settings.evaluation.temperature
    let prompts = try task.promptCount
    settings.policy.promptsPerRollout = min(settings.policy.promptsPerRollout, prompts)
    settings.policy.rloo.minibatches = min(settings.policy.rloo.minibatches, prompts)
    return settings
  }

  /// The settings of the one point that each reward gets.
  var point: FrontierSettings {
    var settings = policy
    settings.methods = [method]
    settings.betas = [0]
    settings.seed = seed
    return settings
  }

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

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    point.unreadKnobs(in: "policy")
      + [("policy.methods", "method is read"), ("policy.betas", "β is 0")]
      + (rules.isEmpty
        ? ["members", "bootstrap"].map { ($0, "there are no rules") } : [])
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    for rule in rules {
      guard EnsembleReward.Rule(rule) != nil else {
        throw TrainingError(
          .badSetting, "rules: there is no rule \(rule); write min, mean or mean-1std")
      }
    }
    try require(Set(rules).count == rules.count, "rules", "each once")
    let method = try FrontierMethod(method)
    guard method.betas.isEmpty else {
      throw TrainingError(.badSetting, "method: \(self.method): β is 0; leave out @")
    }
    guard policy.methodKnobs[method.method] is any OnlineSettings else {
      throw TrainingError(
        .badSetting,
        "method: \(method.name) has no rollouts to follow a reward over; take one that samples")
    }
    try require(
      policy.rollouts > 3, "policy.rollouts", "at least 4: a law is fitted to what they show")
    try point.validate(in: "policy")
  }
}
