// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

/// What a frontier shows: the facts of `frontier.json` and `frontier.html`.
public struct FrontierReport: Codable, Sendable, Equatable {
  /// A number with its confidence interval over prompts.
  public struct Figure: Codable, Sendable, Equatable {
    /// The number.
    public var mean: Double
    /// Its interval.
    public var interval: Interval

    init(mean: Double, interval: Interval) {
      self.mean = mean
      self.interval = interval
    }

    init(_ estimate: Statistics.Estimate) {
      self.init(mean: estimate.value, interval: Interval(estimate.interval))
    }
  }

  /// The best of n answers of the start by the learned reward.
  public struct BestOfNPoint: Codable, Sendable, Equatable {
    /// Answers chosen from.
    public var n: Int
    /// log n − (n − 1)/n, in nats an answer.
    public var kl: Double
    /// Their expected gold reward.
    public var gold: Figure
    /// Their expected learned reward.
    public var learned: Figure
  }

  /// One policy.
  public struct Point: Codable, Sendable, Equatable {
    /// The method as it was asked for: `grpo:dapo`.
    public var method: String
    /// β; nil where the method reads none.
    public var beta: Double?
    /// The point's folder inside the frontier's.
    public var folder: String
    /// What was found; nil where training failed.
    public var found: PolicyFacts?
    /// Why there is nothing.
    public var failure: String?
    /// Whether no other policy has both more gold reward and less KL.
    public var isUndominated = false
    /// Most answers that the method was allowed to sample; 0 for one that reads collected pairs.
    public var answers: Int

    /// `grpo:dapo at β 0.1`.
    var name: String { method + (beta.map { " at β \($0)" } ?? "") }

    private enum CodingKeys: String, CodingKey {
      case method, beta, folder, found, failure, answers
      case isUndominated = "undominated"
    }
  }

  /// What every method may use.
  public struct Budget: Codable, Sendable, Equatable {
    /// Rollouts of a method that samples.
    public var rollouts: Int
    /// Answers of each.
    public var answersPerRollout: Int
    /// Answers in all.
    public var answers: Int
    /// Longest answer in tokens.
    public var maxTokens: Int
    /// Answers of the start that the run collected.
    public var collectedAnswers: Int
    /// Pairs of these that methods without rollouts learn from; nil where there is no such method.
    public var pairs: Int?
  }

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
  /// What every method may use.
  public var budget: Budget
  /// Held-out prompts.
  public var prompts: Int
  /// Answers of each policy to each of them.
  public var samplesPerPrompt: Int
  /// The confidence of every interval.
  public var confidence: Double
  /// The start.
  public var start: EvaluationReport.Model
  /// Best of n, by rising n.
  public var bestOfN: [BestOfNPoint]
  /// The policies, in the order of the methods.
  public var points: [Point]
  /// Points that are not made yet, by name.
  public var missing: [String]

  /// Says of every point whether another has both more gold reward and less KL.
  mutating func markUndominated() {
    func place(_ point: Point) -> (kl: Double, gold: Double)? {
      point.found.flatMap { found in
        (found.facts.kl).map { ($0, found.gold.mean) }
      }
    }
    let places = points.compactMap(place)
    for i in points.indices {
      guard let own = place(points[i]) else { continue }
      points[i].isUndominated = !places.contains { $0.kl < own.kl && $0.gold > own.gold }
    }
  }
}

/// A policy on held-out prompts, and what it cost.
public struct PolicyFacts: Codable, Sendable, Equatable {
  /// Lengths, KL, diversity and the rest.
  public var facts: EvaluationReport.Model
  /// Gold reward.
  public var gold: FrontierReport.Figure
  /// Learned reward.
  public var learned: FrontierReport.Figure
  /// How often the gold reward prefers an answer of it to one of the start, ties half.
  public var winRate: FrontierReport.Figure
  /// Seconds of training, resumed parts added up.
  public var seconds: Double
  /// The largest resident memory while it trained, in MB, start and reward model included.
  public var peakMemory: Double
  /// What was noticed while it trained.
  public var alarms: [RaisedAlarm]
  /// What training came to, in words.
  public var summary: String

  private enum CodingKeys: String, CodingKey {
    case facts = "evaluation"
    case gold, learned, seconds, alarms, summary
    case winRate = "win_rate"
    case peakMemory = "peak_mb"
  }
}

/// An alarm and when it was raised first.
public struct RaisedAlarm: Codable, Sendable, Equatable {
  /// Which one.
  public var alarm: RolloutAlarm
  /// The rollout, from 1.
  public var rollout: Int
  /// What was said.
  public var text: String
}
