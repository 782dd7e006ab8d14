// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneTraining

/// A method as a frontier names it: `rloo`, with a variant `grpo:dapo`, with weights of KL of its own
/// `dpg:gdc++@0.25/0.5`.
public struct FrontierMethod: Sendable, Equatable {
  /// The trainer.
  public let method: RLHF.Method
  /// Which of its variants; nil is what its settings say.
  public let variant: String?
  /// Its own β; empty: those of the frontier.
  public let betas: [Double]

  /// Reads a name.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  public init(_ text: String) throws {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    let names = parts[0].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let method = RLHF.Method(rawValue: String(names[0])) else {
      let all = RLHF.Method.allCases.map(\.rawValue)
      throw TrainingError(
        .badSetting,
        "methods: there is no method \(names[0])\(hint(for: String(names[0]), among: all))")
    }
    self.method = method
    variant = names.count > 1 ? String(names[1]) : nil
    if let variant, !Self.variants(of: method).contains(variant) {
      let all = Self.variants(of: method)
      throw TrainingError(
        .badSetting,
        all.isEmpty
          ? "methods: \(method.rawValue) has no variants"
          : "methods: \(method.rawValue) has no variant \(variant)\(hint(for: variant, among: all))"
      )
    }
    betas = try parts.dropFirst().flatMap { try Self.betas(String($0), of: text) }
    guard parts.count <= 2, parts.count == 1 || !betas.isEmpty else {
      throw TrainingError(.badSetting, "methods: \(text): write METHOD:VARIANT@BETA/BETA")
    }
  }

  private static func betas(_ list: String, of text: String) throws -> [Double] {
    try list.split(separator: "/", omittingEmptySubsequences: false).map {
      guard let beta = Double($0), beta.isFinite, beta >= 0 else {
        throw TrainingError(.badSetting, "methods: \(text): “\($0)” is no β of 0 or more")
      }
      return beta
    }
  }

  /// `grpo:dapo`.
  public var name: String { method.rawValue + (variant.map { ":\($0)" } ?? "") }

  /// The variants of a method by name.
  public static func variants(of method: RLHF.Method) -> [String] {
    switch method {
    case .ppo: PPOSettings.Variant.allCases.map(\.rawValue)
    case .reinforce: ReinforceSettings.KLPlace.allCases.map(\.rawValue)
    case .grpo: GRPOSettings.Variant.allCases.map(\.rawValue)
    case .raft: RAFTSettings.Selection.allCases.map(\.rawValue)
    case .dpg:
      DPGSettings.Method.allCases.map(\.rawValue) + TargetDivergence.allCases.map(\.rawValue)
    case .iterate, .dpo: PreferenceLoss.allCases.map(\.rawValue)
    case .kto: UnpairedLoss.allCases.map(\.rawValue)
    case .rloo, .brain: []
    }
  }

  /// Puts method, variant and β into settings.
  ///
  /// - Parameters:
  ///   - settings: Those of the whole job.
  ///   - beta: β; nil leaves it, and what reads none has none.
  func apply(to settings: inout RLHFSettings, beta: Double?) {
    settings.method = method
    let variant = variant ?? ""
    switch method {
    case .ppo:
      if let value = PPOSettings.Variant(rawValue: variant) { settings.ppo.variant = value }
      if let beta { settings.ppo.beta = beta }
    case .reinforce:
      if let value = ReinforceSettings.KLPlace(rawValue: variant) { settings.reinforce.kl = value }
      if let beta { settings.reinforce.beta = beta }
    case .rloo:
      if let beta { settings.rloo.beta = beta }
    case .grpo:
      if let value = GRPOSettings.Variant(rawValue: variant) { settings.grpo.variant = value }
      if let beta { settings.grpo.beta = beta }
    case .raft:
      if let value = RAFTSettings.Selection(rawValue: variant) { settings.raft.selection = value }
      if let beta { settings.raft.beta = beta }
    case .dpg:
      if let value = DPGSettings.Method(rawValue: variant) { settings.dpg.method = value }
      if let value = TargetDivergence(rawValue: variant) {
        settings.dpg.method = .fdpg
        settings.dpg.divergence = value
      }
      if let beta { settings.dpg.beta = beta }
    case .brain:
      if let beta { settings.brain.beta = beta }
    case .iterate:
      if let value = PreferenceLoss(rawValue: variant) { settings.iterate.dpo.loss = value }
      if let beta { settings.iterate.dpo.beta = beta }
    case .dpo:
      if let value = PreferenceLoss(rawValue: variant) { settings.dpo.loss = value }
      if let beta { settings.dpo.beta = beta }
    case .kto:
      if let value = UnpairedLoss(rawValue: variant) { settings.kto.loss = value }
      if let beta { settings.kto.beta = beta }
    }
  }

  /// Whether the method reads β under settings that `apply` was given; others have one point.
  func readsBeta(_ settings: RLHFSettings) -> Bool {
    switch method {
    case .raft: settings.raft.selection == .rejection
    case .dpo: settings.dpo.loss.reads.contains(.beta)
    case .iterate: settings.iterate.dpo.loss.reads.contains(.beta)
    case .ppo, .reinforce, .rloo, .grpo, .dpg, .brain, .kto: true
    }
  }

  /// How a variant is told apart by the settings that `apply` writes, so that the same knob is no
  /// recipe's.
  var variantKnobs: [String] {
    switch method {
    case .ppo: ["ppo.variant"]
    case .reinforce: ["reinforce.kl"]
    case .grpo: ["grpo.variant"]
    case .raft: ["raft.selection"]
    case .dpg: ["dpg.method"]
    case .iterate: ["iterate.dpo.loss"]
    case .dpo: ["dpo.loss"]
    case .kto: ["kto.loss"]
    case .rloo, .brain: []
    }
  }
}
