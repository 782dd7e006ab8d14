// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
public import AttuneTraining

extension RewardSources {
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
    self.init(weighted: weighted, fingerprint: try Fingerprint.of(value: marks))
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
    case .answer:
      let source = try AnswerReward(argument)
      return (source, source.fingerprint)
    case .ifeval: return (try InstructionReward(argument), argument)
    case .tests: return (try TestsReward(argument), argument)
    case .likelihood:
      let source = try LikelihoodReward(argument) { named in
        if let named { return try LoadedModel.open(named, on: engine, beside: policy) }
        if let policy { return policy }
        throw TrainingError(
          .badSetting,
          "\(name): no model is open here whose probabilities could be asked; name one: \(name),model=M"
        )
      }
      return (source, source.fingerprint)
    case .exec:
      let source = try ProgramReward(argument, name: name)
      return (source, source.fingerprint)
    }
  }
}
