// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
import AttuneObjectives

/// The reward sources of a command line, opened.
public struct RewardSources {
  /// The sources, each with its weight.
  public let weighted: [(source: any RewardSource, weight: Double)]
  /// What tells them from others: their names, weights and the digests of what they read.
  public let fingerprint: String

  /// Opens sources.
  ///
  /// - Parameters:
  ///   - specifications: The sources as the command line names them.
  ///   - engine: What computes reward models.
  ///   - policy: A model that is open: a reward model that was trained from it shares its weights.
  /// - Throws: An error that names the source at fault.
  public init(
    _ specifications: [RewardSpecification], on engine: any Engine,
    beside policy: LoadedModel? = nil
  ) throws {
    var weighted: [(source: any RewardSource, weight: Double)] = []
    var marks: [String] = []
    for specification in specifications {
      guard !weighted.contains(where: { $0.source.name == specification.name }) else {
        throw TrainingError(
          .badSetting, "reward source \(specification.name) is given twice; give it one weight")
      }
      let (source, mark) = try Self.open(specification, on: engine, beside: policy)
      weighted.append((source, specification.weight))
      marks.append("\(specification.kind.rawValue) \(mark) \(specification.weight)")
    }
    self.weighted = weighted
    fingerprint = try Fingerprint.of(value: marks)
  }

  /// A source, and what tells it from others of its kind.
  private static func open(
    _ specification: RewardSpecification, on engine: any Engine, beside policy: LoadedModel?
  ) throws -> (any RewardSource, mark: String) {
    let (argument, name) = (specification.argument, specification.name)
    switch specification.kind {
    case .model:
      let source = try ModelReward(
        try LoadedModel.open(argument, on: engine, beside: policy, rewardModels: true))
      return (source, source.fingerprint)
    case .ensemble:
      let (rule, members) = try EnsembleReward.parts(argument)
      // Where no model is open, members of one base share its weights.
      let policy = try policy ?? LoadedModel.sharedBase(of: members[0], on: engine)
      let source = try EnsembleReward(
        try members.map {
          try ModelReward(
            try LoadedModel.open($0, on: engine, beside: policy, rewardModels: true))
        }, rule: rule,
        name: name)
      return (source, source.fingerprint)
    case .implicit:
      let source = try ImplicitReward.open(argument, name: name, on: engine, beside: policy)
      return (source, source.fingerprint)
    case .labeller:
      let labeller = try Labeller.named(argument)
      return (LabellerReward(try labeller.scorer()), labeller.rawValue)
    case .regex: return (try PatternReward(argument), argument)
    case .length: return (try LengthReward(argument), argument)
    case .exec:
      let source = try ProgramReward(argument, name: name)
      return (source, source.fingerprint)
    }
  }

  /// Whether one of some sources reads rows.
  ///
  /// - Parameters:
  ///   - sources: The sources.
  ///   - watched: One that is only measured.
  static func readRows(
    _ sources: [(source: any RewardSource, weight: Double)], watched: (any RewardSource)? = nil
  ) -> Bool {
    watched?.readsRows == true || sources.contains(where: \.source.readsRows)
  }

  /// The weighted sum of what each source said of every answer.
  static func sum(_ scores: [[Double]], weights: [Double]) -> [Double] {
    guard let first = scores.first else { return [] }
    var total = first.map { $0 * weights[0] }
    for (scores, weight) in zip(scores, weights).dropFirst() {
      for i in total.indices { total[i] += weight * scores[i] }
    }
    return total
  }

  /// Mean and deviation of each source's rewards and the correlation of each two; nothing of one
  /// source, whose numbers are the reward's.
  static func statistics(_ sources: [(source: String, rewards: [Double])]) -> MetricTotals {
    var totals = MetricTotals()
    guard sources.count > 1 else { return totals }
    for (i, one) in sources.enumerated() {
      totals.add(.sourceReward, Statistics.mean(one.rewards), of: one.source)
      totals.add(.sourceDeviation, Statistics.standardDeviation(one.rewards), of: one.source)
      for other in sources[(i + 1)...] {
        guard let r = Statistics.pearson(one.rewards, other.rewards) else { continue }
        totals.add(.sourceCorrelation, r, of: "\(one.source)|\(other.source)")
      }
    }
    return totals
  }
}
