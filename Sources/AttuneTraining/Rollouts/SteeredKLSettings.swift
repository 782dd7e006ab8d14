// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// The knobs of a KL term whose weight may follow a target.
public struct SteeredKLSettings: Codable, Sendable, Equatable {
  /// Weight of the KL term at the start.
  public var beta = 0.05
  /// Whether that weight follows `kl_target`.
  public var adaptiveKl = false
  /// KL in nats a sequence that the weight steers towards.
  public var klTarget = 8.0
  /// How fast it does: a rollout moves the weight by at most a fifth of this.
  public var klRate = 0.1

  /// The defaults.
  public init() {}

  /// Every knob.
  ///
  /// - Parameter term: What the weight is of.
  static func knobs(_ term: String) -> [Knob] {
    [
      Knob("beta", "Weight of \(term), at the start.", .number(.atLeast(0))),
      Knob("adaptive_kl", "Whether that weight follows `kl_target`.", .flag),
      Knob(
        "kl_target", "KL in nats a sequence that the weight steers towards.", .number(.above(0))),
      Knob(
        "kl_rate",
        "How fast the weight follows: a rollout multiplies it by 1 + kl_rate·(KL/kl_target − 1), the error cut at ±0.2.",
        .number(.above(0, atMost: 1))),
    ]
  }
}

/// Settings of an online trainer with a KL term whose weight may follow a target.
public protocol SteersKL: OnlineSettings {
  /// The KL term.
  var steering: SteeredKLSettings { get set }
}

extension SteersKL {
  /// A knob of the KL term.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<SteeredKLSettings, Value>) -> Value {
    get { steering[keyPath: knob] }
    set { steering[keyPath: knob] = newValue }
  }

  /// Checks that a weight which follows a target can move.
  func validateKL() throws {
    try require(
      !steering.adaptiveKl || steering.beta > 0, "beta", "above 0 where adaptive_kl is true")
  }

  /// Those of them without effect.
  var unreadKLKnobs: [(knob: String, why: String)] {
    steering.adaptiveKl ? [] : ["kl_target", "kl_rate"].map { ($0, "adaptive_kl is false") }
  }

  /// The weight at the start.
  func klControl() throws -> AdaptiveKL {
    try AdaptiveKL(
      beta: steering.beta, target: steering.adaptiveKl ? steering.klTarget : nil,
      rate: steering.klRate)
  }
}

extension AdaptiveKL {
  /// The weight, and what it follows.
  var metrics: MetricTotals {
    var totals = MetricTotals()
    totals.add(.beta, beta)
    if let target { totals.add(.klTarget, target) }
    return totals
  }
}
