// SPDX-License-Identifier: Apache-2.0

public import AttuneObjectives

/// Settings of an online trainer with a KL term in the loss.
public protocol HasKLTerm: OnlineSettings {
  /// The term.
  var klTerm: KLTermSettings { get set }
}

extension HasKLTerm {
  /// A knob of the term.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<KLTermSettings, Value>) -> Value {
    get { klTerm[keyPath: knob] }
    set { klTerm[keyPath: knob] = newValue }
  }

  /// Checks the knobs of the term.
  func validateKLTerm() throws {
    try require(
      !klTerm.klRatioWeighted || klTerm.klEstimator == .k3, "kl_ratio_weighted",
      "false unless kl_estimator is k3")
  }
}

extension KLTermSettings {
  /// Every knob.
  ///
  /// - Parameter command: The command whose help says what each estimator reaches.
  static func knobs(of command: String) -> [Knob] {
    [
      Knob(
        "kl_estimator",
        "Estimator of a KL term in the loss; `attune \(command) --help` says what each reaches.",
        .choice(KLEstimator.self)),
      Knob(
        "kl_per_sequence", "Whether that term is of the whole answer, not of each token.", .flag),
      Knob(
        "kl_ratio_weighted",
        "Whether `k3` is weighted by the ratio to the sampling policy, which gives a whole answer's "
          + "the gradient of KL(π‖ρ).", .flag),
    ]
  }

  /// All of them, with why none is read.
  static func unreadKnobs(_ why: String) -> [(knob: String, why: String)] {
    ["kl_estimator", "kl_per_sequence", "kl_ratio_weighted"].map { ($0, why) }
  }
}
