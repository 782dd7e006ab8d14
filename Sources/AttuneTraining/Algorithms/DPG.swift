// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of distribution matching by DPG's family.
public struct DPGSettings: PassesOverRollouts {
  /// Which member of the family.
  public enum Method: String, Codable, Sendable, CaseIterable {
    /// Answers weighted by target over proposal, a frozen policy that is replaced now and then.
    case dpg
    /// The same with a baseline, on the policy's own answers.
    case gdcPlusPlus = "gdc++"
    /// Any divergence from the target, on the policy's own answers.
    case fdpg

    /// The loss.
    public var loss: DistributionLoss {
      switch self {
      case .dpg: .dpg
      case .gdcPlusPlus: .gdcPlusPlus
      case .fdpg: .fdpg
      }
    }
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 3e-4)
  /// Which member of the family.
  public var method = Method.gdcPlusPlus
  /// The divergence that `fdpg` descends.
  public var divergence = TargetDivergence.forwardKL
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// β: what a reward, after normalisation and penalties, is divided by in the target ρ·e^{r/β}.
  public var beta = 0.5
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()

  /// The defaults.
  public init() {
    rollout.samplesPerPrompt = 8
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + [
      Knob("method", "Which member of the family.", .choice(Method.self)),
      Knob("divergence", "The divergence that `fdpg` descends.", .choice(TargetDivergence.self)),
    ]
    + RolloutSettings.knobs + PassesSettings.knobs + [Knob.targetBeta, RolloutSettings.klBudget]
    + RewardsSettings.knobs.saying(
      "normalise", "What rewards are normalised by, before β divides them.")
    + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadSharedKnobs
    if method != .fdpg {
      list.append(("divergence", "\(method.rawValue) has one of its own; fdpg reads it"))
    }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validatePasses()
    try validateTarget()
  }

  /// The loss's knobs.
  var objective: DistributionSettings {
    var objective = DistributionSettings()
    if method == .fdpg { objective.divergence = divergence }
    return objective
  }
}

extension DPGSettings: OnlineMethod {
  package typealias Algorithm = DPG

  package static let summary = "distribution matching (dpg.method: dpg, gdc++, fdpg)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    (
      "method",
      variants(\.method)
        + TargetDivergence.allCases.map { divergence in
          MethodVariant(name: divergence.rawValue) {
            $0.method = .fdpg
            $0.divergence = divergence
          }
        }
    )
  }
  package mutating func setBeta(_ beta: Double) { self.beta = beta }
}

/// Distribution matching: the policy is brought to the target p ∝ ρ·e^{r/β}, the optimum of
/// E r − β·KL(π ‖ ρ), by answers weighted by how probable the target makes them.
///
/// r is the reward after normalisation and with the missing-end penalty in its place: β counts the
/// start's standard deviations of reward. A shift of r changes nothing, for Z(x) is each prompt's own,
/// estimated from its answers. `dpg` (Parshakova et al. 2019, arXiv:1912.08517) samples from a
/// proposal, a frozen copy of the policy that is replaced by it once, on fresh answers, the estimated
/// KL(p ‖ π) is below KL(p ‖ q). `gdc++` (Korbak et al. 2022, arXiv:2206.00761) and `fdpg` (Go et al.
/// 2023, arXiv:2302.08215) sample from the policy. On recorded samples the proposal is what they
/// record, for all three.
///
/// Differs from the papers: log Z(x) comes from the same few answers, with a bias of O(1/n); later
/// minibatches of a rollout are off-policy, which the weight π/q sets right.
public enum DPG: OnlineAlgorithm {
  /// Trains a policy on the answers that it samples or that are recorded, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: DPGSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    try settings.validate()
    let recorded = try RecordedSamples(data, start, settings: settings)
    let (loss, objective) = (settings.method.loss, settings.objective)
    let proposal =
      loss.keepsProposal && recorded == nil
      ? try start.model.copy(training: settings.trainable(start.model.spec)) : nil
    let run = try OnlineRun(
      "dpg", start, data: data, recorded: recorded, rewards: rewards, watched: watched,
      settings: settings, steps: settings.steps,
      inputs: [("reward", rewardFingerprint)], beside: proposal.map { [$0] } ?? [],
      own: { DistributionState() }, output: output, options: options)

    while run.goesOn {
      // 1. Answers of the proposal, their rewards, and their probability under policy and reference.
      let rollout = try run.score(run.sample(from: proposal))
      var totals = try run.measure(rollout)

      // 2. The policy as it is takes the proposal's place where it is nearer to the target. These
      // answers are fresh: what was trained on them would look better than it is.
      if let proposal {
        let fit = ProposalFit(
          rollout.groups(of: Array(rollout.prompts.indices), beta: settings.beta))
        // Before the first step both are one, and what tells them apart is rounding.
        let isCloser = run.state.rollout > 0 && fit?.policyIsCloser == true
        if isCloser { try proposal.setTrainedParameters(run.policy.trainedParameters()) }
        totals.addMean(.proposalReplaced, total: isCloser ? 1 : 0, weight: 1)
      }

      // 3. Epochs of minibatches over whole prompts.
      try run.passes(over: rollout, addingTo: &totals) { batch, isFirst, _ in
        try DistributionUpdate(
          rollout: rollout, batch: batch, loss: loss, objective: objective, beta: settings.beta,
          temperature: settings.temperature, budget: settings.pieceTokens
        ).accumulate(policy: run.policy, isFirst: isFirst, state: &run.state.own)
      }
      try run.finish(rollout, totals)
    }
    return try run.close(method: settings.method.rawValue)
  }
}

extension OnlineSettings {
  /// Checks the knobs of a target ρ·e^{r/β} whose normaliser comes from a prompt's own answers.
  func validateTarget() throws {
    try require(
      rollout.samplesPerPrompt > 1, "samples_per_prompt",
      "at least 2: a single answer's weight among itself is 1 whatever its reward")
  }
}
