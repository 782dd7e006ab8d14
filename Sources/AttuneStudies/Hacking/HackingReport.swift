// SPDX-License-Identifier: Apache-2.0

public import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// What a look at reward hacking shows: the facts of `hacking.json` and `hacking.html`.
public struct HackingReport: Codable, Sendable, Equatable {
  /// A rollout's answers.
  public struct Step: Codable, Sendable, Equatable {
    /// The rollout, from 1; the first one's answers are the start's.
    public var rollout: Int
    /// KL from the start in nats an answer.
    public var kl: Double
    /// Mean gold reward.
    public var gold: Double
    /// Mean of the reward that is climbed.
    public var learned: Double
  }

  /// An alarm and what stood at the rollout that raised it.
  public struct Alarm: Codable, Sendable, Equatable {
    /// When and what.
    public var raised: RaisedAlarm
    /// KL then.
    public var kl: Double
    /// Gold reward then, over the last rollouts (`HackingReport.window`).
    public var gold: Double
  }

  /// One reward that is climbed.
  public struct Arm: Codable, Sendable, Equatable {
    /// `one reward model`, `ensemble of 3, min`.
    public var name: String
    /// Its rollouts.
    public var curve: [Step]
    /// Standard deviations of the first rollout's answers: gold, and the reward that is climbed.
    public var goldDeviation: Double
    /// The same of the reward that is climbed.
    public var learnedDeviation: Double
    /// The law of the gold reward; nil where it can't be fitted.
    public var goldLaw: OveroptimisationLaw?
    /// The law of the reward that is climbed.
    public var learnedLaw: OveroptimisationLaw?
    /// Alarms, in the order in which they were raised.
    public var alarms: [Alarm]
    /// Where the gold reward was highest, over the last rollouts; nil of too few.
    public var peak: Step?
    /// Where it stood at the end.
    public var end: Step?
    /// The trained policy on held-out prompts; nil where training failed.
    public var found: PolicyFacts?
    /// Why it failed.
    public var failure: String?

    private enum CodingKeys: String, CodingKey {
      case name, curve, alarms, peak, end, found, failure, goldLaw, learnedLaw
      case goldDeviation = "gold_sd"
      case learnedDeviation = "learned_sd"
    }

    /// Puts an arm together from its run's metrics.
    ///
    /// - Parameters:
    ///   - name: What is climbed.
    ///   - points: The numbers of its rollouts.
    ///   - maximumLength: Longest answer in tokens.
    ///   - found: The trained policy.
    ///   - failure: Why there is none.
    init(
      name: String, curve points: [Report.Point], maximumLength: Int, found: PolicyFacts?,
      failure: String?
    ) {
      self.name = name
      self.found = found
      self.failure = failure
      func value(_ point: Report.Point, _ metric: Metric) -> Double? {
        point.values[metric.rawValue]
      }
      curve = points.compactMap { point in
        guard let kl = value(point, .klSequence), let gold = value(point, .goldReward),
          let learned = value(point, .policyReward) ?? value(point, .rewardMean)
        else { return nil }
        return Step(rollout: point.step, kl: kl, gold: gold, learned: learned)
      }
      goldDeviation = points.first.flatMap { value($0, .goldDeviation) } ?? 0
      learnedDeviation = points.first.flatMap { value($0, .rewardDeviation) } ?? 0
      goldLaw = OveroptimisationLaw.fit(curve.map { ($0.kl, $0.gold) })
      learnedLaw = OveroptimisationLaw.fit(curve.map { ($0.kl, $0.learned) })
      let smooth = HackingReport.smoothed(curve)
      peak = smooth.max { $0.gold < $1.gold }
      end = smooth.last
      let steps = curve
      alarms = RolloutWatch.alarms(of: points, maximumLength: maximumLength)
        .compactMap { raised in
          let until = steps.filter { $0.rollout <= raised.rollout }
          guard let last = until.last else { return nil }
          return Alarm(
            raised: raised, kl: last.kl,
            gold: Statistics.mean(until.suffix(HackingReport.window).map(\.gold)))
        }
    }
  }

  /// Rollouts that a smoothed number is the mean of: one rollout's is noisy.
  static let window = RolloutWatch.window

  /// The version of this format.
  public var formatVersion = 1
  /// The version of Attune that wrote it.
  public var version: String
  /// When it was written, in UTC.
  public var date: String
  /// The run that the task comes from.
  public var run: String
  /// The start.
  public var model: String
  /// Who gives the gold reward.
  public var gold: String
  /// The seed.
  public var seed: UInt64
  /// The method.
  public var method: String
  /// Rollouts of each policy.
  public var rollouts: Int
  /// Answers of each.
  public var answersPerRollout: Int
  /// Longest answer in tokens.
  public var maxTokens: Int
  /// Held-out prompts.
  public var prompts: Int
  /// Answers to each of them.
  public var samplesPerPrompt: Int
  /// The confidence of every interval.
  public var confidence: Double
  /// The start on held-out prompts.
  public var start: EvaluationReport.Model
  /// The rewards that were climbed.
  public var arms: [Arm]

  /// Every number as the mean of the last `window` rollouts, from where there are so many.
  static func smoothed(_ curve: [Step]) -> [Step] {
    guard curve.count >= window else { return [] }
    return (window...curve.count).map { end in
      let last = curve[(end - window)..<end]
      return Step(
        rollout: curve[end - 1].rollout, kl: Statistics.mean(last.map(\.kl)),
        gold: Statistics.mean(last.map(\.gold)), learned: Statistics.mean(last.map(\.learned)))
    }
  }
}
