// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives

/// Which of a run's policies is written.
public enum KeepBest: String, Codable, Sendable, CaseIterable {
  /// The last one.
  case none
  /// That with the highest mean reward of held-out rows.
  case reward
  /// That with the highest accuracy on them.
  case accuracy
  /// That with the highest share of them that has a right answer.
  case passAtK = "pass_at_k"
  /// That with the highest share of them whose most frequent answer is right.
  case majority

  /// The metric that decides; nil where none does.
  var metric: Metric? {
    switch self {
    case .none: nil
    case .reward: .heldOutReward
    case .accuracy: .heldOutRight
    case .passAtK: .heldOutPass
    case .majority: .heldOutMajority
    }
  }
}

/// Rows that are not trained on, which the policy answers on the way: the curve that says whether what
/// is learned holds elsewhere. The same random numbers draw the answers each time.
struct HeldOutAnswers {
  private let prompts: [DataPrompt]
  private let ids: [[Int32]]
  private let sources: [(source: any RewardSource, weight: Double)]
  private let teacher: Teacher?
  private let tokenizer: Tokenizer
  private let origin: String
  private let sampling: SamplingSettings
  /// Prompts that are answered at once, so that it takes no more memory than a rollout.
  private let atOnce: Int

  /// Takes prompts.
  ///
  /// - Parameters:
  ///   - prompts: The prompts.
  ///   - ids: Their tokens.
  ///   - start: The model that the policy started from.
  ///   - encoder: What encoded them.
  ///   - sources: Where rewards come from, each with its weight.
  ///   - teacher: Whom the policy is held against.
  ///   - settings: The trainer's knobs.
  init(
    _ prompts: [DataPrompt], ids: [[Int32]], _ start: LoadedModel, _ encoder: TextEncoder,
    sources: [(source: any RewardSource, weight: Double)], teacher: Teacher? = nil,
    settings: some OnlineSettings
  ) {
    (self.prompts, self.ids, self.sources, self.teacher) = (prompts, ids, sources, teacher)
    tokenizer = start.tokenizer
    origin = start.origin
    var sampling = settings.sampling(draw: 1 << 62, end: encoder.endings)
    sampling.samplesPerPrompt = settings.evaluationSamples
    self.sampling = sampling
    atOnce = max(
      1, settings.promptsPerRollout * settings.samplesPerPrompt / settings.evaluationSamples)
  }

  /// Reads rows that are held out.
  ///
  /// - Parameters:
  ///   - data: The rows; each prompt counts once, or each row where a reward reads rows.
  ///   - start: The model that the policy started from.
  ///   - encoder: What encodes them.
  ///   - sources: Where rewards come from, each with its weight.
  ///   - teacher: Whom the policy is held against.
  ///   - settings: The trainer's knobs.
  /// - Throws: An error that names the line at fault.
  init(
    _ data: DataFile, _ start: LoadedModel, _ encoder: TextEncoder,
    sources: [(source: any RewardSource, weight: Double)], teacher: Teacher? = nil,
    settings: some OnlineSettings
  ) throws {
    try data.check(for: sources.map(\.source))
    let set = try encoder.prompts(
      data, room: settings.maxTokens, byRow: RewardSources.readRows(sources))
    self.init(
      set.prompts, ids: set.ids, start, encoder, sources: sources, teacher: teacher,
      settings: settings)
  }

  /// What every source says of a policy's answers, and which of them are right, where one checks them.
  private func answers(
    of policy: any LanguageModel
  ) throws -> (scores: [[Double]], right: RightAnswers?, kl: [Double], lengths: [Double]) {
    var (completions, places) = ([Completion](), [Int]())
    var kl: [Double] = []
    var scores = sources.map { _ in [Double]() }
    for start in stride(from: 0, to: prompts.count, by: atOnce) {
      let piece = start..<min(start + atOnce, prompts.count)
      guard
        let rollout = try Rollout.sample(
          policy, prompts: Array(prompts[piece]), promptIds: Array(ids[piece]),
          tokenizer: tokenizer,
          settings: sampling, shouldStop: { false })
      else { continue }
      completions += rollout.answers.map(\.completion)
      places += rollout.answers.map { start + $0.prompt }
      for (i, source) in sources.enumerated() {
        scores[i] += try rollout.rewards(of: source.source, trunk: nil, origin: origin)
      }
      if let teacher {
        kl += try teacher.divergence(of: policy, on: rollout).map { $0.reduce(0, +) }
      }
    }
    let right = sources.firstIndex(where: \.source.isChecked).map { checking in
      RightAnswers(
        by: sources[checking].source, scores: scores[checking], completions: completions,
        prompts: places)
    }
    return (scores, right, kl, completions.map { Double($0.ids.count) })
  }

  /// The prompts with those first of which the policy answers about half right, and those last that it
  /// answers all right or all wrong, from which a group learns nothing. Equal ones are in random order.
  func curriculum(_ policy: any LanguageModel, seed: UInt64) throws -> [Int] {
    guard let right = try answers(of: policy).right else { return Array(prompts.indices) }
    let distance = right.accuracies.map { abs(Statistics.mean($0) - 0.5) }
    let order = Shuffle.order(count: prompts.count, seed: seed, epoch: 0)
    return order.enumerated().sorted {
      (distance[$0.element], $0.offset) < (distance[$1.element], $1.offset)
    }.map(\.element)
  }

  /// What a policy's answers get.
  func measure(_ policy: any LanguageModel) throws -> MetricTotals {
    let (scores, right, kl, lengths) = try answers(of: policy)
    var totals = MetricTotals()
    if teacher != nil {
      totals.addMean(.heldOutTeacherKL, of: kl)
      totals.addMean(.heldOutLength, of: lengths)
    }
    totals.addMean(
      .heldOutReward, of: RewardSources.sum(scores, weights: sources.map(\.weight)))
    guard let right else { return totals }
    totals.addMean(.heldOutRight, of: right.accuracies.flatMap(\.self))
    totals.addMean(.heldOutPass, of: right.groups.map { $0.contains(where: \.isRight) ? 1 : 0 })
    totals.addMean(.heldOutMajority, of: right.majorities)
    return totals
  }
}
