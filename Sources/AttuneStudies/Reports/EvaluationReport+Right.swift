// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

extension EvaluationReport {
  /// How many of a model's answers are right, by the first source that checks answers.
  public struct Right: Codable, Sendable, Equatable {
    /// pass@k for one k.
    public struct Pass: Codable, Sendable, Equatable {
      /// How many answers are drawn.
      public var k: Int
      /// The probability that one of them is right, mean over prompts.
      public var value: Double
      /// Its confidence interval over prompts.
      public var interval: Interval
    }

    /// The source.
    public var source: String
    /// Share of answers that are right.
    public var accuracy: Double
    /// Its confidence interval over prompts.
    public var accuracyInterval: Interval
    /// pass@k for k = 1, 2, 4 … and as many answers as each prompt has.
    public var pass: [Pass]
    /// Share of prompts whose most frequent answer is right (maj@k of all answers to a prompt); nil where
    /// each has one answer.
    public var majority: Double?
    /// Its confidence interval over prompts.
    public var majorityInterval: Interval?
    /// Share of prompts whose answers are all right.
    public var allRight: Double
    /// Share of prompts none of whose answers is right.
    public var allWrong: Double

    private enum CodingKeys: String, CodingKey {
      case source, accuracy, pass, majority
      case accuracyInterval = "accuracy_interval"
      case majorityInterval = "majority_interval"
      case allRight = "all_right"
      case allWrong = "all_wrong"
    }

    /// Puts the figures together.
    ///
    /// - Parameters:
    ///   - right: Which answers are right.
    ///   - source: Who says so.
    ///   - mean: The mean over prompts of what each has, with its interval.
    init(_ right: RightAnswers, by source: String, mean: ([[Double]]) -> Statistics.Estimate) {
      self.source = source
      let all = mean(right.accuracies)
      accuracy = all.value
      accuracyInterval = Interval(all.interval)
      let most = right.groups.map(\.count).min() ?? 0
      var sizes: [Int] = []
      var k = 1
      while k < most {
        sizes.append(k)
        k *= 2
      }
      if most > 0 { sizes.append(most) }
      pass = sizes.map { k in
        let estimate = mean(right.pass(at: k).map { [$0] })
        return Pass(k: k, value: estimate.value, interval: Interval(estimate.interval))
      }
      if most > 1 {
        let estimate = mean(right.majorities.map { [$0] })
        majority = estimate.value
        majorityInterval = Interval(estimate.interval)
      }
      allRight = right.allRightShare
      allWrong = right.allWrongShare
    }
  }
}
