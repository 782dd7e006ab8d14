// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of GRPO and its variants.
public struct GRPOSettings: PassesOverRollouts, HasKLTerm, CorrectsSampler {
  /// Which method of the family.
  public enum Variant: String, Codable, Sendable, CaseIterable {
    case grpo
    case drGrpo = "dr_grpo"
    case dapo, gspo, cispo

    /// Its loss.
    public var loss: PolicyLoss {
      switch self {
      case .grpo: .grpo
      case .drGrpo: .drGrpo
      case .dapo: .dapo
      case .gspo: .gspo
      case .cispo: .cispo
      }
    }
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 1e-3)
  /// Which method of the family.
  public var variant = Variant.grpo
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// What makes up for a sampler of other numbers than the trainer's.
  @Flattened public var correction = SamplerCorrection()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// Weight of the KL term in the loss; null is the variant's own (`grpo` 0.04, the others 0).
  @OwnDefault public var beta: Double? = nil
  /// How that term is estimated.
  @Flattened public var klTerm = KLTermSettings()
  /// The ratio is clipped at 1 − this; null is the variant's own (0.2, `gspo` 3e-4; `cispo` has none).
  @OwnDefault public var clipLow: Double? = nil
  /// The ratio is clipped at 1 + this; null is the variant's own (0.2, `dapo` 0.28, `gspo` 4e-4,
  /// `cispo` 4).
  @OwnDefault public var clipHigh: Double? = nil
  /// What `dr_grpo` divides an answer's sum by, in tokens; 0 is `max_tokens`.
  public var fixedLength = 0
  /// How many draws of prompts `dapo` makes at most to fill a rollout with prompts whose answers are
  /// not all of one reward.
  public var maxDraws = 4
  /// Tokens before `max_tokens` over which `dapo` takes up to 1 off an answer's score; 0 is a fifth of
  /// `max_tokens`.
  public var overlongCache = 0
  /// Weight of the entropy bonus.
  public var entropyBonus = 0.0
  /// What becomes of rewards.
  @Flattened public var rewards = RewardsSettings()

  /// The defaults.
  public init() {
    rollout.samplesPerPrompt = 8
    rewards.normalise = .none
    rewards.penaliseMissingEnd = false
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + [
      Knob("variant", "Which method of the family.", .choice(Variant.self))
    ]
    + RolloutSettings.knobs + SamplerCorrection.knobs + PassesSettings.knobs + [
      Knob(
        "beta",
        "Weight of the KL term in the loss; null is the variant's own (`grpo` 0.04, the others 0).",
        .number(.atLeast(0)), orNull: true)
    ]
    + KLTermSettings.knobs(of: "grpo") + [
      RolloutSettings.klBudget,
      Knob(
        "clip_low",
        "The ratio is clipped at 1 − this; null is the variant's own (0.2, `gspo` 3e-4; `cispo` has "
          + "none).", .number(.from(0, to: 1)), orNull: true),
      Knob(
        "clip_high",
        "The ratio is clipped at 1 + this; null is the variant's own (0.2, `dapo` 0.28, `gspo` 4e-4, "
          + "`cispo` 4).", .number(.atLeast(0)), orNull: true),
      Knob(
        "fixed_length",
        "What `dr_grpo` divides an answer's sum by, in tokens; 0 is `max_tokens`.",
        .whole(atLeast: 0)),
      Knob(
        "max_draws",
        "How many draws of prompts `dapo` makes at most to fill a rollout with prompts whose answers "
          + "are not all of one reward.", .whole(1...64)),
      Knob(
        "overlong_cache",
        "Tokens before `max_tokens` over which `dapo` takes up to 1 off an answer's score; 0 is a "
          + "fifth of `max_tokens`.", .whole(atLeast: 0)),
      Knob.entropyBonus,
    ] + RewardsSettings.knobs + workKnobs

  /// The policy loss's knobs: the variant's own where nothing else is said.
  var objective: PolicySettings {
    var objective = variant.loss.defaults
    if let beta { objective.klWeight = beta }
    if let clipLow { objective.clipLow = clipLow }
    if let clipHigh { objective.clipHigh = clipHigh }
    objective.klTerm = klTerm
    objective.entropyBonus = entropyBonus
    objective.correction = correction
    objective.maximumLength = fixedLength > 0 ? fixedLength : rollout.maxTokens
    return objective
  }

  /// Tokens over which `dapo`'s penalty rises.
  var overlongTokens: Int { overlongCache > 0 ? overlongCache : max(1, rollout.maxTokens / 5) }

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = unreadSharedKnobs + unreadCorrectionKnobs
    func only(_ reader: Variant, _ knobs: String...) {
      guard variant != reader else { return }
      list += knobs.map { ($0, "\(variant.rawValue) does not read it; \(reader.rawValue) does") }
    }
    only(.drGrpo, "fixed_length")
    only(.dapo, "max_draws", "overlong_cache")
    if variant == .cispo { list.append(("clip_low", "cispo cuts the ratio above alone")) }
    if objective.klWeight == 0 { list += KLTermSettings.unreadKnobs("beta is 0") }
    return list
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validatePasses()
    try validateKLTerm()
    try require(
      rollout.samplesPerPrompt > 1, "samples_per_prompt",
      "at least 2: an answer is held against the mean of its prompt's")
    try require(
      (0...rollout.maxTokens).contains(overlongCache), "overlong_cache",
      "between 0 and max_tokens (\(rollout.maxTokens))")
  }
}

extension GRPOSettings: OnlineMethod {
  package typealias Algorithm = GRPO

  package static let summary =
    "group-normalised advantages (grpo.variant: dr_grpo, dapo, gspo, cispo)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("variant", variants(\.variant))
  }
  /// `dapo` may draw a rollout's prompts several times.
  package var sampledAnswers: Int { rollout.answers * (variant == .dapo ? maxDraws : 1) }

  package mutating func setBeta(_ beta: Double) { self.beta = beta }
}

/// Group-relative policy optimisation and what came after it: an answer's reward against the mean of
/// its prompt's answers, no value head (Shao et al. 2024, arXiv:2402.03300).
///
/// All but `dr_grpo` divide by the standard deviation of the prompt's rewards, which makes prompts
/// equally strong whatever their rewards' spread and moves the optimum with it. `dapo` (Yu et al. 2025,
/// arXiv:2503.14476) draws other prompts in place of those whose answers all got one score, and takes
/// up to 1 off the score of answers near the token limit. The variants' losses are `PolicyLoss`'s. With
/// `normalise` sources, several rewards are normalised one by one, summed, and the sum divided by the
/// deviation of all answers (GDPO: Liu et al. 2026, arXiv:2601.05242).
///
/// Differs from the papers: what is reported of a `dapo` rollout, and what the KL budget looks at, is
/// its first draw, since prompts that were kept are no fair sample; where `max_draws` draws don't fill
/// a rollout, it is as large as they made it.
public enum GRPO: OnlineAlgorithm {
  private struct State: Codable {
    /// Draws of prompts so far.
    @Count var draws = 0
  }

  /// Trains a policy on the answers that it samples, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: GRPOSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    let run = try OnlineRun(
      "grpo", start, data: data, rewards: rewards, watched: watched, settings: settings,
      steps: settings.steps, inputs: [("reward", rewardFingerprint)], own: { State() },
      output: output,
      options: options)
    let variant = settings.variant
    let objective = settings.objective

    while run.goesOn {
      /// Each answer against the mean of its prompt's.
      func advantages(_ rollout: inout ScoredRollout) throws -> MetricTotals {
        // Where each source was normalised before the sum, the sum is by all answers' deviation (GDPO).
        let isSum = settings.normalise == .sources
        let scale =
          isSum && variant != .drGrpo
          ? Statistics.standardDeviation(rollout.answers.map(\.score)) + 1e-4 : 1
        return try rollout.groupAdvantages(beta: 0, lossBeta: objective.klWeight) {
          try Advantage.groupNormalised($0, scaling: variant != .drGrpo && !isSum)
            .map { $0 / scale }
        }
      }
      var totals: MetricTotals
      var (draws, found) = (1, 0)
      // The answers that are measured.
      let fair: ScoredRollout
      if variant == .dapo {
        // 1. Answers, until a rollout is full of prompts whose answers can be told apart.
        var drawn: [ScoredRollout] = []
        repeat {
          var draw = try run.score(run.sample(draw: run.state.own.draws + drawn.count))
          draw.penaliseOverlong(limit: settings.maxTokens, cache: settings.overlongTokens)
          found += draw.promptsToldApart.count
          drawn.append(draw)
        } while found < settings.promptsPerRollout && drawn.count < settings.maxDraws
        draws = drawn.count
        let apart = try ScoredRollout.joining(drawn.map { try $0.keeping($0.promptsToldApart) })

        // 2. Steps on them. What is measured is the first draw: prompts that are kept are no fair sample.
        totals = try run.update(
          apart.keeping(Array(apart.prompts.indices.prefix(settings.promptsPerRollout))),
          variant.loss, objective, advantages: advantages
        ).totals
        fair = drawn[0]
      } else {
        // 1. Answers, and steps on them.
        (fair, totals) = try run.update(
          run.sample(draw: run.state.own.draws), variant.loss, objective,
          advantagesReadPolicy: false, advantages: advantages)
        found = fair.promptsToldApart.count
      }

      // 3. What the answers look like.
      let prompts = Double(draws * settings.promptsPerRollout)
      totals.addMean(.equalRewardShare, total: prompts - Double(found), weight: prompts)
      if variant == .dapo { totals.add(.draws, Double(draws)) }
      if objective.klWeight > 0 { totals.add(.beta, objective.klWeight) }
      totals.merge(try run.measure(fair))
      run.state.own.draws += draws
      try run.finish(fair, totals)
    }
    return try run.close(method: variant.rawValue)
  }
}
