// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives

/// Knobs outside of groups that more than one trainer has.
extension Knob {
  /// What random choices follow from.
  package static func seed(_ what: String) -> Knob { Knob("seed", "The seed of \(what).", .seed) }

  /// Which numbers answers are drawn with.
  package static let sampler = Knob(
    "sampler",
    "Which numbers answers are drawn with: the model's own, or 8-bit codes of them, which is faster where the "
      + "processor has AVX2 or AVX512-VNNI.",
    .choice(Sampler.self))
  static let evaluationShare = Knob(
    "evaluation_share",
    "Share of the prompts held out for evaluation where no file is given for it.",
    .number(.from(0, below: 1)))
  static let precomputeReference = Knob(
    "precompute_reference",
    "Whether the reference's log-probabilities are computed once, before training.", .flag)
  static let softLabels = Knob(
    "soft_labels",
    "Whether a row's `probability` is its label; else the chosen answer is simply the better one.",
    .flag)
  static let harden = Knob(
    "harden", "Whether soft labels are rounded where the loss can't read them.", .flag)
  static let entropyBonus = Knob(
    "entropy_bonus", "Weight of the entropy bonus.", .number(.atLeast(0)))
  static let clip = Knob("clip", "The ratio is clipped at 1 ± this.", .number(.above(0, below: 1)))
  static let valueCoefficient = Knob(
    "value_coefficient", "Weight of the value loss.", .number(.atLeast(0)))
  static let targetBeta = Knob(
    "beta",
    "β: what a reward, after normalisation and penalties, is divided by in the target ρ·e^{r/β}.",
    .number(.above(0)))
}
