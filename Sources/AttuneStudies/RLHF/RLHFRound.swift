// SPDX-License-Identifier: Apache-2.0

import Foundation

extension RLHF {
  /// A stage of one round.
  public struct Step: Sendable, Equatable {
    /// The stage.
    public var stage: Stage
    /// Its round, counted from 1; stages outside of the rounds have 1.
    public var round = 1

    /// Makes a step.
    ///
    /// - Parameters:
    ///   - stage: The stage.
    ///   - round: Its round, counted from 1.
    public init(_ stage: Stage, round: Int = 1) {
      self.stage = stage
      self.round = round
    }

    /// Reads a step.
    ///
    /// - Parameter name: A stage's name; of a later round with its number behind it: `policy-2`.
    public init?(name: String) {
      let parts = name.split(separator: "-", omittingEmptySubsequences: false)
      guard let stage = Stage(rawValue: String(parts[0])), parts.count <= 2 else { return nil }
      self.stage = stage
      guard parts.count == 2 else { return }
      guard stage.isOfARound, let round = Int(parts[1]), round > 0 else { return nil }
      self.round = round
    }

    /// `policy`, `policy-2`.
    public var name: String { stage.rawValue + (round > 1 ? "-\(round)" : "") }

    /// `policy`, `policy of round 2`.
    var words: String { stage.rawValue + (round > 1 ? " of round \(round)" : "") }

    /// All steps of a run in their order.
    static func all(_ settings: RLHFSettings) -> [Step] {
      // What a grader checks needs no preferences.
      let stages = settings.hasGrader ? [.policy] : Stage.allCases.filter(\.isOfARound)
      return [Step(.prompts)]
        + (1...settings.rounds).flatMap { round in stages.map { Step($0, round: round) } }
        + [Step(.evaluation), Step(.report)]
    }
  }
}

extension RLHF.Stage {
  /// Whether every round has it.
  var isOfARound: Bool {
    switch self {
    case .samples, .preferences, .reward, .policy: true
    case .prompts, .evaluation, .report: false
    }
  }
}

/// A round: answers of the last round's policy (of the start, at first), preferences over them beside
/// the earlier ones, a reward model of all of them, and a policy that is trained with it.
///
/// A reward model knows the answers that it was trained on; the policy leaves them, and is then led by
/// what the model guesses. Labels on the policy's own answers tell it what it has to know next (Bai et
/// al. 2022, arXiv:2204.05862, section 4.5; Touvron et al. 2023, arXiv:2307.09288).
struct RLHFRound {
  /// Counted from 1.
  let number: Int
  /// Where its files are.
  let folder: URL

  /// A stage of it.
  func step(_ stage: RLHF.Stage) -> RLHF.Step { RLHF.Step(stage, round: number) }

  private func file(_ name: String) -> URL { folder.appending(path: name) }
  var samples: URL { file("samples.jsonl") }
  /// All preferences so far.
  var preferences: URL { file("preferences.jsonl") }
  /// Those over this round's answers, where there are earlier ones.
  var ownPreferences: URL { number == 1 ? preferences : file("own-preferences.jsonl") }
  var rewardFolder: URL { file("reward") }
  var rewardReport: URL { file("reward.json") }
  var policyFolder: URL { file("policy") }

  /// A seed of this round's own.
  func seed(_ seed: UInt64) -> UInt64 { seed &+ UInt64(number - 1) << 32 }
}
