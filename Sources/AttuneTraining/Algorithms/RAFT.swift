// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
package import AttuneObjectives
public import Foundation

/// The knobs of RAFT.
public struct RAFTSettings: PassesOverRollouts {
  /// Which answers are kept.
  public enum Selection: String, Codable, Sendable, CaseIterable {
    /// The best of each prompt.
    case best
    /// Each with probability e^{(r − best)/β}, so that those kept are drawn from π·e^{r/β}.
    case rejection

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .best: "the best of each prompt's answers by reward"
      case .rejection: "each answer with probability e^((r - best)/beta), the best always"
      }
    }
  }

  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.online(rate: 3e-4)
  /// Which answers are kept.
  public var selection = Selection.best
  /// How many of the best are kept of each prompt.
  public var keep = 1
  /// How answers are sampled.
  @Flattened public var rollout = RolloutSettings()
  /// Passes over a rollout.
  @Flattened public var passes = PassesSettings()
  /// β of `rejection`: what a reward, after normalisation and penalties, is divided by.
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
      Knob("selection", "Which answers are kept.", .choice(Selection.self)),
      Knob("keep", "How many of the best are kept of each prompt.", .whole(atLeast: 1)),
    ]
    + RolloutSettings.knobs + PassesSettings.knobs + [
      Knob(
        "beta",
        "β of `rejection`: what a reward, after normalisation and penalties, is divided by.",
        .number(.above(0))),
      RolloutSettings.klBudget,
    ]
    + RewardsSettings.knobs.saying(
      "normalise", "What rewards are normalised by, before β divides them.")
    + workKnobs

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    unreadSharedKnobs
      + (selection == .best
        ? [("beta", "selection is best, which looks at the order of rewards alone")]
        : [("keep", "selection is rejection, which keeps as many as it accepts")])
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try validatePasses()
    try validateTarget()
    try require(
      keep > 0 && keep < rollout.samplesPerPrompt, "keep",
      "at least 1 and below samples_per_prompt (\(rollout.samplesPerPrompt)), or nothing is chosen")
  }
}

extension RAFTSettings: OnlineMethod {
  package typealias Algorithm = RAFT

  package static let summary = "supervised learning from the best of n answers"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("selection", variants(\.selection))
  }
  package var readsBeta: Bool { selection == .rejection }

  package mutating func setBeta(_ beta: Double) { self.beta = beta }
}

/// Reward-ranked fine-tuning (Dong et al. 2023, arXiv:2304.06767): of each prompt's answers the best
/// are kept and learned by supervised fine-tuning, round after round; best-of-n made permanent.
///
/// A rollout is a round. The best of n differs from what drew it by at most log n − (n−1)/n nats a
/// sequence, which is what bounds one round; rounds add up, and nothing pulls back to the reference.
/// `rejection` accepts an answer with probability e^{(r − r_max)/β} (Liu et al. 2023,
/// arXiv:2309.06657): the answers kept are drawn from about π·e^{r/β}, where r_max of the prompt's own
/// answers stands for the greatest there is. Of equal rewards the first drawn wins. Differs from the
/// paper: the loss is taken at the sampling temperature, and a round may be as small as one step.
public enum RAFT: OnlineAlgorithm {
  private struct State: Codable {
    /// Mean over the last rollout's prompts; nil before the first, and for `rejection`.
    var bound: Double?
  }

  /// Trains a policy on the answers that it samples or that are recorded, and writes it.
  public static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)? = nil, settings: RAFTSettings,
    output: URL, options: RunOptions = RunOptions()
  ) throws -> OnlineReport {
    try settings.validate()
    let recorded = try RecordedSamples(
      data, start, settings: settings, minimum: settings.selection == .best ? settings.keep + 1 : 2)
    let run = try OnlineRun(
      "raft", start, data: data, recorded: recorded, rewards: rewards, watched: watched,
      settings: settings, steps: settings.steps,
      inputs: [("reward", rewardFingerprint)], own: { State() }, output: output,
      options: options)

    while run.goesOn {
      // 1. Answers and their rewards.
      let rollout = try run.score(run.sample())
      var totals = try run.measure(rollout)

      // 2. Those that are kept.
      var chosen: [Int] = []
      for prompt in rollout.prompts.indices {
        let own = rollout.sampled.indices(of: [prompt]).answers
        let random = CounterRandom(
          seed: settings.seed, UInt64(run.state.rollout), UInt64(prompt))
        chosen += settings.kept(of: own.map { rollout.answers[$0].score }, random).map { own[$0] }
        if settings.selection == .best {
          totals.addMean(
            .klBestOfN, total: BestOfN.klBound(of: own.count, keeping: settings.keep), weight: 1)
        }
      }
      let kept = try rollout.keeping(answers: chosen)
      totals.addMean(
        .keptReward, total: kept.answers.reduce(0) { $0 + $1.reward },
        weight: Double(kept.answers.count))
      run.state.own.bound = totals[.klBestOfN]

      // 3. Supervised fine-tuning on them.
      try run.passes(over: kept, addingTo: &totals) { batch, _, _ in
        try kept.supervise(
          batch, into: run.policy, temperature: settings.temperature, budget: settings.pieceTokens)
      }
      try run.finish(rollout, totals)
    }
    var report = try run.close()
    report.bestOfNBound = run.state.own.bound
    return report
  }
}

extension RAFTSettings {
  /// Which of a prompt's answers are kept, in the order in which they were drawn.
  ///
  /// - Parameters:
  ///   - scores: Their rewards.
  ///   - random: Random numbers of this prompt's own.
  package func kept(of scores: [Double], _ random: CounterRandom) -> [Int] {
    switch selection {
    case .best:
      return scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(keep).sorted()
    case .rejection:
      let best = scores.max() ?? 0
      return scores.indices.filter {
        random.uniform(UInt64($0)) < exp((scores[$0] - best) / beta)
      }
    }
  }
}
