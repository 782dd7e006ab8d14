// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
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

  /// Those of them without effect, whatever computes the policy.
  var unreadCorrectionKnobs: [(knob: String, why: String)] {
    correction.importanceWeights == .none
      ? [("importance_cap", "importance_weights is none")] : []
  }

  /// Refuses a correction that is set where answers are drawn with the trainer's own numbers.
  ///
  /// - Parameter engine: What computes the policy.
  /// - Throws: `TrainingError.badSetting`.
  package func checkCorrection(on engine: any Engine) throws {
    let plain = Self().correction
    guard rollout.samplers == .own, engine.samplesAsItScores(rollout.sampler), correction != plain
    else { return }
    let knob =
      correction.importanceWeights != plain.importanceWeights
      ? "importance_weights" : "importance_cap"
    throw TrainingError(
      .badSetting,
      "\(knob) is set but not read: sampler is same and products are in "
        + "\(engine.record.precision.rawValue), so that answers are drawn with the trainer's own numbers"
    )
  }
}

extension SamplerCorrection {
  /// Every knob.
  static let knobs = [
    Knob(
      "importance_weights",
      "How a token's weight π_trainer/π_sampler is kept in bounds where sampler is not same, or products are in bf16.",
      .choice(Form.self)),
    Knob("importance_cap", "The cap of that weight.", .number(.atLeast(1))),
  ]
}
