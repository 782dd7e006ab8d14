// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
public import AttuneTraining

/// The reward that a policy is optimal for: `implicit:POLICY[,REFERENCE][,temperature=T]`.
///
/// A policy π trained from ρ under a KL penalty β is optimal for r(x, y) = β·(log π(y|x) − log ρ(y|x))
/// up to a term of the prompt alone (Rafailov et al. 2023), so whatever made one model of another is
/// a reward. The score is the sum over the answer's tokens, in nats; β is the source's weight. Both are taken at
/// the temperature that the policy was trained at, 1 unless given.
public struct ImplicitReward: RewardSource {
  /// `implicit:runs/dpo`.
  public let name: String
  private let policy: LoadedModel
  private let reference: LoadedModel
  private let temperature: Double
  private let encoder: TextEncoder
  private let notice = CutNotice()
  private let pieceTokens: Int

  /// Makes a source of two models.
  ///
  /// - Parameters:
  ///   - policy: The policy.
  ///   - reference: What it is compared with.
  ///   - temperature: Of both.
  ///   - name: What it is called in reports.
  ///   - pieceTokens: Tokens that are worked on at once.
  /// - Throws: `TrainingError.badModel` if one is a reward model, or their tokens differ.
  public init(
    policy: LoadedModel, reference: LoadedModel, temperature: Double = 1, name: String,
    pieceTokens: Int = 2048
  ) throws {
    for loaded in [policy, reference] where loaded.model.hasScalarHead {
      throw TrainingError(
        .badModel, "\(name): \(loaded.name) is a reward model, which says nothing (write model:)")
    }
    if let difference = policy.tokensDiffer(from: reference) {
      throw TrainingError(
        .badModel,
        "\(name): \(policy.name) and \(reference.name) have different tokens (\(difference)), so their "
          + "log-probabilities can't be compared")
    }
    self.policy = policy
    self.reference = reference
    self.temperature = temperature
    self.name = name
    self.pieceTokens = pieceTokens
    encoder = try TextEncoder(policy)
  }

  /// What tells it from others: both models.
  var fingerprint: String {
    "\(policy.fingerprint) \(reference.fingerprint)"
      + (temperature == 1 ? "" : " \(temperature)")
  }

  /// Policy, reference and temperature of an argument.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(
    _ argument: String
  ) throws -> (policy: String, reference: String?, temperature: Double) {
    var names = RewardSpecification.list(argument)
    var temperature = 1.0
    if names.count > 1, let last = names.last, last.hasPrefix("temperature=") {
      names.removeLast()
      guard let number = Double(last.drop { $0 != "=" }.dropFirst()), number > 0, number.isFinite
      else {
        throw TrainingError(
          .badSetting,
          "reward source implicit:\(argument): temperature is a number above 0")
      }
      temperature = number
    }
    guard names.count <= 2, !names.contains("") else {
      throw TrainingError(
        .badSetting,
        "reward source implicit:\(argument): write implicit:POLICY or implicit:POLICY,REFERENCE, with "
          + "temperature=T behind it where the policy was trained at another than 1")
    }
    return (names[0], names.count == 2 ? names[1] : nil, temperature)
  }

  /// Opens both models.
  ///
  /// - Parameters:
  ///   - argument: What stands behind `implicit:`.
  ///   - name: What it is called in reports.
  ///   - engine: What computes them.
  ///   - neighbour: A model that is open.
  /// - Throws: An error that names a model that is missing, or that does not say what it was trained
  ///   from.
  static func open(
    _ argument: String, name: String, on engine: any Engine, beside neighbour: LoadedModel?
  ) throws -> ImplicitReward {
    let (policyName, referenceName, temperature) = try parts(argument)
    let reference: LoadedModel
    if let referenceName {
      reference = try LoadedModel.open(referenceName, on: engine, beside: neighbour)
    } else {
      do {
        guard let base = try LoadedModel.openBase(of: policyName, on: engine, beside: neighbour)
        else {
          throw TrainingError(
            .badSetting, "\(policyName) does not say what it was trained from")
        }
        reference = base
      } catch let error as TrainingError {
        throw TrainingError(
          error.code, "\(name): \(error.message); name the reference: \(name),REFERENCE")
      }
    }
    let isBase = try LoadedModel.base(of: policyName)?.fingerprint == reference.fingerprint
    // What a policy was trained from shares its frozen weights with it.
    let policy = try LoadedModel.open(
      policyName, beside: isBase ? reference : neighbour ?? reference)
    return try ImplicitReward(
      policy: policy, reference: reference, temperature: temperature, name: name)
  }

  /// The fewest layers that one of both shares.
  public func sharedLayers(with origin: String) -> Int? {
    [policy, reference].compactMap { $0.sharedLayers(with: origin) }.min()
  }

  /// log π − log ρ of every answer; where the pass is of both models' own origin, its trunk is reused.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    let sums: (LoadedModel) throws -> [Double]
    if let shared, shared.origin == policy.origin, shared.origin == reference.origin {
      sums = { loaded in
        try shared.values(
          loaded.model, HeadRequest(temperature: temperature), pieceTokens: pieceTokens,
          asking: { $0.scored = [0..<$0.ids.count] },
          reading: { $0.logProbabilities[$1].reduce(0, +) })
      }
    } else {
      let groups = try encoder.groups(
        prompts: prompts, completions: completions, source: name, notice: notice)
      sums = { loaded in
        try SequenceScores.tokens(
          loaded.model, groups, temperature: temperature, pieceTokens: pieceTokens
        ).flatMap { $0.map { $0.logProbabilities.reduce(0, +) } }
      }
    }
    return zip(try sums(policy), try sums(reference)).map { $0 - $1 }
  }
}
