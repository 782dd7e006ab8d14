// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A constraint on the mean of a cost, kept by dual ascent while the policy climbs.
extension ExactnessSuite {
  /// The policy gradient on r − λ·c with λ by dual ascent, once a step.
  ///
  /// - Parameter isBinding: Whether the limit is below what the policy would cost without it: half way
  ///   between that and the least cost of any response. Else it is above, and λ ends at 0.
  static func constraintCase(isBinding: Bool) -> ExactnessCase {
    ExactnessCase(
      family: .policy, member: PolicyLoss.reinforce.rawValue,
      variant: isBinding ? "constraint by dual ascent" : "constraint that does not bind",
      target: isBinding
        ? "π_ref·e^{(r − λc)/β}, E c = d, λ by bisection" : "π_ref·e^{r/β}, λ = 0"
    ) { seed in
      let problem = ExactnessProblem(seed: seed)
      let random = CounterRandom(seed: seed + 50)
      let costs = problem.rewards.indices.map { random.uniform(UInt64($0)) }
      let free = zip(problem.optimum(), costs).reduce(0) { $0 + $1.0 * $1.1 }
      let limit = isBinding ? (free + (costs.min() ?? 0)) / 2 : free + 0.05
      var ascent = try DualAscent(limit: limit, rate: 0.1, scale: 1)
      var settings = PolicyLoss.reinforce.defaults
      settings.klWeight = 0
      let knobs = settings
      return try problem.descend(
        steps: 2400,
        target: { _, _ in
          try DualAscent.optimum(
            reference: problem.rho, rewards: problem.rewards, costs: costs,
            beta: ExactnessProblem.beta, limit: limit
          ).probabilities
        },
        gradient: { policy, proposal in
          var priced = problem
          priced.rewards = zip(problem.rewards, costs).map { $0 - ascent.price(of: $1) }
          let slope = try policyUpdate(.reinforce, knobs, priced, .mean)(policy, proposal)
          ascent.update(
            meanCost: zip(proposal.probabilities, costs).reduce(0) { $0 + $1.0 * $1.1 })
          return slope
        })
    }
  }
}
