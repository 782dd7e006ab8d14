// SPDX-License-Identifier: Apache-2.0

import AttuneData
package import AttuneEngine

/// Settings of a trainer that `rlhf`, `frontier` and `hacking` can train a policy by, and all that they
/// know of it.
package protocol PolicyMethod: PlansRuns {
  /// One line for help and documentation.
  static var summary: String { get }
  /// Its variants, and the knob that they set; nil: it has none.
  static var variants: (knob: String, all: [MethodVariant<Self>])? { get }
  /// Whether it learns from the collected preferences themselves, and the reward model is there to
  /// measure alone.
  static var readsPreferences: Bool { get }
  /// Whether β is read.
  var readsBeta: Bool { get }
  /// Most answers that it samples.
  var sampledAnswers: Int { get }
  /// What means of sources it keeps to.
  var constraints: [String] { get }
  /// What random choices follow from.
  var seed: UInt64 { get set }

  /// Sets β.
  mutating func setBeta(_ beta: Double)
  /// Sets how answers are sampled; nil leaves it.
  mutating func setSampling(temperature: Double?, maxTokens: Int?, sampler: Sampler?)
  /// Takes what is one for all methods that are compared, β as it stands among it.
  mutating func take(_ budget: AnswerBudget)
  /// Trains.
  func trainPolicy(_ task: PolicyTask) throws -> PolicyOutcome
}

/// A variant of a method.
package struct MethodVariant<Knobs> {
  /// Its name.
  let name: String
  /// Sets the knobs that it is.
  let choose: (inout Knobs) -> Void
}

/// What each of several methods may sample, and how.
package struct AnswerBudget {
  /// How often, how many and how long.
  package let rollout: RolloutSettings
  /// What becomes of their rewards.
  package let rewards: RewardsSettings
  /// Prompts that there are.
  package let prompts: Int

  /// Makes a budget.
  package init(rollout: RolloutSettings, rewards: RewardsSettings, prompts: Int) {
    self.rollout = rollout
    self.rewards = rewards
    self.prompts = prompts
  }

  /// Answers in all.
  package var answers: Int { rollout.answers }
}

extension PolicyMethod {
  package static var variants: (knob: String, all: [MethodVariant<Self>])? { nil }
  package var readsBeta: Bool { true }
  package var constraints: [String] { [] }

  /// Its variants by name.
  package static var variantNames: [String] { variants?.all.map(\.name) ?? [] }
  /// The knob that a variant sets.
  package static var variantKnob: String? { variants?.knob }

  /// The variants that an enumeration has.
  package static func variants<Choice: CaseIterable & RawRepresentable>(
    _ path: WritableKeyPath<Self, Choice>
  ) -> [MethodVariant<Self>] where Choice.RawValue == String {
    Choice.allCases.map { choice in
      MethodVariant(name: choice.rawValue) { $0[keyPath: path] = choice }
    }
  }

  /// Becomes a variant.
  package mutating func choose(_ variant: String) {
    Self.variants?.all.first { $0.name == variant }?.choose(&self)
  }
}

/// Settings of a method that samples its own answers in rollouts.
package protocol OnlineMethod: PolicyMethod, OnlineSettings {
  /// What trains by them.
  associatedtype Algorithm: OnlineAlgorithm where Algorithm.Knobs == Self
}

extension OnlineMethod {
  package static var readsPreferences: Bool { false }
  package var sampledAnswers: Int { rollout.answers }
  package var constraints: [String] { rewards.constraints }

  package mutating func setSampling(temperature: Double?, maxTokens: Int?, sampler: Sampler?) {
    rollout.temperature = temperature ?? rollout.temperature
    rollout.maxTokens = maxTokens ?? rollout.maxTokens
    rollout.sampler = sampler ?? rollout.sampler
  }

  package mutating func take(_ budget: AnswerBudget) { takeRollouts(of: budget) }

  /// Takes rollouts and rewards; what ends a run and what it shows is the trainer's own.
  fileprivate mutating func takeRollouts(of budget: AnswerBudget) {
    rollout.rollouts = budget.rollout.rollouts
    rollout.promptsPerRollout = budget.rollout.promptsPerRollout
    rollout.samplesPerPrompt = budget.rollout.samplesPerPrompt
    rollout.maxTokens = budget.rollout.maxTokens
    rollout.temperature = budget.rollout.temperature
    rewards = budget.rewards
  }

  package func trainPolicy(_ task: PolicyTask) throws -> PolicyOutcome {
    let report = try Algorithm.train(
      task.start, data: try DataFile.readPrompts(task.prompts), rewards: task.rewards,
      rewardFingerprint: task.rewardFingerprint, watched: task.gold, settings: self,
      output: task.output, options: task.options)
    return PolicyOutcome(
      words: "\(report.rollouts) rollouts of "
        + "\(rollout.promptsPerRollout * rollout.samplesPerPrompt) answers, reward "
        + "\(readable(report.firstReward)) → \(readable(report.lastReward)), KL "
        + "\(readable(report.kl, digits: 1)) nats")
  }
}

extension OnlineMethod where Self: SteersKL {
  package mutating func setBeta(_ beta: Double) { steering.beta = beta }

  package mutating func take(_ budget: AnswerBudget) {
    takeRollouts(of: budget)
    steering.adaptiveKl = false
  }
}

extension PolicyMethod where Self: ContrastiveSettings {
  package static var readsPreferences: Bool { true }
  package var sampledAnswers: Int { 0 }

  // Nothing is sampled.
  package mutating func setSampling(temperature: Double?, maxTokens: Int?, sampler: Sampler?) {}
  package mutating func take(_ budget: AnswerBudget) {}
}
