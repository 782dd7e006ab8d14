// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// One method on a policy whose optimum is known: it must reach it, not only improve.
package struct ExactnessCase: Sendable {
  /// A family of losses.
  package enum Family: String, CaseIterable, Codable, Sendable {
    case reward, preference, unpaired, policy, distribution, distillation
  }

  /// The family.
  package var family: Family
  /// The member's own name: the raw value of its enum.
  package var member: String
  /// What is particular about the case; empty for the member's plain form.
  package var variant: String
  /// In words, what it must reach and where that comes from.
  package var target: String
  /// Trains from the start that a seed gives, on the problem that the seed gives.
  package var run: @Sendable (_ seed: UInt64) throws -> ExactnessRun

  /// Member and variant.
  package var name: String { variant.isEmpty ? member : "\(member), \(variant)" }
}

/// What a case reached from one start.
package struct ExactnessRun: Codable, Sendable {
  /// Total variation distance to the target at the end.
  package var distance: Double
  /// The same at the start.
  package var initial: Double
  /// Optimiser steps.
  package var steps: Int
  /// The distance after each `every` steps, from step 0.
  package var curve: [Double]
  /// Steps between two points of the curve.
  package var every: Int
  /// Distance from π* ∝ π_ref·e^{r/β} at the end, where the problem has one: what a method reaches
  /// that does not reach its aim.
  package var fromOptimum: Double?
  /// Sequences whose probability fell below 1e-4 of the reference's: the optimum is at infinity there.
  package var vanished: Int
  /// What it must reach: the probability of each sequence.
  package var target: [Double]
  /// Where it started.
  package var start: [Double]
  /// Where it ended.
  package var end: [Double]

  /// Below which distance a case passes.
  package static let tolerance = 1e-3
  /// Whether this run passes.
  package var passes: Bool { distance < Self.tolerance }
}

/// The expected gradient of a loss on the logits of a policy, over all answers with their probability
/// under a proposal, which drew them; the policy itself but where that is said.
typealias ExpectedUpdate = (_ policy: TabularPolicy, _ proposal: TabularPolicy) throws -> [Double]

/// A reference, rewards and a start, drawn from a seed.
struct ExactnessProblem: Sendable {
  static let beta = 0.5
  /// β where it is not that.
  var beta = Self.beta
  /// Whom the rewards are of, where they are log T/π_ref.
  var teacher: TabularPolicy?
  let reference: TabularPolicy
  let start: TabularPolicy
  /// |r/β| ≤ 3.
  var rewards: [Double]
  /// Probabilities of the reference, and their logarithms a sequence and a token.
  let rho: [Double]
  let logRho: [Double]
  let tokenLogRho: [[Double]]

  init(seed: UInt64) {
    reference = TabularPolicy(seed: seed)
    start = TabularPolicy(seed: seed + 20)
    let random = CounterRandom(seed: seed + 10)
    rewards = TabularPolicy.sequences.indices.map {
      3 * Self.beta * (2 * random.uniform(UInt64($0)) - 1)
    }
    rho = reference.probabilities
    logRho = rho.map { log($0) }
    tokenLogRho = reference.tokenLogProbabilities
  }

  /// The same with rewards log T/π_ref of a teacher.
  init(seed: UInt64, beta: Double, towards teacher: TabularPolicy) {
    self.init(seed: seed)
    self.beta = beta
    self.teacher = teacher
    rewards = zip(teacher.probabilities, logRho).map { log($0) - $1 }
  }

  var count: Int { rho.count }
  static let lengths = TabularPolicy.sequences.map(\.count)

  /// π* at β times a factor.
  func optimum(factor: Double = 1) -> [Double] {
    TabularPolicy.optimum(reference: rho, rewards: rewards, beta: factor * beta)
  }

  /// P(i ≻ j) by Bradley–Terry.
  func preferred(_ i: Int, _ j: Int) -> Double { sigmoid(rewards[i] - rewards[j]) }

  /// How a run ends up.
  ///
  /// - Parameters:
  ///   - steps: Optimiser steps.
  ///   - rate: The first one's learning rate, which falls to 0.
  ///   - behind: By how many steps the proposal is older than the policy; at first it is the start.
  ///   - target: What it must reach, which may depend on where it ended (a stationary point near by).
  ///   - update: The gradient.
  func descend(
    steps: Int, rate: Double = 0.1, behind: Int = 0,
    target: ([Double], TabularPolicy) throws -> [Double],
    gradient update: ExpectedUpdate
  ) rethrows -> ExactnessRun {
    var policy = start
    var adam = TabularAdam(count: policy.logits.count)
    let every = max(1, steps / 40)
    var seen = [policy.probabilities]
    var past: [TabularPolicy] = []
    for step in 0..<steps {
      past.append(policy)
      let slope = try update(policy, past[max(0, step - behind)])
      adam.update(&policy.logits, slope, rate: rate * (1 - Double(step) / Double(steps)))
      if (step + 1) % every == 0 { seen.append(policy.probabilities) }
    }
    let end = policy.probabilities
    let wanted = try target(end, policy)
    return ExactnessRun(
      distance: TabularPolicy.distance(end, wanted),
      initial: TabularPolicy.distance(start.probabilities, wanted), steps: steps,
      curve: seen.map { TabularPolicy.distance($0, wanted) }, every: every,
      fromOptimum: TabularPolicy.distance(end, optimum()),
      vanished: zip(end, rho).count(where: { $0 < 1e-4 * $1 }), target: wanted,
      start: start.probabilities, end: end)
  }

  /// Coefficients of whole sequences as the same one for each of their tokens.
  static func spread(_ sums: [Double]) -> [[Double]] {
    zip(sums, lengths).map { Array(repeating: $0, count: $1) }
  }
}
