// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

extension EvaluationReport {
  /// How far one model's answers to the same prompt differ from each other: a policy that found one
  /// rewarded answer and repeats it shows here first.
  public struct Diversity: Codable, Sendable, Equatable {
    /// Self-BLEU: mean BLEU, to word 4-grams, of an answer against the others to its prompt; 1 where
    /// all are alike. Nil where each prompt has one answer.
    public var selfBLEU: Double?
    /// Its confidence interval over prompts.
    public var selfBLEUInterval: Interval?
    /// Different answers to a prompt over answers to it; nil where each prompt has one answer.
    public var distinctAnswers: Double?
    /// Its confidence interval over prompts.
    public var distinctAnswersInterval: Interval?
    /// Mean entropy of the model's next-token distribution at its answers' tokens, at the sampling
    /// temperature (1 where that is 0), in nats: mean over a prompt's tokens, then over prompts.
    public var entropy: Double
    /// Its confidence interval over prompts.
    public var entropyInterval: Interval

    private enum CodingKeys: String, CodingKey {
      case entropy
      case selfBLEU = "self_bleu"
      case selfBLEUInterval = "self_bleu_interval"
      case distinctAnswers = "distinct_answers"
      case distinctAnswersInterval = "distinct_answers_interval"
      case entropyInterval = "entropy_interval"
    }

    /// Puts the figures together.
    init(
      selfBLEU: Statistics.Estimate?, distinctAnswers: Statistics.Estimate?,
      entropy: Statistics.Estimate
    ) {
      self.selfBLEU = selfBLEU?.value
      selfBLEUInterval = selfBLEU.map { Interval($0.interval) }
      self.distinctAnswers = distinctAnswers?.value
      distinctAnswersInterval = distinctAnswers.map { Interval($0.interval) }
      self.entropy = entropy.value
      entropyInterval = Interval(entropy.interval)
    }
  }
}
