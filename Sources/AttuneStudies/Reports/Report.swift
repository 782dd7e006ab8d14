// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneRewards
public import AttuneTraining
public import Foundation

/// What a whole run of `attune rlhf` did and found: the facts of `report.json` and `report.html`.
public struct Report: Codable, Sendable, Equatable {
  /// A stage of the run.
  public struct Stage: Codable, Sendable, Equatable {
    /// Its name, as `--from` takes it.
    public var name: String
    /// Seconds that it took, when it was run.
    public var seconds: Double
    /// Whether this run found it done and used what was there.
    public var reused: Bool
    /// What it made, in a few words.
    public var summary: String
  }

  /// The numbers of one rollout (or step) of training.
  public struct Point: Codable, Sendable, Equatable {
    /// Which rollout or step, from 0.
    public var step: Int
    /// The numbers by the names of `Documentation/Metrics.md`.
    public var values: [String: Double]

    /// Makes a point.
    ///
    /// - Parameters:
    ///   - step: Which rollout or step.
    ///   - values: The numbers by name; those that are not finite are left out.
    package init(step: Int, values: [String: Double]) {
      self.step = step
      self.values = values.filter(\.value.isFinite)
    }
  }

  /// The machine that the run was made on.
  public struct Machine: Codable, Sendable, Equatable {
    /// Threads that the engine used.
    public var threads: Int
    /// Billions of floating-point operations a second of the matrix product alone, at the start.
    public var productRateAtStart: Double?
    /// The same at the end.
    public var productRateAtEnd: Double?

    private enum CodingKeys: String, CodingKey {
      case threads
      case productRateAtStart = "sgemm_gflops_start"
      case productRateAtEnd = "sgemm_gflops_end"
    }
  }

  /// How good the reward model is on pairs that it has not seen.
  public struct RewardModelFacts: Codable, Sendable, Equatable {
    /// One bin of the calibration plot.
    public struct Bin: Codable, Sendable, Equatable {
      /// The mean probability that the model gave to its favourite.
      public var confidence: Double
      /// How often the favourite was the chosen answer.
      public var accuracy: Double
      /// Pairs in the bin.
      public var pairs: Int
    }

    /// A point of the learning curve.
    public struct CurvePoint: Codable, Sendable, Equatable {
      /// Pairs seen so far.
      public var pairs: Int
      /// Accuracy on the held-out pairs.
      public var accuracy: Double
    }

    /// Share of held-out pairs whose chosen answer gets the higher reward.
    public var accuracy: Double?
    /// Its confidence interval.
    public var accuracyInterval: Interval?
    /// Held-out pairs.
    public var pairs: Int
    /// Expected calibration error.
    public var calibrationError: Double?
    /// The calibration plot.
    public var bins: [Bin]
    /// Accuracy against pairs seen.
    public var learningCurve: [CurvePoint]

    private enum CodingKeys: String, CodingKey {
      case accuracy = "eval_accuracy"
      case accuracyInterval = "eval_accuracy_interval"
      case pairs = "eval_pairs"
      case calibrationError = "eval_ece"
      case bins
      case learningCurve = "learning_curve"
    }
  }

  /// A prompt with an answer from before and one from after.
  public struct SideBySide: Codable, Sendable, Equatable {
    /// An answer with its rewards.
    public struct Side: Codable, Sendable, Equatable {
      /// The text.
      public var text: String
      /// Whether it ended by itself.
      public var completed: Bool
      /// The rewards by name.
      public var rewards: [String: Double]

      /// Makes an answer.
      ///
      /// - Parameters:
      ///   - text: The text.
      ///   - completed: Whether it ended by itself.
      ///   - rewards: The rewards by name.
      init(text: String, completed: Bool, rewards: [String: Double]) {
        self.text = text
        self.completed = completed
        self.rewards = rewards.filter(\.value.isFinite)
      }
    }

    /// The prompt.
    public var prompt: String
    /// The start's answer.
    public var before: Side
    /// The trained policy's answer.
    public var after: Side
  }

  /// A named setting as text.
  public struct Setting: Codable, Sendable, Equatable {
    /// The stage that it belongs to.
    public var stage: String
    /// Its name in a recipe file.
    public var name: String
    /// Its value.
    public var value: String
  }

  /// The version of this format.
  public var formatVersion = 1
  /// The version of Attune that wrote it.
  public var version: String
  /// What the run is called.
  public var title: String
  /// The model that was aligned.
  public var model: String
  /// What stands for the labeller where people prefer.
  static let people = "human"

  /// The labeller, whose score is the gold reward; `human` where people prefer, `judge:NAME` where an
  /// AI judge does: then there is none.
  public var labeller: String
  /// One sentence on what the labeller rewards.
  public var labellerSummary: String
  /// When it was written, in UTC.
  public var date: String
  /// The seed of the run.
  public var seed: UInt64
  /// The machine.
  public var machine: Machine
  /// The stages in their order.
  public var stages: [Stage]
  /// Before and after on held-out prompts.
  public var evaluation: EvaluationReport
  /// The reward model.
  public var rewardModel: RewardModelFacts?
  /// The numbers over training.
  public var training: [Point]
  /// Sampled answers side by side.
  public var samples: [SideBySide]
  /// Greedy answers side by side; nil in reports of before there were any.
  public var greedy: [SideBySide]?
  /// Every setting.
  public var settings: [Setting]
  /// What a reader should know beforehand: what the model can't do.
  public var remark: String?

  private enum CodingKeys: String, CodingKey {
    case formatVersion = "format_version"
    case version, title, model, labeller, date, seed, machine, stages, evaluation, training
    case samples, greedy, settings, remark
    case labellerSummary = "labeller_summary"
    case rewardModel = "reward_model"
  }

  /// The report as JSON, keys sorted, with a newline at its end.
  ///
  /// - Throws: What the encoder throws on a number that is not finite.
  public func json() throws -> Data { try JSONText.pretty(self) }

  /// Writes `report.json` and `report.html` into a folder, each whole or not at all.
  ///
  /// - Parameter folder: An existing folder.
  /// - Throws: `TrainingError.file`.
  public func write(to folder: URL) throws {
    try AtomicFile.write(try json(), to: folder.appending(path: "report.json"))
    try AtomicFile.write(html, to: folder.appending(path: "report.html"))
  }
}
