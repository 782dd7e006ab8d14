// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
package import AttuneObjectives
public import Foundation

/// The knobs of RAFT.
public struct RAFTSettings: OnlineSettings {
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

  /// Which numbers are trained.
  public var train = TrainedPart.lora
  /// Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is all.
  public var layers = 10
  /// Rank of the adapters.
  public var rank = 16
  /// Scale of the adapters, divided by the rank.
  public var alpha = 32.0
  /// The matrices that carry adapters.
  public var projections = Projection.allCases
  /// Whether adapters are merged into the weights when the policy is written.
  public var merge = false

  /// Which answers are kept.
  public var selection = Selection.best
  /// How many of the best are kept of each prompt.
  public var keep = 1
  /// How often answers are sampled.
  public var rollouts = 16
  /// Prompts of a rollout.
  public var promptsPerRollout = 8
  /// Answers to each prompt.
  public var samplesPerPrompt = 8
  /// Longest answer in tokens.
  public var maxTokens = 48
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 0
  /// Sampling temperature; log-probabilities are taken at it too.
  public var temperature = 1.0
  /// Passes over a rollout.
  public var epochs = 1
  /// Optimiser steps of a pass.
  public var minibatches = 2

  /// β of `rejection`: what a reward, after normalisation and penalties, is divided by.
  public var beta = 0.5
  /// Training ends when KL in nats a sequence is above this; 0 is never.
  public var klBudget = 0.0
  /// What rewards are normalised by, before β divides them.
  public var normalise = RewardNormalisation.start
  /// Whether an answer that did not end by itself gets `missing_end_reward` instead of its score.
  public var penaliseMissingEnd = true
  /// That reward, after normalisation.
  public var missingEndReward = -1.0

  /// Highest learning rate.
  public var learningRate = 3e-4
  /// How the learning rate falls.
  public var decay = Decay.linear
  /// Steps over which the learning rate rises; at most a tenth of all.
  public var warmupSteps = 0
  /// Adam's ε.
  public var adamEpsilon = 1e-5
  /// Share of each trained number taken away a step, times the learning rate.
  public var weightDecay = 0.0
  /// The gradient is scaled down to this norm; 0 is never.
  public var maxGradientNorm = 1.0
  /// A sample is shown every so many rollouts; 0 is never.
  public var showEvery = 4
  /// Tokens that are worked on at once; more are cut between prompts, with the same result.
  public var pieceTokens = 512
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false
  /// Seconds between checkpoints, which are written between rollouts.
  public var checkpointSeconds = 60.0
  /// The seed of samples and orders.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

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
    try validate(minibatches: minibatches)
    try validateTarget()
    try require(
      keep > 0 && keep < samplesPerPrompt, "keep",
      "at least 1 and below samples_per_prompt (\(samplesPerPrompt)), or nothing is chosen")
  }
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
public enum RAFT {
  private struct State: Codable {
    /// Mean over the last rollout's prompts; nil before the first, and for `rejection`.
    var bound: Double?
  }

  /// Trains a policy and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; it is the reference too.
  ///   - data: Prompts, or samples, whose answers then take the place of the policy's own.
  ///   - rewards: Where rewards come from, each with its weight.
  ///   - rewardFingerprint: What tells these sources from others, for the run's record.
  ///   - watched: A reward that is only measured.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
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
      settings: settings, steps: settings.rollouts * settings.epochs * settings.minibatches,
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
        let random = AttuneObjectives.CounterRandom(
          seed: settings.seed, UInt64(run.state.rollout), UInt64(prompt))
        chosen += settings.kept(of: own.map { rollout.answers[$0].score }, random).map { own[$0] }
        if settings.selection == .best {
          totals.addMean(
            .klBestOfN, total: BestOfN.klBound(of: own.count, keeping: settings.keep), weight: 1)
        }
      }
      let kept = rollout.keeping(answers: chosen)
      totals.addMean(
        .keptReward, total: kept.answers.reduce(0) { $0 + $1.reward },
        weight: Double(kept.answers.count))
      run.state.own.bound = totals[.klBestOfN]

      // 3. Supervised fine-tuning on them.
      for epoch in 0..<settings.epochs {
        let minibatches = run.minibatches(of: kept, epoch: epoch, count: settings.minibatches)
        for (minibatch, batch) in minibatches.enumerated() {
          totals.merge(
            try run.step(epoch: epoch, minibatch: minibatch) { _ in
              try settings.supervise(kept, batch, into: run.policy)
            })
        }
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
  package func kept(of scores: [Double], _ random: AttuneObjectives.CounterRandom) -> [Int] {
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

  /// Adds the gradient of the supervised loss on the answers to some prompts.
  fileprivate func supervise(
    _ rollout: ScoredRollout, _ batch: [Int], into policy: any LanguageModel
  ) throws -> MetricTotals {
    func ones(_ answers: [Int]) -> [[Double]] {
      answers.map { [Double](repeating: 1, count: rollout.answers[$0].completion.ids.count) }
    }
    let statistics = TokenLoss.statistics(weights: ones(rollout.sampled.indices(of: batch).answers))
    var totals = MetricTotals()
    try rollout.accumulate(
      batch, into: policy, HeadRequest(temperature: temperature), budget: pieceTokens
    ) { chosen, scores in
      let result = TokenLoss.supervised(
        logProbabilities: scores.logProbabilities, weights: ones(chosen), statistics: statistics)
      totals.merge(result.metrics)
      return result
    }
    return totals
  }
}
