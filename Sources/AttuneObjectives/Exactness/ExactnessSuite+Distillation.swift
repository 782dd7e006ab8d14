// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Distillation: the target is a teacher, another random policy, and what a method ends at is that teacher
/// or, with a β other than 1, its power over the reference's.
extension ExactnessSuite {
  static func distillationCases(_ loss: DistillationLoss) -> [ExactnessCase] {
    switch loss {
    case .reverseKL:
      return [
        distillationCase(loss, "all tokens", divergence(mix: 1)),
        distillationCase(loss, "sampled tokens", sampled(discount: 0)),
        distillationCase(loss, "sampled tokens, discount 1", sampled(discount: 1)),
        distillationCase(loss, "sampled tokens, discount 1, β 2", sampled(discount: 1), beta: 2),
        distillationCase(
          loss, "sampled tokens, discount 1, β 0.5", sampled(discount: 1), beta: 0.5),
      ]
    case .forwardKL: return [distillationCase(loss, "", divergence(mix: 0))]
    case .gkd:
      return [0.1, 0.5, 0.9].map {
        distillationCase(loss, "b \($0), λ 0.5", divergence(mix: $0, own: 0.5))
      }
    case .sequence: return [distillationCase(loss, "", supervised)]
    }
  }

  /// An online trainer of whole rewards that climbs log T/π_ref.
  static var teacherRewardCases: [ExactnessCase] {
    [1, 2, 0.5].map { beta in
      var settings = PolicyLoss.reinforce.defaults
      settings.klWeight = 0
      let knobs = settings
      return distillationCase(
        family: .policy, PolicyLoss.reinforce.rawValue, "reward log T/π_ref, β \(beta)",
        { policyUpdate(.reinforce, knobs, $0, .leaveOneOut) }, beta: beta)
    }
  }

  private typealias Update = @Sendable (ExactnessProblem) -> ExpectedUpdate

  private static func distillationCase(
    _ loss: DistillationLoss, _ variant: String, _ update: @escaping Update, beta: Double = 1
  ) -> ExactnessCase {
    distillationCase(family: .distillation, loss.rawValue, variant, update, beta: beta)
  }

  private static func distillationCase(
    family: ExactnessCase.Family, _ member: String, _ variant: String, _ update: @escaping Update,
    beta: Double
  ) -> ExactnessCase {
    let target = beta == 1 ? "the teacher T" : "π_ref^{1−1/β}·T^{1/β}/Z"
    return ExactnessCase(family: family, member: member, variant: variant, target: target) { seed in
      let problem = ExactnessProblem(seed: seed, beta: beta, towards: teacher(seed))
      return try problem.descend(
        steps: beta < 1 ? 3000 : 800,
        target: { _, _ in
          try DistillationLoss.optimum(
            reference: problem.rho, teacher: teacher(seed).probabilities, beta: beta)
        }, gradient: update(problem))
    }
  }

  private static func teacher(_ seed: UInt64) -> TabularPolicy { TabularPolicy(seed: seed + 30) }

  /// The log-probabilities of the teacher that a problem's rewards are of, a token.
  private static func tokenLogs(_ problem: ExactnessProblem) -> [[Double]] {
    problem.teacher?.tokenLogProbabilities ?? []
  }

  /// A divergence of every token, in the states that answers go through, a share of them the policy's own
  /// and the others the teacher's.
  private static func divergence(mix: Double, own: Double = 1) -> Update {
    { problem in
      { policy, proposal in
        guard let teacher = problem.teacher else { return [] }
        let drawn = zip(proposal.probabilities, teacher.probabilities).map {
          own * $0 + (1 - own) * $1
        }
        let tokens = TabularPolicy.tokens
        var slopes = policy.logits.map { _ in 0.0 }
        let weights = zip(drawn, ExactnessProblem.lengths).map { Array(repeating: $0, count: $1) }
        let scaled = TokenLoss.statistics(weights: weights).scaled(weights)
        for (sequence, weights) in zip(TabularPolicy.sequences, scaled) {
          for (t, weight) in weights.enumerated() {
            let state = TabularPolicy.state(sequence[..<t])
            let gradient = DistillationLoss.divergence(
              policy: policy.distribution(state).map { log($0) },
              teacher: teacher.distribution(state).map { log($0) }, mix: mix
            ).gradient
            for token in 0..<tokens { slopes[state * tokens + token] += weight * gradient[token] }
          }
        }
        return slopes
      }
    }
  }

  /// The tokens of the policy's own answers alone, by the clipped loss that the trainer has.
  private static func sampled(discount: Double) -> Update {
    { problem in
      let teacher = tokenLogs(problem)
      return { policy, proposal in
        let (new, old) = (policy.tokenLogProbabilities, proposal.tokenLogProbabilities)
        let p = proposal.probabilities
        let rows = p.indices.map {
          PolicyRow(
            new: new[$0], old: old[$0],
            advantages: Advantage.distillation(
              old: old[$0], reference: problem.tokenLogRho[$0], teacher: teacher[$0],
              beta: problem.beta, discount: discount),
            weight: p[$0])
        }
        let statistics = try PolicyLoss.ppo.statistics(of: rows)
        return policy.gradient(
          PolicyLoss.ppo.loss(rows, statistics: statistics, settings: PolicySettings())
            .logProbabilities)
      }
    }
  }

  /// The likelihood of the teacher's answers.
  @Sendable private static func supervised(_ problem: ExactnessProblem) -> ExpectedUpdate {
    { policy, _ in
      let drawn = problem.teacher?.probabilities ?? []
      let weights = zip(drawn, ExactnessProblem.lengths).map { Array(repeating: $0, count: $1) }
      return policy.gradient(
        TokenLoss.supervised(
          logProbabilities: policy.tokenLogProbabilities, weights: weights,
          statistics: TokenLoss.statistics(weights: weights)
        ).logProbabilities)
    }
  }
}
