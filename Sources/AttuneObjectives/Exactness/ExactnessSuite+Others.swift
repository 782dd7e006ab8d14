// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

extension ExactnessSuite {
  /// Distribution matching: all sequences with their probability under the proposal, Z known; for
  /// `brain` all pairs of independent draws of the policy.
  static func distributionCases(_ loss: DistributionLoss) -> [ExactnessCase] {
    switch loss {
    case .fdpg:
      TargetDivergence.allCases.map { divergence in
        var settings = DistributionSettings()
        settings.divergence = divergence
        return distributionCase(loss, divergence.rawValue, settings)
      }
    case .dpg, .gdcPlusPlus, .brain: [distributionCase(loss, "", DistributionSettings())]
    }
  }

  private static func distributionCase(
    _ loss: DistributionLoss, _ variant: String, _ settings: DistributionSettings
  ) -> ExactnessCase {
    ExactnessCase(
      family: .distribution, member: loss.rawValue, variant: variant, target: "π_ref·e^{r/β}"
    ) { seed in
      let problem = ExactnessProblem(seed: seed)
      let update = distributionUpdate(loss, settings, problem)
      return try problem.descend(
        steps: distributionSteps(settings), target: { _, _ in problem.optimum() },
        // `dpg` keeps its proposal, the others draw from the policy.
        gradient: { try update($0, loss == .dpg ? problem.reference : $1) })
    }
  }

  /// Steps that it takes to settle.
  static func distributionSteps(_ settings: DistributionSettings) -> Int {
    settings.divergence == .chiSquared ? 2000 : 800
  }

  /// The expected update of a loss that matches a distribution.
  ///
  /// - Parameter pairs: Whether answers come in pairs that know no Z but their own; nil: as the loss
  ///   needs it.
  static func distributionUpdate(
    _ loss: DistributionLoss, _ settings: DistributionSettings, _ problem: ExactnessProblem,
    pairs: Bool? = nil
  ) -> ExpectedUpdate {
    let target = DistributionGroup.target(
      reference: problem.logRho, rewards: problem.rewards, beta: ExactnessProblem.beta)
    let pairs = pairs ?? (loss == .brain)
    let logZ = pairs ? nil : logSumExp(target)
    let members =
      pairs
      ? target.indices.flatMap { i in (i..<target.count).map { [i, $0] } }
      : target.indices.map { [$0] }
    var state = DistributionState()
    return { policy, proposal in
      let logs = policy.probabilities.map { log($0) }
      let drawn = proposal.probabilities.map { log($0) }
      let groups = members.map { group in
        DistributionGroup(
          policy: group.map { logs[$0] }, target: group.map { target[$0] },
          proposal: group.map { drawn[$0] }, logPartition: logZ,
          weight: group.reduce(Set(group).count == 2 ? 2 : 1) { $0 * exp(drawn[$1]) })
      }
      let statistics = try loss.statistics(of: groups, settings: settings, state: state)
      state = statistics.state
      let result = loss.loss(groups, statistics: statistics, settings: settings)
      var sums = logs.map { _ in 0.0 }
      for (group, slopes) in zip(members, result.logProbabilities) {
        for (i, slope) in zip(group, slopes) { sums[i] += slope }
      }
      return policy.gradient(ExactnessProblem.spread(sums))
    }
  }

  /// Thumbs, up with probability σ(r): for `kto` on responses of the reference, for `bco` on all
  /// responses alike, without which the rare ones take long.
  static func unpairedCases(_ loss: UnpairedLoss) -> [ExactnessCase] {
    [
      ExactnessCase(
        family: .unpaired, member: loss.rawValue, variant: "",
        target: "zero of the gradient (plain formula, Levenberg–Marquardt)"
      ) { seed in
        let problem = ExactnessProblem(seed: seed)
        var settings = UnpairedSettings()
        settings.beta = ExactnessProblem.beta
        let knobs = settings
        var state = UnpairedState()
        return try problem.descend(
          steps: loss == .bco ? 8000 : 1200,
          target: { _, end in thumbsZero(loss, problem, end) },
          gradient: { policy, _ in
            let logs = policy.probabilities.map { log($0) }
            let rows = logs.indices.flatMap { i in
              [true, false].map { up in
                let response = ScoredResponse(
                  policy: logs[i], reference: problem.logRho[i],
                  tokens: ExactnessProblem.lengths[i])
                return UnpairedRow(
                  response: response, up: up, mismatched: response,
                  weight: (loss == .kto ? problem.rho[i] : 1)
                    * sigmoid(up ? problem.rewards[i] : -problem.rewards[i]))
              }
            }
            let statistics = try loss.statistics(of: rows, settings: knobs, state: state)
            state = statistics.state
            let slopes = loss.loss(rows, statistics: statistics, settings: knobs).logProbabilities
            return policy.gradient(
              ExactnessProblem.spread(
                logs.indices.map { slopes[2 * $0][0] + slopes[2 * $0 + 1][0] }))
          })
      }
    ]
  }

  /// Where the expected update of a thumbs loss vanishes, from plain formulas: z of `kto` is 0, for
  /// the mean of h under the reference is −KL(π_ref‖π); δ of `bco` has settled.
  private static func thumbsZero(
    _ loss: UnpairedLoss, _ problem: ExactnessProblem, _ end: TabularPolicy
  ) -> [Double] {
    let beta = ExactnessProblem.beta
    let up = problem.rewards.map { 1 / (1 + exp(-$0)) }
    let drawn = loss == .kto ? problem.rho : problem.rho.map { _ in 1 }
    let solved = ExactnessSolver.root(from: end.logits) { logits in
      let policy = TabularPolicy(logits: logits)
      let h = zip(policy.probabilities, problem.rho).map { log($0 / $1) }
      func mean(_ share: [Double]) -> Double {
        let weights = zip(drawn, share).map { $0 * $1 }
        return zip(weights, h).reduce(0) { $0 + $1.0 * beta * $1.1 } / weights.reduce(0, +)
      }
      let shift = loss == .bco ? (mean(up) + mean(up.map { 1 - $0 })) / 2 : 0
      let sums = h.indices.map { i in
        let s = 1 / (1 + exp(-(beta * h[i] - shift)))
        let slope = loss == .bco ? s - up[i] : (1 - 2 * up[i]) * s * (1 - s)
        return drawn[i] * beta * slope
      }
      return policy.gradient(ExactnessProblem.spread(sums))
    }
    return TabularPolicy(logits: solved).probabilities
  }

  /// Reward models: scores of eight answers, learned from every outcome of a model of r with its
  /// probability; the distance is that of softmax(scores) to softmax(r).
  static func rewardCases(_ loss: RewardLoss) -> [ExactnessCase] {
    [
      ExactnessCase(
        family: .reward, member: loss.rawValue, variant: "",
        target: loss == .regression ? "(r − mean)/sd" : "r, up to a constant"
      ) { seed in
        let random = CounterRandom(seed: seed + 10)
        let truth = (0..<8).map { 3 * random.uniform(UInt64($0)) - 1.5 }
        var settings = RewardSettings()
        var wanted = truth
        if loss == .regression {
          (settings.targetMean, settings.targetDeviation) = (0.3, 1.7)
          wanted = truth.map { ($0 - 0.3) / 1.7 }
        }
        let groups = rewardGroups(loss, truth)
        var point = (0..<8).map { 2 * random.uniform(UInt64(20 + $0)) - 1 } + loss.initialParameters
        var adam = TabularAdam(count: point.count)
        func softmax(_ scores: some Collection<Double>) -> [Double] {
          let total = logSumExp(scores)
          return scores.map { exp($0 - total) }
        }
        let target = softmax(wanted)
        let steps = 600
        let start = softmax(point[..<8])
        var curve = [TabularPolicy.distance(start, target)]
        for step in 0..<steps {
          let filled = groups.map { source in
            var group = source.group
            group.scores = source.members.map { point[$0] }
            return group
          }
          let statistics = try loss.statistics(of: filled, settings: settings)
          let result = loss.loss(
            filled, statistics: statistics, settings: settings, parameters: Array(point[8...]))
          var slope = Array(repeating: 0.0, count: 8) + result.parameters
          for (source, scalars) in zip(groups, result.scalars) {
            for (member, value) in zip(source.members, scalars) { slope[member] += value }
          }
          adam.update(&point, slope, rate: 0.1 * (1 - Double(step) / Double(steps)))
          if (step + 1) % 15 == 0 {
            curve.append(TabularPolicy.distance(softmax(point[..<8]), target))
          }
        }
        return ExactnessRun(
          distance: curve.last ?? .infinity, initial: curve[0], steps: steps, curve: curve,
          every: 15, fromOptimum: nil, vanished: 0, target: target, start: start,
          end: softmax(point[..<8]))
      }
    ]
  }

  /// Everything that can be said about eight answers, weighted by its probability.
  private static func rewardGroups(
    _ loss: RewardLoss, _ r: [Double]
  ) -> [(members: [Int], group: RewardGroup)] {
    var groups: [(members: [Int], group: RewardGroup)] = []
    switch loss {
    case .bradleyTerry, .raoKupper, .davidson:
      for i in r.indices {
        for j in r.indices where i != j {
          let d = r[i] - r[j]
          var (win, tie) = (sigmoid(d), 0.0)
          if loss == .raoKupper {
            win = sigmoid(d - 0.4)
            tie = 1 - win - sigmoid(-d - 0.4)
          } else if loss == .davidson {
            let total = exp(d) + 1 + 0.7 * exp(d / 2)
            (win, tie) = (exp(d) / total, 0.7 * exp(d / 2) / total)
          }
          groups.append(
            ([i, j], RewardGroup(comparisons: [PairComparison(winner: 0, loser: 1)], weight: win)))
          guard tie > 0 else { continue }
          let equal = PairComparison(winner: 0, loser: 1, outcome: .tie)
          groups.append(([i, j], RewardGroup(comparisons: [equal], weight: tie / 2)))
        }
      }
    case .kWise, .plackettLuce:
      // Every ranking of three, drawn by Plackett–Luce, whose pairs are Bradley–Terry.
      for i in r.indices {
        for j in r.indices where j != i {
          for k in r.indices where k != i && k != j {
            let weight =
              exp(r[i]) / (exp(r[i]) + exp(r[j]) + exp(r[k])) * exp(r[j]) / (exp(r[j]) + exp(r[k]))
            groups.append(([i, j, k], RewardGroup(ranks: [0, 1, 2], weight: weight)))
          }
        }
      }
    case .pointwise:
      for i in r.indices {
        for up in [true, false] {
          groups.append(
            ([i], RewardGroup(thumbs: [up], weight: sigmoid(up ? r[i] : -r[i]))))
        }
      }
    case .regression:
      for i in r.indices { groups.append(([i], RewardGroup(targets: [r[i]], weight: 1))) }
    }
    return groups
  }
}
