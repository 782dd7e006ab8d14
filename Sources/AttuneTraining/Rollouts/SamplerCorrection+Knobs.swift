// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
public import AttuneObjectives

/// Settings of an online trainer whose policy loss makes up for a sampler of other numbers.
public protocol CorrectsSampler: OnlineSettings {
  /// How it does.
  var correction: SamplerCorrection { get set }
}

extension CorrectsSampler {
  /// A knob of the correction.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<SamplerCorrection, Value>) -> Value {
    get { correction[keyPath: knob] }
    set { correction[keyPath: knob] = newValue }
  }

  /// Those of them without effect.
  var unreadCorrectionKnobs: [(knob: String, why: String)] {
    guard rollout.sampler == .same, rollout.samplers == .own else {
      return correction.importanceWeights == .none
        ? [("importance_cap", "importance_weights is none")] : []
    }
    return ["importance_weights", "importance_cap"].map {
      ($0, "sampler is same: answers are drawn with the trainer's own numbers")
    }
  }
}

extension SamplerCorrection {
  /// Every knob.
  static let knobs = [
    Knob(
      "importance_weights",
      "How a token's weight π_trainer/π_sampler is kept in bounds where sampler is not same.",
      .choice(Form.self)),
    Knob("importance_cap", "The cap of that weight.", .number(.atLeast(1))),
  ]
}
