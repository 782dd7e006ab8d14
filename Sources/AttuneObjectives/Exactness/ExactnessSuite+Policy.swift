// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Reward maximisation: the batch is all sequences, weighted by the policy's own probabilities.
extension ExactnessSuite {
  /// Where the KL to the reference is.
  private enum KLTerm: Sendable {
    case reward
    case loss(KLEstimator, perSequence: Bool, ratioWeighted: Bool = false)
  }

  static func policyCases(_ loss: PolicyLoss) -> [ExactnessCase] {
    let gibbs = "π_ref·e^{r/β}"
    switch loss {
    case .reinforce:
      return [
        policyCase(loss, "KL in the reward", gibbs, .reward, .optimum),
        policyCase(loss, "leave-one-out, KL in the reward", gibbs, .reward, .optimum, .leaveOneOut),
        policyCase(
          loss, "k2 a sequence in the loss", gibbs, .loss(.k2, perSequence: true), .optimum),
        policyCase(
          loss, "weighted k3 a sequence in the loss", gibbs,
          .loss(.k3, perSequence: true, ratioWeighted: true), .optimum),
        policyCase(
          loss, "k3 a sequence in the loss", "β·π_ref/(λ − r): optimum of E r − β·KL(π_ref‖π)",
          .loss(.k3, perSequence: true), .forward),
        policyCase(
          loss, "k1 a sequence in the loss", "argmax r: k1 regularises nothing",
          .loss(.k1, perSequence: true), .argmax),
        policyCase(
          loss, "k2 a token in the loss", "zero of the update's field: not π*",
          .loss(.k2, perSequence: false), .field),
        constraintCase(isBinding: true), constraintCase(isBinding: false),
      ]
    case .ppo:
      return [
        policyCase(loss, "KL in the reward", gibbs, .reward, .optimum, .values(whiten: false)),
        policyCase(
          loss, "whitened (REINFORCE++), KL in the reward", gibbs, .reward, .optimum,
          .values(whiten: true)),
        policyCase(
          loss, "a reward in parts inside the answer", gibbs, .reward, .optimum,
          .values(whiten: false), inParts: true),
        policyCase(
          loss, "whitened (REINFORCE++), a reward in parts inside the answer", gibbs, .reward,
          .optimum, .returns, inParts: true),
      ]
    case .drGrpo:
      return [
        policyCase(
          loss, "k2 a sequence in the loss", "π* at 2β: the mean counts the own sample",
          .loss(.k2, perSequence: true), .optimumAtTwice, .group(scaling: false))
      ]
    case .grpo, .dapo, .gspo, .cispo:
      return [
        policyCase(
          loss, "k3 a token in the loss", "zero of the update's field: not π*",
          .loss(.k3, perSequence: false), .field, .group(scaling: true))
      ]
    }
  }

  private enum Goal: Sendable { case optimum, optimumAtTwice, forward, argmax, field }

  /// What an answer is held against.
  enum Estimator: Sendable {
    case mean, leaveOneOut
    case values(whiten: Bool)
    /// The return from each token on, whitened.
    case returns
    case group(scaling: Bool)
  }

  private static func policyCase(
    _ loss: PolicyLoss, _ variant: String, _ target: String, _ kl: KLTerm, _ goal: Goal,
    _ estimator: Estimator = .mean, inParts: Bool = false
  ) -> ExactnessCase {
    ExactnessCase(family: .policy, member: loss.rawValue, variant: variant, target: target) {
      seed in
      let problem = ExactnessProblem(seed: seed)
      var settings = loss.defaults
      settings.klWeight = 0
      settings.maximumLength = TabularPolicy.steps
      if case .loss(let estimator, let perSequence, let ratioWeighted) = kl {
        settings.klWeight = ExactnessProblem.beta
        settings.klTerm.klEstimator = estimator
        settings.klTerm.klPerSequence = perSequence
        settings.klTerm.klRatioWeighted = ratioWeighted
      }
      let knobs = settings
      return try problem.descend(
        steps: goal == .argmax ? 20000 : 800, rate: goal == .argmax ? 0.02 : 0.1,
        target: { _, end in
          switch goal {
          case .optimum: return problem.optimum()
          case .optimumAtTwice: return problem.optimum(factor: 2)
          case .forward: return forwardOptimum(problem)
          case .argmax:
            let best = problem.rewards.indices.max { problem.rewards[$0] < problem.rewards[$1] }
            return problem.rho.indices.map { $0 == best ? 1 : 0 }
          case .field: return fieldZero(loss, knobs, problem, end)
          }
        },
        gradient: policyUpdate(
          loss, knobs, problem, estimator, parts: inParts ? Self.parts(seed: seed) : []))
    }
  }

  /// Parts of a reward at every token: differences of a potential of what was said so far.
  private static func parts(seed: UInt64) -> [[Double]] {
    let random = CounterRandom(seed: seed + 60)
    return TabularPolicy.sequences.map { sequence in
      var before = 0.0
      return sequence.indices.map { t in
        let state = TabularPolicy.state(sequence[..<t])
        let now = 2 * random.uniform(UInt64(state * 8 + sequence[t])) - 1
        defer { before = now }
        return now - before
      }
    }
  }

  /// The expected update of a loss that climbs the reward, with a KL term in it where the loss has none.
  ///
  /// - Parameter ownPass: Whether old log-probabilities come from the trainer's own pass before the step,
  ///   and what drew the answers stands beside them, as where the sampler's numbers are others; else
  ///   what drew the answers is the old policy, as of the later steps on a rollout.
  static func policyUpdate(
    _ loss: PolicyLoss, _ settings: PolicySettings, _ problem: ExactnessProblem,
    _ estimator: Estimator, ownPass: Bool = false, parts: [[Double]] = []
  ) -> ExpectedUpdate {
    { policy, proposal in
      let new = policy.tokenLogProbabilities
      let drawn = proposal.tokenLogProbabilities
      let old = ownPass ? new : drawn
      let p = proposal.probabilities
      let advantages = try advantages(
        estimator, problem, old, p, settings.klWeight == 0, parts)
      let rows = p.indices.map {
        PolicyRow(
          new: new[$0], old: old[$0], advantages: advantages[$0],
          reference: problem.tokenLogRho[$0], sampler: ownPass ? drawn[$0] : [], weight: p[$0])
      }
      let statistics = try loss.statistics(of: rows, settings: settings)
      return policy.gradient(
        loss.loss(rows, statistics: statistics, settings: settings).logProbabilities)
    }
  }

  /// Expected advantages of each sequence's tokens, over all partners where samples are compared.
  private static func advantages(
    _ estimator: Estimator, _ problem: ExactnessProblem, _ logs: [[Double]], _ p: [Double],
    _ inReward: Bool, _ parts: [[Double]]
  ) throws -> [[Double]] {
    let beta = inReward ? problem.beta : 0
    let rewards = logs.indices.map {
      Advantage.tokenRewards(
        old: logs[$0], reference: problem.tokenLogRho[$0], beta: beta, score: problem.rewards[$0],
        parts: parts.isEmpty ? [] : parts[$0])
    }
    let whole = rewards.map { $0.reduce(0, +) }
    switch estimator {
    case .mean:
      let mean = zip(p, whole).reduce(0) { $0 + $1.0 * $1.1 }
      return ExactnessProblem.spread(whole.map { $0 - mean })
    case .leaveOneOut, .group:
      return ExactnessProblem.spread(
        try whole.indices.map { i in
          try whole.indices.reduce(0.0) { sum, j in
            let pair = [whole[i], whole[j]]
            let own =
              if case .group(let scaling) = estimator {
                try Advantage.groupNormalised(pair, scaling: scaling)
              } else {
                try Advantage.leaveOneOut(pair)
              }
            return sum + p[j] * own[0]
          }
        })
    case .returns:
      let returns = rewards.map {
        Advantage.gae(rewards: $0, values: $0.map { _ in 0 }, lambda: 1).advantages
      }
      return Advantage.whiten(returns, weights: p)
    case .values(let whiten):
      let values = values(p, rewards)
      let advantages = zip(TabularPolicy.sequences, rewards).map { sequence, rewards in
        Advantage.gae(
          rewards: rewards,
          values: sequence.indices.map { values[TabularPolicy.state(sequence[..<$0])] }
        ).advantages
      }
      return whiten ? Advantage.whiten(advantages, weights: p) : advantages
    }
  }

  /// Exact values of the states under the policy, backward over the sequences.
  private static func values(_ p: [Double], _ rewards: [[Double]]) -> [Double] {
    var total = Array(repeating: 0.0, count: TabularPolicy.states)
    var mass = total
    for (i, sequence) in TabularPolicy.sequences.enumerated() {
      var toGo = 0.0
      for t in sequence.indices.reversed() {
        toGo += rewards[i][t]
        let state = TabularPolicy.state(sequence[..<t])
        total[state] += p[i] * toGo
        mass[state] += p[i]
      }
    }
    return zip(total, mass).map { $1 > 0 ? $0 / $1 : 0 }
  }

  /// argmax of E r − β·KL(π_ref ‖ π): π = β·π_ref/(λ − r), λ above every r with Σπ = 1.
  private static func forwardOptimum(_ problem: ExactnessProblem) -> [Double] {
    let most = problem.rewards.max() ?? 0
    return ExactnessSolver.simplex(from: most + 1e-12, to: most + 100) { lambda in
      zip(problem.rho, problem.rewards).map { ExactnessProblem.beta * $0 / (lambda - $1) }
    }
  }

  /// Where the expected update on the policy's own samples vanishes, from plain formulas.
  private static func fieldZero(
    _ loss: PolicyLoss, _ settings: PolicySettings, _ problem: ExactnessProblem,
    _ end: TabularPolicy
  ) -> [Double] {
    let r = problem.rewards
    let averages = loss == .grpo || loss == .gspo
    let solved = ExactnessSolver.root(from: end.logits) { logits in
      let policy = TabularPolicy(logits: logits)
      let p = policy.probabilities
      let mean = zip(p, r).reduce(0) { $0 + $1.0 * $1.1 }
      let coefficients = TabularPolicy.sequences.indices.map { i in
        let advantage =
          loss == .reinforce
          ? r[i] - mean
          : r.indices.reduce(0.0) { sum, j in
            let d = r[i] - r[j]
            return sum + p[j] * (d / 2) / (abs(d) / 2.0.squareRoot() + 1e-4)
          }
        let logs = policy.logProbabilities(TabularPolicy.sequences[i])
        let scale = p[i] / (averages ? Double(logs.count) : 1)
        return logs.indices.map { t in
          let u = problem.tokenLogRho[i][t] - logs[t]
          let slope = settings.klTerm.klEstimator == .k2 ? -u : 1 - exp(u)
          return scale * (settings.klWeight * slope - advantage)
        }
      }
      return policy.gradient(coefficients)
    }
    return TabularPolicy(logits: solved).probabilities
  }
}
