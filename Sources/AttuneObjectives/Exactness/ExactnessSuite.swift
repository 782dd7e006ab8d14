// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Every method on a tabular policy whose target is known: one list that the tests and
/// `attune exactness` run.
package enum ExactnessSuite {
  /// All cases, by family; every member of every family has one at least.
  package static var cases: [ExactnessCase] {
    RewardLoss.allCases.flatMap(rewardCases)
      + PreferenceLoss.allCases.flatMap(preferenceCases)
      + UnpairedLoss.allCases.flatMap(unpairedCases)
      + PolicyLoss.allCases.flatMap(policyCases)
      + teacherRewardCases
      + DistributionLoss.allCases.flatMap(distributionCases)
      + DistillationLoss.allCases.flatMap(distillationCases)
  }

  /// The seeds of the starts: each has its own reference, rewards and start.
  package static let seeds: [UInt64] = [1, 2]

  /// What a case reached from every start.
  package struct Outcome: Codable, Sendable {
    /// The family.
    package var family: String
    /// Member and variant.
    package var name: String
    /// What it must reach.
    package var target: String
    /// A run a start.
    package var runs: [ExactnessRun]

    /// The largest distance of any start.
    package var distance: Double { runs.map(\.distance).max() ?? .infinity }
    /// Whether every start passes.
    package var passes: Bool { !runs.isEmpty && runs.allSatisfy(\.passes) }
  }

  /// Runs cases on all cores, from every start.
  ///
  /// - Parameter cases: Which ones.
  package static func outcomes(of cases: [ExactnessCase]) throws -> [Outcome] {
    let results = Mutex<[Int: Result<Outcome, any Error>]>([:])
    DispatchQueue.concurrentPerform(iterations: cases.count) { index in
      let result = Result { try outcome(of: cases[index]) }
      results.withLock { $0[index] = result }
    }
    return try results.withLock { found in
      try cases.indices.compactMap { try found[$0]?.get() }
    }
  }

  /// Runs a case from every start.
  package static func outcome(of item: ExactnessCase) throws -> Outcome {
    Outcome(
      family: item.family.rawValue, name: item.name, target: item.target,
      runs: try seeds.map { try item.run($0) })
  }
}
