// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
public import AttuneTraining
public import Foundation

extension RewardSources {
  /// The file of a run's folder that keeps what judges answered.
  public static let answersFile = "judge.answers"

  /// Opens sources.
  ///
  /// - Parameters:
  ///   - specifications: The sources as the command line names them.
  ///   - engine: What computes reward models.
  ///   - policy: A model that is open: a reward model that was trained from it shares its weights.
  ///   - answers: Where what judges answer is kept, so that nothing is asked twice; nil: for as long as the
  ///     sources live.
  /// - Throws: An error that names the source at fault.
  public init(
    _ specifications: [RewardSpecification], on engine: any Engine,
    beside policy: LoadedModel? = nil, answers: URL? = nil
  ) throws {
    var weighted: [(source: any RewardSource, weight: Double)] = []
    var marks: [String] = []
    for specification in specifications {
      guard !weighted.contains(where: { $0.source.name == specification.name }) else {
        throw TrainingError(
          .badSetting, "reward source \(specification.name) is given twice; give it one weight")
      }
      let (source, mark) = try Self.open(
        specification, on: engine, beside: policy, answers: answers)
      weighted.append((source, specification.weight))
      marks.append("\(specification.kind.rawValue) \(mark) \(specification.weight)")
    }
    self.init(weighted: weighted, fingerprint: try Fingerprint.of(value: marks))
  }

  /// A source, and what tells it from others of its kind.
  static func open(
    _ specification: RewardSpecification, on engine: any Engine, beside policy: LoadedModel?,
    answers: URL?
  ) throws -> (any RewardSource, mark: String) {
    let (argument, name) = (specification.argument, specification.name)
    switch specification.kind {
    case .model:
      let (folder, steps) = ModelReward.parts(argument)
      let source = try ModelReward(
        try LoadedModel.open(folder, on: engine, beside: policy, rewardModels: true), steps: steps)
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
    case .length:
      var mark = argument
      let source = try LengthReward(argument) {
        let (source, inner) = try Self.open($0, on: engine, beside: policy, answers: answers)
        mark += " \(inner)"
        return source
      }
      return (source, mark)
    case .words: return (try WordCount(argument), argument)
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
    case .judge:
      let source = try JudgeReward(argument, answers: answers, on: engine, beside: policy)
      return (source, source.fingerprint)
    case .rubric:
      let source = try RubricReward(argument, answers: answers, on: engine, beside: policy)
      return (source, source.fingerprint)
    case .rank:
      let source = try RankReward(argument, answers: answers, on: engine, beside: policy)
      return (source, source.fingerprint)
    case .exec:
      let source = try ProgramReward(argument, name: name)
      return (source, source.fingerprint)
    }
  }
}
