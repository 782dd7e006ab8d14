// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of REINFORCE.
public struct ReinforceSettings: SteersKL, HasKLTerm, CorrectsSampler {
  /// What a return is held against.
  public enum Baseline: String, Codable, Sendable, CaseIterable {
    /// The running mean of the rollouts before.
    case runningMean = "running_mean"
    /// A value head on the policy's own trunk, from zero.
    case value

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .runningMean: "the mean return of the rollouts before, one number"
      case .value: "a value head's number for each state"
      }
    }
  }

  /// Where the KL term is.
  public enum KLPlace: String, Codable, Sendable, CaseIterable {
    /// In the reward of each token, so that a token answers for the KL of those after it.
    case reward
    /// In the loss, by `kl_estimator`.
    case loss
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 1e-3)
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// What makes up for a sampler of other numbers than the trainer's.
  @Flattened public var correction = SamplerCorrection()
  /// Where the KL term is.
  public var kl = KLPlace.reward
  /// The KL term.
  @Flattened public var steering = SteeredKLSettings()
  /// How that term is estimated in the loss.
  @Flattened public var klTerm = KLTermSettings()
  /// What a return is held against.
  public var baseline = Baseline.runningMean
  /// How far a running mean moves to the newest rollout's, from 0 to 1.
  public var baselineRate = 0.1
  /// Weight of the value loss.
  public var valueCoefficient = 0.1
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()

  /// The defaults.
  public init() {
    rollout.rollouts = 32
    klTerm.klEstimator = .k2
    klTerm.klPerSequence = true
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + RolloutSettings.knobs + SamplerCorrection.knobs + [
      Knob("kl", "Where the KL term is.", .choice(KLPlace.self))
    ]
    + SteeredKLSettings.knobs("the KL term") + [RolloutSettings.klBudget]
    + KLTermSettings.knobs(of: "reinforce") + [
      Knob("baseline", "What a return is held against.", .choice(Baseline.self)),
      Knob(
        "baseline_rate", "How far a running mean moves to the newest rollout's.",
        .number(.above(0, atMost: 1))),
      Knob.valueCoefficient, Knob.entropyBonus,
    ] + RewardsSettings.knobs + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadSharedKnobs + unreadKLKnobs + unreadCorrectionKnobs
    if kl == .reward {
      list += KLTermSettings.unreadKnobs(
        "kl is reward: the term is in the reward, not in the loss")
    }
    switch baseline {
    case .runningMean: list.append(("value_coefficient", "baseline is running_mean"))
    case .value: list.append(("baseline_rate", "baseline is value"))
    }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validateKL()
    try validateKLTerm()
  }

  /// The policy loss's knobs.
  ///
  /// - Parameter beta: Weight of the KL term now.
  func objective(beta: Double) -> PolicySettings {
    var objective = PolicySettings()
    objective.entropyBonus = entropyBonus
    objective.correction = correction
    guard kl == .loss else { return objective }
    objective.klWeight = beta
    objective.klTerm = klTerm
    return objective
  }

  /// The value loss's knobs: the step is the rollout's only one, so there is nothing to clip.
  var valueObjective: ValueSettings {
    var objective = ValueSettings()
    objective.clip = nil
    objective.coefficient = valueCoefficient
    return objective
  }
}

extension ReinforceSettings: OnlineMethod {
  package typealias Algorithm = Reinforce

  package static let summary = "the policy gradient with a baseline"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("kl", variants(\.kl))
  }
}

/// REINFORCE, the policy gradient itself: log-probabilities of sampled tokens, times how much more
/// came after them than expected (Williams 1992).
///
/// There is no ratio to the sampling policy, so a rollout is one optimiser step. With the KL term in
/// the reward, −β·(log π_old − log π_ref) a token, its gradient is that of E r − β·KL(π‖ρ).
///
/// Differs from the paper: the running mean is of the rollouts before, and an answer of the first
/// rollout is held against the mean of its others; so the baseline never depends on the answer
/// itself, and the gradient is unbiased.
public enum Reinforce: OnlineAlgorithm {
  private struct State: Codable {
    var kl: AdaptiveKL
    var baseline: RunningBaseline
  }

  /// Trains a policy on the answers that it samples, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: ReinforceSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    let hasValues = settings.baseline == .value
    let run = try OnlineRun(
      "reinforce", start, data: data, rewards: rewards, watched: watched, settings: settings,
      steps: settings.rollouts, inputs: [("reward", rewardFingerprint)], valueHead: hasValues,
      own: {
        State(
          kl: try settings.klControl(), baseline: RunningBaseline(rate: settings.baselineRate))
      },
      output: output, options: options)

    while run.goesOn {
      // 1. Answers, which are scored: what came after each token, against what was expected; one step.
      let sampled = try run.sample()
      let order = Array(sampled.prompts.indices)
      let beta = run.state.own.kl.beta
      let rewardBeta = settings.kl == .reward ? beta : 0
      let objective = settings.objective(beta: beta)
      let rollout: ScoredRollout
      var returns: [Double] = []
      var totals: MetricTotals
      if hasValues {
        var scored = try run.score(sampled, value: run.policy)
        returns = scored.returns(beta: rewardBeta)
        totals = scored.advantages(beta: rewardBeta, lossBeta: beta - rewardBeta)
        rollout = scored
        let update = PolicyUpdate(
          batch: order, loss: .reinforce, objective: objective,
          valueObjective: settings.valueObjective, temperature: settings.temperature,
          budget: settings.pieceTokens)
        totals.merge(
          try run.step { _ in
            try update.accumulate(
              rollout, policy: run.policy, value: run.policy, checkingRatio: true)
          })
      } else {
        (rollout, totals) = try run.onlyStep(
          sampled, order: order, .reinforce, objective, advantagesReadPolicy: rewardBeta > 0
        ) {
          returns = $0.returns(beta: rewardBeta)
          $0.expect(run.state.own.baseline.expected(returns))
          var totals = $0.advantages(beta: rewardBeta, lossBeta: beta - rewardBeta)
          if let mean = run.state.own.baseline.mean { totals.add(.baseline, mean) }
          return totals
        }
      }
      totals.merge(run.state.own.kl.metrics)
      totals.merge(try run.measure(rollout))

      // 2. Baseline and β follow what this rollout showed.
      run.state.own.baseline.update(returns)
      run.state.own.kl.update(kl: rollout.statistics.klPerSequence)
      try run.finish(rollout, totals)
    }
    return try run.close()
  }
}
