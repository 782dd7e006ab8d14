// SPDX-License-Identifier: Apache-2.0

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
    if let variant, !method.variants.contains(variant) {
      let all = method.variants
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

  /// Puts method, variant and β into settings.
  ///
  /// - Parameters:
  ///   - settings: Those of the whole job.
  ///   - beta: β; nil leaves it, and what reads none has none.
  func apply(to settings: inout RLHFSettings, beta: Double?) {
    settings.method = method
    if let variant { settings.methodKnobs[method].choose(variant) }
    if let beta { settings.methodKnobs[method].setBeta(beta) }
  }
}
