// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of distillation.
public struct DistillSettings: PassesOverRollouts, CorrectsSampler {
  /// Which tokens a reverse KL is of.
  public enum Tokens: String, Codable, Sendable, CaseIterable {
    /// All of the vocabulary, at every position of an answer.
    case all
    /// Those that were sampled, by the policy gradient.
    case sampled
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 1e-3)
  /// Whom the policy is to become like: a model, or `same`, the one that it starts from.
  public var teacher = "same"
  /// What the teacher is told as the system's words, and the policy is not.
  public var teacherSystem = ""
  /// Which divergence from the teacher is brought down, on whose answers.
  public var method = DistillationLoss.reverseKL
  /// Which tokens the divergence of `reverse_kl` is of.
  public var tokens = Tokens.all
  /// γ of sampled tokens: 0 where each answers for itself, 1 for all after it.
  public var discount = 0.0
  /// β of sampled tokens: where the policy is to end is π_ref^{1 − 1/β}·T^{1/β}/Z.
  public var beta = 1.0
  /// β of the generalised Jensen–Shannon divergence of `gkd`: near 0 forward, near 1 reverse KL.
  public var jsdBeta = 0.5
  /// λ of `gkd`: the share of the prompts that the policy answers itself.
  public var ownShare = 0.5
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// What makes up for a sampler of other numbers than the trainer's.
  @Flattened public var correction = SamplerCorrection()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()

  /// The defaults.
  public init() {
    passes.minibatches = 1
  }

  /// Rewards are measured as they are: nothing climbs them.
  public var rewards: RewardsSettings {
    get {
      var rewards = RewardsSettings()
      rewards.normalise = .none
      rewards.penaliseMissingEnd = false
      return rewards
    }
    set {}
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + [
      Knob(
        "teacher",
        "Whom the policy is to become like: a model, or `same`, the one that it starts from.", .text
      ),
      Knob(
        "teacher_system",
        "What the teacher is told as the system's words, and the policy is not; empty is nothing.",
        .text),
      Knob(
        "method", "Which divergence from the teacher is brought down, on whose answers.",
        .choice(DistillationLoss.self)),
      Knob(
        "tokens", "Which tokens the divergence of `reverse_kl` is of.", .choice(Tokens.self)),
      Knob(
        "discount", "γ of sampled tokens: 0 where each answers for itself, 1 for all after it.",
        .number(.from(0, to: 1))),
      Knob(
        "beta",
        "β of sampled tokens: where the policy is to end is π_ref^(1 − 1/β)·T^(1/β)/Z, the teacher at 1.",
        .number(.above(0))),
      Knob(
        "jsd_beta",
        "β of the generalised Jensen–Shannon divergence of `gkd`: near 0 forward, near 1 reverse KL.",
        .number(.above(0, below: 1))),
      Knob(
        "own_share", "λ of `gkd`: the share of the prompts that the policy answers itself.",
        .number(.from(0, to: 1))),
    ]
    + RolloutSettings.knobs + SamplerCorrection.knobs + PassesSettings.knobs
    + [RolloutSettings.klBudget] + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = training.weights.unreadKnobs + rollout.unreadKnobs
    let own: [(knob: String, by: DistillationLoss)] = [
      ("tokens", .reverseKL), ("jsd_beta", .gkd), ("own_share", .gkd),
    ]
    for (knob, loss) in own where loss != method {
      list.append((knob, "method is \(method.rawValue); \(loss.rawValue) reads it"))
    }
    if isSampled { return list + unreadCorrectionKnobs }
    let why =
      method == .reverseKL
      ? "tokens is all" : "method is \(method.rawValue); reverse_kl of sampled tokens reads it"
    return list + ["discount", "beta", "importance_weights", "importance_cap"].map { ($0, why) }
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validatePasses()
    try require(!teacher.isEmpty, "teacher", "a model, or same")
    try require(
      teacher != Teacher.same || !teacherSystem.isEmpty, "teacher_system",
      "said where teacher is same: the policy begins as what it is to become")
    try require(
      samplesPolicy || rollout.samplers == .own, "samplers",
      "own where method is \(method.rawValue): answers are the teacher's")
    try require(
      method != .gkd || ownShare == 1 || rollout.samplers == .own, "samplers",
      "own where the teacher answers some prompts (own_share \(ownShare))")
    try require(
      beta == 1 || discount == 1, "discount",
      "1 where beta is not 1: the power of the teacher is that of whole answers")
  }

  /// Whether the loss is of sampled tokens.
  var isSampled: Bool { method == .reverseKL && tokens == .sampled }
  /// Whether the policy answers any prompt.
  var samplesPolicy: Bool { method != .sequence && (method != .gkd || ownShare > 0) }

  /// The policy loss's knobs of sampled tokens.
  var objective: PolicySettings {
    var objective = PolicySettings()
    objective.correction = correction
    return objective
  }
}

extension DistillSettings: OnlineMethod {
  package typealias Algorithm = Distill

  package static let summary = "distillation from a teacher (distill.teacher)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    (
      "method",
      variants(\.method) + [
        MethodVariant(name: "sampled") {
          $0.method = .reverseKL
          $0.tokens = .sampled
          $0.discount = 1
        }
      ]
    )
  }
  package var readsBeta: Bool { isSampled && discount == 1 }
  package mutating func setBeta(_ beta: Double) { self.beta = beta }
}

/// Distillation: the policy is brought to a teacher's distribution.
///
/// `reverse_kl` and `forward_kl` bring down the divergence of the next token at every position of the
/// policy's own answers (on-policy distillation), `gkd` the generalised Jensen–Shannon divergence on a
/// mixture of them with the teacher's (Agarwal et al. 2024, arXiv:2306.13649), `sequence` makes the
/// teacher's answers more probable (Kim and Rush 2016). On recorded samples those take the place of the
/// policy's own, in `gkd` and `sequence` of the teacher's. Teacher, policy and reference are taken at the
/// sampling temperature. With `teacher` same and words of a system, the policy learns to do without them
/// (context distillation, Snell et al. 2022, arXiv:2209.15189).
///
/// Where no reward is given, that of an answer is log T/π_ref, whose optimum at β = 1 is the teacher; a
/// reward that is given is measured and not climbed.
///
/// Differs from GKD's paper: whose answers a prompt gets is drawn a prompt, not a batch.
public enum Distill: OnlineAlgorithm {
  private struct State: Codable {}

  /// Trains a policy on its teacher's distribution, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: DistillSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    try settings.validate()
    guard !rewards.isEmpty || settings.keepBest == .none else {
      throw TrainingError(
        .badSetting, "keep_best is \(settings.keepBest.rawValue), and there is no reward (--reward)"
      )
    }
    if let constraint = rewards.first(where: { $0.source is Constraint }) {
      throw TrainingError(
        .badSetting,
        "constraint \(constraint.source.name): distill climbs no reward that a price could be taken off; "
          + "watch it (--reward)")
    }
    let teacher = try Teacher(settings, of: start)
    let recorded = try RecordedSamples(
      data, start, settings: settings, minimum: 1, besideSampling: settings.method == .gkd)
    guard recorded == nil || !settings.isSampled else {
      throw TrainingError(
        .badSetting,
        "tokens is sampled, and \(data.url.path) holds answers that the policy did not draw; set tokens=all"
      )
    }
    if let remark = settings.remark { options.say(remark) }
    let run = try OnlineRun(
      "distill", start, data: data, recorded: recorded, rewards: rewards, watched: watched,
      teacher: teacher, settings: settings, steps: settings.steps,
      inputs: [("teacher", teacher.fingerprint), ("reward", rewardFingerprint)],
      own: { State() }, output: output, options: options)

    while run.goesOn {
      // 1. Answers: the policy's own, the teacher's, or those that are recorded.
      let sampled = try run.sample(own: { draw, place in
        switch settings.method {
        case .reverseKL, .forwardKL: recorded == nil
        case .sequence: false
        case .gkd: settings.isOwn(draw: draw, place: place)
        }
      })

      // 2. What the teacher says of them, and steps towards it.
      let rollout: ScoredRollout
      var totals: MetricTotals
      if settings.isSampled {
        (rollout, totals) = try run.update(
          sampled, .ppo, settings.objective, advantagesReadPolicy: true
        ) { $0.distillationAdvantages(beta: settings.beta, discount: settings.discount) }
      } else {
        rollout = try run.score(
          sampled, asksPolicy: sampled.isOffPolicy || sampled.samplerDiffers)
        totals = MetricTotals()
        try run.passes(over: rollout, addingTo: &totals) { batch, _, _ in
          guard let mix = settings.method.mix(jsdBeta: settings.jsdBeta) else {
            return try rollout.supervise(
              batch, into: run.policy, temperature: settings.temperature,
              budget: settings.pieceTokens)
          }
          return try teacher.teach(rollout, batch, mix: mix, to: run.policy)
        }
      }
      totals.merge(try run.measure(rollout))
      if settings.method == .gkd {
        let own = sampled.prompts.indices.count(where: {
          settings.isOwn(draw: run.state.rollout, place: $0)
        })
        totals.addMean(.ownShare, total: Double(own), weight: Double(sampled.prompts.count))
      }
      try run.finish(rollout, totals)
    }
    return try run.close(method: settings.method.rawValue)
  }
}

extension DistillSettings {
  /// Whether the policy answers a prompt itself, by a random number of the draw and the prompt's place.
  fileprivate func isOwn(draw: Int, place: Int) -> Bool {
    CounterRandom(seed: seed ^ 0xD157, UInt64(draw)).uniform(UInt64(place)) < ownShare
  }

  /// What a person should know of β.
  fileprivate var remark: String? {
    guard isSampled, beta != 1 else { return nil }
    let power = readable(1 / beta)
    guard beta < 1 else {
      return "beta \(readable(beta)): between the start and the teacher, T^\(power) of it"
    }
    return "beta \(readable(beta)) is below 1: beyond the teacher, T^\(power) with "
      + "π_ref^\(readable(1 - 1 / beta)); what the start hardly says gets the more weight, and this can't be "
      + "normalised where the teacher says what the start never does"
  }
}
