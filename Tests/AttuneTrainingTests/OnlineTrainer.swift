// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// A trainer that samples its own answers, with the settings of a test.
struct OnlineTrainer: CustomTestStringConvertible, Sendable {
  let testDescription: String
  /// Optimiser steps of a rollout.
  let stepsPerRollout: Int
  private let run:
    @Sendable (
      LoadedModel, DataFile, [(source: any RewardSource, weight: Double)], (any RewardSource)?, URL,
      RunOptions, (inout any OnlineSettings) -> Void
    ) throws -> OnlineReport

  /// Notes a trainer.
  ///
  /// - Parameters:
  ///   - settings: Its defaults.
  ///   - train: Its function.
  ///   - change: What differs from what is one for all.
  init<Knobs: OnlineSettings>(
    _ name: String, _ settings: Knobs,
    by train:
      @escaping @Sendable (
        LoadedModel, DataFile, [(source: any RewardSource, weight: Double)], String,
        (any RewardSource)?, Knobs, URL, RunOptions
      ) throws -> OnlineReport,
    _ change: (inout Knobs) -> Void = { _ in }
  ) {
    var settings = settings
    settings.training.weights.train = .full
    settings.training.weights.layers = 0
    settings.training.weights.rank = 4
    settings.training.optimiser.learningRate = 0.024
    settings.rollout.rollouts = 12
    settings.rollout.promptsPerRollout = 4
    settings.rollout.samplesPerPrompt = 8
    settings.rollout.maxTokens = 6
    settings.rollout.showEvery = 0
    settings.rewards.penaliseMissingEnd = false
    change(&settings)
    testDescription = name
    let passes = (settings as? any PassesOverRollouts)?.passes
    stepsPerRollout = passes.map { $0.epochs * $0.minibatches } ?? 1
    run = { [settings] start, data, rewards, watched, output, options, change in
      var changed: any OnlineSettings = settings
      change(&changed)
      let knobs = try #require(changed as? Knobs)
      return try train(start, data, rewards, "rewards", watched, knobs, output, options)
    }
  }

  /// Trains a table, or another start.
  func train(
    _ data: DataFile, to output: URL, from start: LoadedModel? = nil,
    rewards: [(source: any RewardSource, weight: Double)] = [(ShareOfOdd(), 1)],
    watched: (any RewardSource)? = nil, options: RunOptions = .quiet,
    _ change: (inout any OnlineSettings) -> Void = { _ in }
  ) throws -> OnlineReport {
    try run(start ?? tableModel(), data, rewards, watched, output, options, change)
  }

  static func ppo(
    _ name: String, mixed: DataFile? = nil, _ change: (inout PPOSettings) -> Void = { _ in }
  ) -> Self {
    Self(
      "ppo \(name)", PPOSettings(),
      by: {
        try PPO.train(
          $0, data: $1, rewards: $2, rewardFingerprint: $3, watched: $4, mixed: mixed,
          settings: $5, output: $6, options: $7)
      }
    ) {
      $0.learningRate = 7.5e-3
      $0.beta = 0.01
      $0.adaptiveKl = false
      change(&$0)
    }
  }

  static func reinforce(
    _ name: String, _ change: (inout ReinforceSettings) -> Void = { _ in }
  ) -> Self {
    Self("reinforce \(name)", ReinforceSettings(), by: Reinforce.train) {
      $0.beta = 0.01
      change(&$0)
    }
  }

  static func rloo(_ name: String, _ change: (inout RLOOSettings) -> Void = { _ in }) -> Self {
    Self("rloo \(name)", RLOOSettings(), by: RLOO.train) {
      $0.beta = 0.01
      change(&$0)
    }
  }

  static func grpo(
    _ variant: GRPOSettings.Variant, _ change: (inout GRPOSettings) -> Void = { _ in }
  ) -> Self {
    Self(variant.rawValue, GRPOSettings(), by: GRPO.train) {
      $0.variant = variant
      $0.learningRate = 0.012
      change(&$0)
    }
  }

  /// Those that climb a reward.
  static let climbing: [OnlineTrainer] =
    [
      .ppo("with a shared value head") {
        $0.adaptiveKl = true
        $0.klTarget = 1
      },
      .ppo("with a value model") { $0.value = .separate },
      .ppo("as reinforce++") { $0.variant = .reinforcePlusPlus },
      .reinforce("with a running mean"),
      .reinforce("with a value head") { $0.baseline = .value },
      .reinforce("with KL in the loss") {
        $0.kl = .loss
        $0.adaptiveKl = true
        $0.klTarget = 1
      },
      .rloo("in one step"),
      .rloo("in four clipped steps") {
        $0.epochs = 2
        $0.minibatches = 2
        $0.learningRate = 7.5e-3
      },
    ] + GRPOSettings.Variant.allCases.map { .grpo($0) }

  /// Those that bring the policy to a target, or learn from chosen answers.
  enum Matching: String, CaseIterable, Sendable {
    case dpg
    case gdcPlusPlus = "gdc++"
    case forwardKL = "fdpg forward_kl"
    case reverseKL = "fdpg reverse_kl"
    case jensenShannon = "fdpg js"
    case totalVariation = "fdpg tv"
    case chiSquared = "fdpg chi2"
    case brain
    case brainKept = "brain refresh_every 3"
    case raft
    case rejection = "raft rejection"

    var isOnPolicy: Bool { self != .dpg && self != .brainKept }
    var matches: Bool { self != .raft && self != .rejection }

    var trainer: OnlineTrainer {
      switch self {
      case .brain, .brainKept:
        return OnlineTrainer(rawValue, BRAInSettings(), by: BRAIn.train) {
          $0.minibatches = 1
          $0.refreshEvery = self == .brainKept ? 3 : 1
        }
      case .raft, .rejection:
        return OnlineTrainer(rawValue, RAFTSettings(), by: RAFT.train) {
          $0.minibatches = 1
          $0.selection = self == .rejection ? .rejection : .best
        }
      default:
        let parts = rawValue.split(separator: " ").map(String.init)
        return OnlineTrainer(rawValue, DPGSettings(), by: DPG.train) {
          $0.minibatches = 1
          $0.method = DPGSettings.Method(rawValue: parts[0]) ?? .dpg
          $0.divergence = TargetDivergence(rawValue: parts[parts.count - 1]) ?? .forwardKL
        }
      }
    }
  }

  /// A table that is to answer as it would behind other words.
  static func distill(
    _ method: String, _ change: (inout DistillSettings) -> Void = { _ in }
  ) -> Self {
    Self("distill \(method)", DistillSettings(), by: Distill.train) {
      $0.method = DistillationLoss(rawValue: method) ?? .reverseKL
      $0.teacherSystem = "as one does"
      change(&$0)
    }
  }

  /// Those that have a teacher.
  static let distilling: [OnlineTrainer] =
    DistillationLoss.allCases.map { .distill($0.rawValue) } + [
      .distill("reverse_kl of sampled tokens") { $0.tokens = .sampled },
      .distill("reverse_kl of sampled tokens to go") {
        $0.tokens = .sampled
        $0.discount = 1
      },
    ]

  static let all = climbing + Matching.allCases.map(\.trainer) + distilling
}
