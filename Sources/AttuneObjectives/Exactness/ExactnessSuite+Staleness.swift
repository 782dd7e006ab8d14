// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// The suite with answers of an earlier policy: of one that is some optimiser steps behind, as where
/// sampling and training go on at once, or of the start alone.
extension ExactnessSuite {
  /// How many steps the proposal is behind where it is never renewed.
  package static let never = Int.max
  /// What `staleOutcomes` runs.
  package static let staleSteps = Array(0...8) + [never]

  /// A method, and what it knows of who drew the answers.
  package struct StaleMethod: Sendable {
    /// The family: of a loss that matches a distribution, of one that climbs, or of chosen answers.
    package enum Family: String, Codable, Sendable { case matching, climbing, chosen }

    /// The family.
    package let family: Family
    /// The method.
    package let name: String
    /// What is done about the proposal, where there is a choice.
    package let variant: String
    private let steps: Int
    private let update: @Sendable (ExactnessProblem) -> ExpectedUpdate

    init(
      _ family: Family, _ name: String, _ variant: String = "", steps: Int = 800,
      _ update: @escaping @Sendable (ExactnessProblem) -> ExpectedUpdate
    ) {
      (self.family, self.name, self.variant) = (family, name, variant)
      (self.steps, self.update) = (steps, update)
    }

    /// Method and variant.
    package var title: String { variant.isEmpty ? name : "\(name), \(variant)" }

    /// Trains from a start towards π*; what is chosen, towards the best of two of what draws it.
    ///
    /// - Parameter behind: Steps that the proposal is behind.
    package func run(behind: Int, seed: UInt64) throws -> ExactnessRun {
      let problem = ExactnessProblem(seed: seed)
      return try problem.descend(
        steps: steps, behind: behind,
        target: { end, _ in
          guard family == .chosen else { return problem.optimum() }
          return bestOfTwo(problem, behind == never ? problem.start.probabilities : end)
        }, gradient: update(problem))
    }

    /// The expected update at a policy by answers of another, on the problem of a seed.
    package func update(
      _ policy: TabularPolicy, by proposal: TabularPolicy, seed: UInt64
    ) throws -> [Double] {
      try update(ExactnessProblem(seed: seed))(policy, proposal)
    }
  }

  /// π* of a seed's problem, as a policy.
  package static func optimum(seed: UInt64) -> TabularPolicy {
    TabularPolicy(probabilities: ExactnessProblem(seed: seed).optimum())
  }

  /// All of them.
  package static let staleMethods: [StaleMethod] =
    DistributionLoss.allCases.flatMap { loss in
      loss == .fdpg
        ? TargetDivergence.allCases.map { divergence in
          var settings = DistributionSettings()
          settings.divergence = divergence
          return matching(loss, divergence.rawValue, settings)
        } : [matching(loss, "", DistributionSettings())]
    } + [matching(.gdcPlusPlus, "Z of two answers", DistributionSettings(), pairs: true)]
    + climbing("rloo", .reinforce, later: .drGrpo, .leaveOneOut)
    + climbing("ppo", .ppo, later: .ppo, .values(whiten: true))
    + climbing("grpo", .grpo, later: .grpo, .group(scaling: true))
    + [
      StaleMethod(.chosen, "raft", "best of two") { problem in
        { policy, proposal in
          let weights = ExactnessProblem.spread(bestOfTwo(problem, proposal.probabilities))
          let result = TokenLoss.supervised(
            logProbabilities: policy.tokenLogProbabilities,
            weights: weights, statistics: TokenLoss.statistics(weights: weights))
          return policy.gradient(result.logProbabilities)
        }
      }
    ]

  private static func matching(
    _ loss: DistributionLoss, _ variant: String, _ settings: DistributionSettings,
    pairs: Bool? = nil
  ) -> StaleMethod {
    StaleMethod(
      .matching, loss.rawValue, variant,
      steps: distributionSteps(settings)
    ) { distributionUpdate(loss, settings, $0, pairs: pairs) }
  }

  /// A method with each form of weights, and as the later steps on a rollout are: what drew the answers
  /// is the old policy, of which the ratio is clipped.
  ///
  /// - Parameter later: The loss of those.
  private static func climbing(
    _ name: String, _ loss: PolicyLoss, later: PolicyLoss, _ estimator: Estimator
  ) -> [StaleMethod] {
    var settings = loss.defaults
    settings.klWeight = loss == .grpo ? ExactnessProblem.beta : 0
    settings.maximumLength = 1
    let plain = settings
    return SamplerCorrection.Form.allCases.map { form in
      var settings = plain
      settings.correction.importanceWeights = form
      let knobs = settings
      return StaleMethod(.climbing, name, "importance_weights \(form.rawValue)") {
        policyUpdate(loss, knobs, $0, estimator, ownPass: true)
      }
    } + [
      StaleMethod(.climbing, name, "clipped ratio") { policyUpdate(later, plain, $0, estimator) }
    ]
  }

  /// How probable each sequence is as the better of two draws.
  private static func bestOfTwo(_ problem: ExactnessProblem, _ p: [Double]) -> [Double] {
    let order = p.indices.sorted { problem.rewards[$0] < problem.rewards[$1] }
    var best = p
    var below = 0.0
    for i in order {
      best[i] = p[i] * (2 * below + p[i])
      below += p[i]
    }
    return best
  }

  /// How far a method ends from π*.
  package struct StaleOutcome: Codable, Sendable {
    /// A number of steps behind.
    package struct Point: Codable, Sendable {
      /// Steps that the proposal is behind; nil: it is never renewed.
      package var behind: Int?
      /// Total variation distance from π* at the end, the largest of any start.
      package var distance: Double
    }

    /// The family.
    package var family: StaleMethod.Family
    /// The method.
    package var name: String
    /// What is done about the proposal.
    package var variant: String
    /// A point for each of `staleSteps`.
    package var points: [Point]
  }

  /// Runs methods on all cores, from every start, with each of `staleSteps`.
  package static func staleOutcomes(of methods: [StaleMethod]) throws -> [StaleOutcome] {
    let found = Mutex<[Int: Result<StaleOutcome.Point, any Error>]>([:])
    DispatchQueue.concurrentPerform(iterations: methods.count * staleSteps.count) { index in
      let (method, behind) = (
        methods[index / staleSteps.count], staleSteps[index % staleSteps.count]
      )
      let result = Result {
        StaleOutcome.Point(
          behind: behind == never ? nil : behind,
          distance: try seeds.map { try method.run(behind: behind, seed: $0).fromOptimum ?? 0 }
            .max() ?? 0)
      }
      found.withLock { $0[index] = result }
    }
    return try found.withLock { found in
      try methods.enumerated().map { row, method in
        StaleOutcome(
          family: method.family, name: method.name, variant: method.variant,
          points: try staleSteps.indices.compactMap {
            try found[row * staleSteps.count + $0]?.get()
          })
      }
    }
  }
}
