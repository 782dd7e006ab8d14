// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of PPO.
public struct PPOSettings: SteersKL, PassesOverRollouts, CorrectsSampler {
  /// Which method of the family.
  public enum Variant: String, Codable, Sendable, CaseIterable {
    /// Advantages from a value head.
    case ppo
    /// No value head: the return to go, normalised over all tokens of the rollout.
    case reinforcePlusPlus = "reinforce++"

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .ppo: "advantages from a value head"
      case .reinforcePlusPlus: "no value head: returns normalised over all tokens of a rollout"
      }
    }
  }

  /// Where values come from.
  public enum Value: String, Codable, Sendable, CaseIterable {
    /// A head on the policy's own trunk, from zero.
    case shared
    /// A model of its own, from the start's weights and a zero head, or from a reward model.
    case separate
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 3e-4)
  /// Which method of the family.
  public var variant = Variant.ppo
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// What makes up for a sampler of other numbers than the trainer's.
  @Flattened public var correction = SamplerCorrection()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// The KL term in the reward.
  @Flattened public var steering = SteeredKLSettings()
  /// Discount.
  public var gamma = 1.0
  /// λ of generalised advantage estimation.
  public var lambda = 0.95
  /// The ratio is clipped at 1 ± this.
  public var clip = 0.2
  /// The value may move this far from the rollout's; 0 is no clipping.
  public var valueClip = 0.2
  /// Weight of the value loss.
  public var valueCoefficient = 0.1
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// Whether advantages are whitened over the rollout.
  public var whiten = true
  /// Whether token rewards are whitened, their mean kept.
  public var whitenRewards = false
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()
  /// Whether what is said of an answer's steps is given at these, not at its end.
  public var stepRewards = false
  /// Where values come from.
  public var value = Value.shared
  /// Highest learning rate of a separate value model.
  public var valueLearningRate = 3e-4
  /// Weight of the supervised loss that is mixed in; 0 is off.
  public var ptxWeight = 0.0
  /// Rows of the mixed-in text that an optimiser step sees.
  public var ptxBatchSize = 4

  /// The defaults.
  public init() {
    passes.epochs = 2
    steering.beta = 0.1
    steering.adaptiveKl = true
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + [
      Knob("variant", "Which method of the family.", .choice(Variant.self))
    ]
    + RolloutSettings.knobs + SamplerCorrection.knobs + PassesSettings.knobs
    + SteeredKLSettings.knobs("the KL term in the reward") + [
      RolloutSettings.klBudget,
      Knob("gamma", "Discount.", .number(.from(0, to: 1))),
      Knob("lambda", "λ of generalised advantage estimation.", .number(.from(0, to: 1))),
      Knob.clip,
      Knob(
        "value_clip", "The value may move this far from the rollout's; 0 is no clipping.",
        .number(.atLeast(0))),
      Knob.valueCoefficient, Knob.entropyBonus,
      Knob("whiten", "Whether advantages are whitened over the rollout.", .flag),
      Knob("whiten_rewards", "Whether token rewards are whitened, their mean kept.", .flag),
    ]
    + RewardsSettings.knobs + [
      Knob(
        "step_rewards",
        "Whether what a reward says of an answer's steps (`model:DIR:min`, `:shaping`) is given at these, not at the answer's "
          + "end.", .flag),
      Knob("value", "Where values come from.", .choice(Value.self)),
      Knob(
        "value_learning_rate",
        "Highest learning rate of a separate value model; follows train as learning_rate does.",
        .number(.above(0))),
      Knob(
        "ptx_weight", "Weight of the supervised loss that is mixed in; 0 is off.",
        .number(.atLeast(0))),
      Knob(
        "ptx_batch_size", "Rows of the mixed-in text that an optimiser step sees.",
        .whole(atLeast: 1)),
    ] + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadSharedKnobs + unreadKLKnobs + unreadCorrectionKnobs
    if !hasValues {
      let names = [
        "value", "value_clip", "value_coefficient", "value_learning_rate", "lambda", "whiten",
      ]
      list += names.map { ($0, "reinforce++ has no value head and always normalises advantages") }
    } else if value == .shared {
      list.append(("value_learning_rate", "value is shared"))
    }
    if ptxWeight == 0 { list.append(("ptx_batch_size", "ptx_weight is 0")) }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validateKL()
    try validatePasses()
    try require(
      !stepRewards || rewards.normalise != .sources, "step_rewards",
      "false where normalise is sources, which is of whole answers")
  }

  /// Whether advantages are held against values.
  var hasValues: Bool { variant == .ppo }

  /// The policy loss's knobs.
  var objective: PolicySettings {
    var objective = PolicySettings(clip: clip, entropyBonus: entropyBonus)
    objective.correction = correction
    return objective
  }

  /// The value loss's knobs.
  var valueObjective: ValueSettings {
    var objective = ValueSettings()
    objective.clip = valueClip > 0 ? valueClip : nil
    objective.coefficient = valueCoefficient
    return objective
  }
}

extension PPOSettings: OnlineMethod {
  package typealias Algorithm = PPO

  package static let summary = "proximal policy optimisation (ppo.variant: reinforce++)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("variant", variants(\.variant))
  }
}

/// Proximal policy optimisation with a KL penalty in the reward.
///
/// Answers are sampled, rewarded and compared with what the value head expected; the policy then
/// makes the tokens that did better more probable, within a clipped ratio (Schulman et al. 2017;
/// details of Huang et al. 2024, arXiv:2403.17031). The reward of a token is
/// −β·(log π_old − log π_ref), the answer's score added at its last token. `reinforce++` (Hu 2025,
/// arXiv:2501.03262) has no value head: a token's advantage is the return from it on, normalised over
/// all tokens of the rollout. With `step_rewards` the score of a process reward model comes in parts, at the end of
/// each step what that step added to it, which leaves the optimum as it is (Ng et al. 1999).
///
/// Differs from the paper: the answers to a prompt stay together in a minibatch, so that they share
/// its pass; the frozen layers' results are computed once a rollout, for policy, reference, reward
/// model and every epoch.
public enum PPO: OnlineAlgorithm {
  /// Trains a policy on the answers that it samples, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)?, settings: PPOSettings, output: URL,
    options: RunOptions
  ) throws -> OnlineReport {
    try train(
      start, data: data, rewards: rewards, rewardFingerprint: rewardFingerprint, valueStart: nil,
      watched: watched, mixed: nil, settings: settings, output: output, options: options)
  }

  /// The same with what PPO alone reads: `valueStart`, a reward model that a separate value model starts from, and
  /// `mixed`, rows whose supervised loss is mixed in (ptx).
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, valueStart: LoadedModel? = nil,
    watched: (any RewardSource)? = nil, mixed: DataFile? = nil, settings: PPOSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    try settings.validate()
    try require(
      !settings.stepRewards || rewards.contains(where: \.source.hasParts), "step_rewards",
      "false where no reward says anything of an answer's steps, as model:DIR:min does")
    try require(
      settings.gamma == 1 || !rewards.contains(where: \.source.isShaping), "gamma",
      "1 where a reward is shaping, which else moves the optimum")
    RunFolder.resumeClock(of: output, options)
    let ptx = try settings.ptx(
      mixed, try TextEncoder(start, maximumLength: settings.maxLength), say: options.say)
    let separate = try settings.valueModel(start, from: valueStart)
    let headOnPolicy = settings.hasValues && separate == nil
    let mixedDigest = try mixed.map { try Fingerprint.of(data: $0) } ?? "none"
    let run = try OnlineRun(
      "ppo", start, data: data, rewards: rewards, watched: watched, settings: settings,
      steps: settings.steps,
      inputs: [
        ("reward", rewardFingerprint), ("value start", valueStart?.fingerprint ?? "none"),
        ("ptx data", mixedDigest),
      ],
      valueHead: headOnPolicy, givesParts: settings.stepRewards,
      beside: separate.map { [$0] } ?? [],
      own: { try settings.klControl() }, output: output, options: options)
    let value = headOnPolicy ? run.policy : separate
    var ptxOrder = BatchOrder(
      rows: max(1, ptx.count), batch: settings.ptxBatchSize, seed: settings.seed)

    while run.goesOn {
      // 1. Answers, their rewards, and log-probabilities that stay as they are for all epochs.
      var rollout = try run.score(run.sample(), value: value)

      // 2. Advantages, once a rollout; where nothing is expected, a return is held against 0.
      if !settings.hasValues { rollout.expect(rollout.answers.map { _ in 0 }) }
      var totals = rollout.advantages(
        beta: run.state.own.beta, gamma: settings.gamma,
        lambda: settings.hasValues ? settings.lambda : 1, whitenRewards: settings.whitenRewards,
        whiten: settings.whiten || !settings.hasValues)
      totals.merge(run.state.own.metrics)
      totals.merge(try run.measure(rollout))

      // 3. Epochs of minibatches over whole prompts.
      try run.passes(over: rollout, addingTo: &totals) { batch, isFirst, rate in
        separate?.zeroGradients()
        var measured = try PolicyUpdate(
          batch: batch, loss: .ppo, objective: settings.objective,
          valueObjective: settings.valueObjective, temperature: settings.temperature,
          budget: settings.pieceTokens
        ).accumulate(rollout, policy: run.policy, value: value, checkingRatio: isFirst)
        if !ptx.isEmpty {
          let rows = ptxOrder.rows(of: run.state.step).map { ptx[$0] }
          measured.merge(try settings.mix(rows, into: run.policy))
        }
        try separate?.step(
          run.optimizer,
          learningRate: rate / settings.learningRate * settings.valueLearningRate,
          maximumNorm: settings.gradientBound)
        return measured
      }

      // 4. β follows the KL that this rollout showed.
      run.state.own.update(kl: rollout.statistics.klPerSequence)
      try run.finish(rollout, totals)
    }
    return try run.close(method: settings.variant.rawValue)
  }
}

extension PPOSettings {
  /// The separate value model, if there is to be one.
  func valueModel(_ start: LoadedModel, from reward: LoadedModel?) throws -> (any LanguageModel)? {
    guard hasValues, value == .separate else {
      guard reward == nil else {
        throw TrainingError(
          .badSetting,
          "a value model to start from is given but not read: "
            + (hasValues ? "value is shared" : "reinforce++ has no value head"))
      }
      return nil
    }
    guard let reward else {
      return try start.model.copy(training: trainable(start.model.spec), scalarHead: .zero)
    }
    guard reward.model.hasScalarHead else {
      throw TrainingError(.badModel, "\(reward.name): is no reward model to start values from")
    }
    guard reward.model.trainedCount > 0 else {
      return try reward.model.copy(training: trainable(reward.model.spec))
    }
    // Made beside the start: its own adapters or layers go on, on the same frozen weights.
    let model = try start.model.copy(training: reward.model.trainable, scalarHead: .zero)
    try model.setTrainedParameters(reward.model.trainedParameters())
    return model
  }

  /// The rows of the mixed-in text.
  func ptx(
    _ data: DataFile?, _ encoder: TextEncoder, say: (String) -> Void
  ) throws -> [EncodedGroup] {
    guard let data else {
      try require(ptxWeight == 0, "ptx_weight", "0 where no data are given to mix in")
      return []
    }
    try require(ptxWeight > 0, "ptx_weight", "above 0 where data are given to mix in")
    guard data.kind == .languageModelling || data.kind == .promptCompletion else {
      throw TrainingError(
        .badData,
        "\(data.url.path): holds \(data.kind.rawValue) data; texts or prompt–completion "
          + "rows can be mixed in")
    }
    var account = RowAccount(data)
    let groups = try account.rows(data) { try encoder.learned($0) }.flatMap(\.self)
    let remark = account.summary(of: data.url.path)
    guard !groups.isEmpty else {
      throw TrainingError(.badData, remark ?? "\(data.url.path): has no rows to mix in")
    }
    if let remark { say(remark) }
    return groups
  }

  /// Adds the gradient of the mixed-in supervised loss.
  func mix(_ rows: [EncodedGroup], into policy: any LanguageModel) throws -> MetricTotals {
    var supervised = SFTSettings()
    supervised.pieceTokens = training.engine.pieceTokens
    let loss = try accumulateSFT(policy, rows, settings: supervised, weight: ptxWeight).loss
    var totals = MetricTotals()
    totals.addMean(.mixLoss, total: ptxWeight * loss, weight: 1)
    return totals
  }
}
