// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
import AttuneObjectives
public import AttuneRewards
public import AttuneTraining
public import Foundation

/// The knobs of `attune label`.
public struct LabelSettings: Settings {
  /// The labeller.
  public var labeller = Labeller.concise
  /// What is made of the answers to a prompt.
  public var shape = PreferenceMaker.Shape.pairs
  /// What score differences are multiplied by: i is preferred to j with probability
  /// σ(sharpness·(s_i − s_j)). 0 labels at random, a large number without noise.
  public var sharpness = 2.0
  /// Pairs that are drawn for each prompt; 0 is all.
  public var pairsPerPrompt = 0
  /// The seed of the draws.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    shape == .rankings ? [("pairs_per_prompt", "shape is rankings")] : []
  }
}

/// What a labelling came to: the object of `label --json`.
public struct LabelReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The file that was written.
  public var output: String
  /// The labeller.
  public var labeller: String
  /// What was read and made.
  public var summary: PreferenceMaker.Summary
  /// Mean of the labeller's score.
  public var scoreMean: Double
  /// Standard deviation of the labeller's score.
  public var scoreSd: Double
}

/// Turns a model's answers into preferences or rankings with a labeller.
public enum Labelling {
  /// Labels samples.
  ///
  /// - Parameters:
  ///   - samples: Rows of `attune sample`.
  ///   - settings: The knobs.
  ///   - output: The file to write.
  /// - Returns: What it came to.
  /// - Throws: An error if nothing can be labelled, or a file is missing or can't be written.
  public static func run(
    _ samples: [SampleRow], settings: LabelSettings, output: URL
  ) throws -> LabelReport {
    try settings.validate()
    let maker = try PreferenceMaker(
      try settings.labeller.scorer(),
      try LabelNoise(sharpness: settings.sharpness, seed: settings.seed),
      pairsPerPrompt: settings.pairsPerPrompt)
    let (rows, summary) = maker.label(samples, as: settings.shape)
    guard !rows.isEmpty else {
      throw TrainingError(
        .badData, "no prompt has two different answers to compare; sample more of each (--n)")
    }
    let scores = samples.flatMap { maker.scores($0) }
    try AtomicFile.write(rows.map { $0.text + "\n" }.joined(), to: output)
    return LabelReport(
      output: output.path, labeller: settings.labeller.rawValue, summary: summary,
      scoreMean: Statistics.mean(scores), scoreSd: Statistics.standardDeviation(scores))
  }

  /// Labels the rows of a file of samples; those of other kinds are passed over.
  ///
  /// - Throws: As the other one.
  public static func run(
    _ data: DataFile, settings: LabelSettings, output: URL
  ) throws -> LabelReport {
    let samples = data.rows.compactMap { row in
      if case .samples(let sample) = row.example { sample } else { nil }
    }
    return try run(samples, settings: settings, output: output)
  }
}
