// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
public import AttuneTraining

/// Several reward models of one task as one reward: `ensemble:RULE:DIR,DIR…`.
///
/// What a policy learns to fool in one of them the others may see: the least of them, or their mean
/// less what they disagree by, is harder to climb dishonestly than any one (Coste et al. 2024).
/// Rewards of preferences have no zero and no unit, so each member's are first put on one scale,
/// (r − mean)/sd with the mean and deviation on its own training answers (`attune.json`).
public struct EnsembleReward: RewardSource {
  /// How members become one number.
  public enum Rule: Sendable, Equatable {
    /// Their mean: `mean`.
    case mean
    /// The least: `min`.
    case minimum
    /// Mean less so many standard deviations (n − 1): `mean-1std`, `mean-0.5std`.
    case meanLess(Double)

    /// Reads a rule.
    ///
    /// - Returns: Nil if it is none.
    package init?(_ text: some StringProtocol) {
      switch text {
      case "mean": self = .mean
      case "min": self = .minimum
      default:
        guard text.hasPrefix("mean-"), text.hasSuffix("std"),
          let times = Double(text.dropFirst(5).dropLast(3)), times.isFinite, times > 0
        else { return nil }
        self = .meanLess(times)
      }
    }

    /// The members' scores of one answer as one.
    func of(_ scores: [Double]) -> Double {
      switch self {
      case .mean: Statistics.mean(scores)
      case .minimum: scores.min() ?? .nan
      case .meanLess(let times):
        Statistics.mean(scores) - times * Statistics.standardDeviation(scores)
      }
    }
  }

  /// `ensemble:min:runs/rm1,runs/rm2`.
  public let name: String
  /// What tells it from others: rule and members.
  package let fingerprint: String
  private let members: [ModelReward]
  private let rule: Rule

  /// Makes a source of reward models.
  ///
  /// - Parameters:
  ///   - members: At least two.
  ///   - rule: How they become one.
  ///   - name: What it is called in reports.
  /// - Throws: `TrainingError` if there is one member, or one alone has no scale of its rewards.
  public init(_ members: [ModelReward], rule: Rule, name: String) throws {
    guard members.count > 1 else {
      throw TrainingError(.badSetting, "\(name): an ensemble has at least two members")
    }
    if members.contains(where: { $0.scale != nil }),
      let bare = members.first(where: { $0.scale == nil })
    {
      throw TrainingError(
        .badModel,
        "\(name): \(bare.name) does not say what its rewards are scaled by (attune.json), others "
          + "do: they can't be compared")
    }
    self.members = members
    self.rule = rule
    self.name = name
    fingerprint = "\(rule) " + members.map(\.fingerprint).joined(separator: " ")
  }

  /// Rule and folders of an argument.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> (rule: Rule, members: [String]) {
    let name = argument.prefix { $0 != ":" }
    guard name.endIndex < argument.endIndex, let rule = Rule(name) else {
      throw TrainingError(
        .badSetting,
        "reward source ensemble:\(argument): write ensemble:RULE:DIR,DIR…, where RULE is mean, min "
          + "or mean-1std (any number above 0)")
    }
    let members = RewardSpecification.list(argument[argument.index(after: name.endIndex)...])
    guard members.count > 1, !members.contains("") else {
      throw TrainingError(
        .badSetting,
        "reward source ensemble:\(argument): name two reward models or more, with commas between")
    }
    return (rule, members)
  }

  /// The fewest layers that a member shares.
  public func sharedLayers(with origin: String) -> Int? {
    members.compactMap { $0.sharedLayers(with: origin) }.min()
  }

  /// The members' rewards of every answer, on one scale, as one.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    let all = try members.map { member in
      let scores = try member.checkedScores(
        prompts: prompts, completions: completions, shared: shared)
      guard let scale = member.scale else { return scores }
      return scores.map { ($0 - scale.mean) / (scale.deviation > 0 ? scale.deviation : 1) }
    }
    return completions.indices.map { i in rule.of(all.map { $0[i] }) }
  }
}
