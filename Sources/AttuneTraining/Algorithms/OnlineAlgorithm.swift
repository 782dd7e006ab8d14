// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import Foundation

/// A trainer that climbs a reward with answers that it samples.
public protocol OnlineAlgorithm {
  /// Its settings.
  associatedtype Knobs: OnlineSettings

  /// Trains a policy and writes it.
  ///
  /// - Parameters:
  ///   - start: The model to start from; it is the reference too.
  ///   - data: Prompts; of rows that hold more, the prompt is taken. Some trainers take samples too,
  ///     whose answers then take the place of the policy's own.
  ///   - rewards: Where rewards come from, each with its weight.
  ///   - rewardFingerprint: What tells these sources from others, for the run's record.
  ///   - watched: A reward that is only measured.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  static func train(
    _ start: LoadedModel, data: DataFile, rewards: [(source: any RewardSource, weight: Double)],
    rewardFingerprint: String, watched: (any RewardSource)?, settings: Knobs, output: URL,
    options: RunOptions
  ) throws -> OnlineReport
}
