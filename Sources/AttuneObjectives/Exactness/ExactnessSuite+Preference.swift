// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Contrastive losses: all labels of a population of pairs, weighted by their probability.
extension ExactnessSuite {
  /// A labelled pair: the chosen and the rejected sequence, and how much it counts.
  private struct Label: Sendable {
    var chosen, rejected: Int
    var weight: Double
  }

  static func preferenceCases(_ loss: PreferenceLoss) -> [ExactnessCase] {
    var settings = PreferenceSettings()
    if loss.reads.contains(.beta) { settings.beta = ExactnessProblem.beta }
    let zero = "zero of the gradient (plain formula, Levenberg–Marquardt)"
    var target = zero
    var variants: [(String, String, PreferenceSettings)] = []
    switch loss {
    case .dpo:
      target = "π_ref·e^{r/β}"
      for divergence in FDivergence.allCases where divergence != .reverseKL {
        var other = settings
        other.divergence = divergence
        variants.append((divergence.rawValue, "f′(π/π_ref) = (r − λ)/β, Σπ = 1", other))
      }
      var smoothed = settings
      smoothed.smoothing = 0.1
      variants.append(("smoothing 0.1", zero, smoothed))
    case .robust:
      target = "π_ref·e^{r/β}, a tenth of the labels flipped"
      settings.smoothing = 0.1
    case .ipo:
      target = "π_ref·e^{p̄/β}, p̄ the win rate against uniform rivals"
      var other = settings
      other.lengthNormalised = true
      variants.append(("length-normalised", "π_ref·e^{n(p̄/β + c)}, Σπ = 1", other))
    case .dpoNormalised: target = "π_ref·e^{n(r/β + c)}, Σπ = 1"
    case .hinge: target = "log-ratios ±1/β from the rival's: each pair at its margin, no further"
    case .rdpo:
      target = "π_ref·e^{(r − αn)/β}"
      settings.lengthPrice = 0.2
    case .exo, .aot, .aotUnpaired: settings.smoothing = 0.2
    case .dpop: settings.lambda = 0.5
    case .discopop: settings.tau = 0.5
    case .simpo: (settings.beta, settings.gamma) = (2, 0.3)
    case .orpo: settings.lambda = 1
    case .nca, .bcoPair, .sppo, .apoZero, .apoDown, .cpo: break
    }
    return [preferenceCase(loss, "", target, settings)]
      + variants.map { preferenceCase(loss, $0.0, $0.1, $0.2) }
      + (loss == .dpo
        ? [preferenceCase(loss, "XPO's bonus 0.002", zero, settings, exploration: 0.002)] : [])
  }

  private static func steps(_ loss: PreferenceLoss, _ settings: PreferenceSettings) -> Int {
    if settings.divergence != .reverseKL {
      return settings.divergence == .forwardKL ? 10_000 : 4000
    }
    // Kinks settle with the learning rate alone.
    if loss == .hinge { return 12_000 }
    return [.aotUnpaired, .apoZero, .dpoNormalised].contains(loss) ? 2000 : loss == .ipo ? 400 : 600
  }

  /// - Parameter exploration: α of XPO's bonus, on all answers of the reference.
  private static func preferenceCase(
    _ loss: PreferenceLoss, _ variant: String, _ target: String, _ settings: PreferenceSettings,
    exploration: Double = 0
  ) -> ExactnessCase {
    ExactnessCase(
      family: .preference, member: loss.rawValue, variant: variant, target: target
    ) { seed in
      let objective = try PreferenceObjective(loss, settings)
      let problem = ExactnessProblem(seed: seed)
      let labels = labels(loss, problem)
      let lengths = ExactnessProblem.lengths
      return try problem.descend(
        steps: exploration > 0 ? 4000 : steps(loss, settings),
        target: { _, end in
          preferenceTarget(loss, settings, problem, labels, exploration, end)
        },
        gradient: { policy, _ in
          let logs = policy.tokenLogProbabilities.map { $0.reduce(0, +) }
          let responses = logs.indices.map {
            ScoredResponse(
              policy: logs[$0], reference: loss.needsReference ? problem.logRho[$0] : nil,
              tokens: lengths[$0])
          }
          let rows = labels.map {
            PreferenceRow(
              chosen: responses[$0.chosen], rejected: responses[$0.rejected], weight: $0.weight)
          }
          let result = objective.loss(rows, statistics: try objective.statistics(of: rows))
          var sums = logs.map { _ in 0.0 }
          for (label, slopes) in zip(labels, result.logProbabilities) {
            sums[label.chosen] += slopes[0]
            sums[label.rejected] += slopes[1]
          }
          let bonus = ExplorationBonus.loss(logs, rows: 1, alpha: exploration)
          for (i, slopes) in bonus.logProbabilities.enumerated() {
            sums[i] += problem.rho[i] * slopes[0]
          }
          return policy.gradient(ExactnessProblem.spread(sums))
        })
    }
  }

  /// Each sequence against its next five, both labels; for `ipo` all pairs, because its closed form is
  /// about rivals of one distribution (here uniform); for `hinge` each against the first, so that no
  /// margin is in another's way; for the sorted losses plain labels.
  private static func labels(_ loss: PreferenceLoss, _ problem: ExactnessProblem) -> [Label] {
    var labels: [Label] = []
    for i in 0..<problem.count {
      let rivals =
        switch loss {
        case .ipo: Array((i + 1)..<max(problem.count, i + 1))
        case .hinge: i > 0 ? [0] : []
        default: (1...5).map { (i + $0) % problem.count }
        }
      for j in rivals {
        var p = problem.preferred(i, j)
        if loss.sortsBatch {
          labels.append(
            p >= 0.5
              ? Label(chosen: i, rejected: j, weight: 1)
              : Label(chosen: j, rejected: i, weight: 1))
          continue
        }
        if loss == .robust { p = 0.9 * p + 0.1 * (1 - p) }
        labels.append(Label(chosen: i, rejected: j, weight: p))
        labels.append(Label(chosen: j, rejected: i, weight: 1 - p))
      }
    }
    return labels
  }

  /// The closed form, or the zero of the gradient that is nearest to where the method ended.
  private static func preferenceTarget(
    _ loss: PreferenceLoss, _ settings: PreferenceSettings, _ problem: ExactnessProblem,
    _ labels: [Label], _ exploration: Double, _ end: TabularPolicy
  ) -> [Double] {
    let beta = settings.beta ?? ExactnessProblem.beta
    let (rho, rewards, lengths) = (problem.rho, problem.rewards, ExactnessProblem.lengths)
    let most = rewards.max() ?? 0
    func tilted(_ worth: [Double]) -> [Double] {
      TabularPolicy.optimum(reference: rho, rewards: worth, beta: beta)
    }
    func perToken(_ worth: [Double]) -> [Double] {
      ExactnessSolver.simplex(from: -50, to: 50) { c in
        rho.indices.map { rho[$0] * exp(Double(lengths[$0]) * (worth[$0] / beta + c)) }
      }
    }
    let wins = rho.indices.map { i in
      rho.indices.reduce(0.0) { $0 + problem.preferred(i, $1) / Double(problem.count) }
    }
    switch (loss, settings.divergence) {
    case (.dpo, _) where settings.smoothing != nil || exploration > 0: break
    case (.dpo, .reverseKL), (.robust, _): return tilted(rewards)
    case (.dpo, .forwardKL):
      return ExactnessSolver.simplex(from: most - beta + 1e-9, to: most + 100) { lambda in
        rho.indices.map { rho[$0] / (1 - (rewards[$0] - lambda) / beta) }
      }
    case (.dpo, .jensenShannon):
      return ExactnessSolver.simplex(
        from: most - beta * log(2) + 1e-9, to: most + 100
      ) { lambda in
        rho.indices.map { i in
          let s = exp((rewards[i] - lambda) / beta) / 2
          return rho[i] * s / (1 - s)
        }
      }
    case (.dpo, .alpha):
      return ExactnessSolver.simplex(from: most - 2 * beta + 1e-9, to: most + 100) { lambda in
        rho.indices.map { i in
          let root = 1 - (rewards[i] - lambda) / beta / 2
          return rho[i] / (root * root)
        }
      }
    case (.hinge, _):
      return tilted(rewards.map { $0 == rewards[0] ? 0 : $0 > rewards[0] ? 1 : -1 })
    case (.rdpo, _): return tilted(zip(rewards, lengths).map { $0 - 0.2 * Double($1) })
    case (.ipo, _): return settings.lengthNormalised ? perToken(wins) : tilted(wins)
    case (.dpoNormalised, _): return perToken(rewards)
    case (.exo, _), (.nca, _), (.bcoPair, _), (.sppo, _), (.aot, _), (.aotUnpaired, _),
      (.apoZero, _), (.apoDown, _), (.discopop, _), (.dpop, _), (.simpo, _), (.orpo, _), (.cpo, _):
      break
    }
    let total = labels.reduce(0) { $0 + $1.weight }
    func field(_ logits: [Double], _ rounding: Double) -> [Double] {
      let policy = TabularPolicy(logits: logits)
      let logs = policy.probabilities.map { log($0) }
      var sums = rho.map { exploration * $0 }
      if loss.sortsBatch {
        sorted(loss, beta, settings.smoothing ?? 0, labels, logs, problem.logRho, &sums)
      } else {
        for label in labels {
          let (i, j) = (label.chosen, label.rejected)
          let hold = (problem.logRho[i], problem.logRho[j], Double(lengths[i]), Double(lengths[j]))
          sums[i] +=
            label.weight / total
            * ExactnessSolver.slope(logs[i]) {
              plain(loss, settings, beta, $0, logs[j], hold, rounding)
            }
          sums[j] +=
            label.weight / total
            * ExactnessSolver.slope(logs[j]) {
              plain(loss, settings, beta, logs[i], $0, hold, rounding)
            }
        }
      }
      return policy.gradient(ExactnessProblem.spread(sums))
    }
    // A loss with kinks is convex here: from the reference, its kinks rounded off less and less.
    let kinks = loss == .dpop
    var solved = kinks ? problem.reference.logits : end.logits
    for rounding in kinks ? [0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4] : [0] {
      solved = ExactnessSolver.root(from: solved) { field($0, rounding) }
    }
    return TabularPolicy(logits: solved).probabilities
  }

  /// The formula of a loss, with kinks rounded off and no care for large numbers.
  private static func plain(
    _ loss: PreferenceLoss, _ settings: PreferenceSettings, _ beta: Double, _ up: Double,
    _ down: Double, _ held: (up: Double, down: Double, n: Double, m: Double),
    _ rounding: Double
  ) -> Double {
    func s(_ z: Double) -> Double { 1 / (1 + exp(-z)) }
    func l(_ z: Double) -> Double { log(1 + exp(-z)) }
    func ramp(_ z: Double) -> Double {
      abs(z) > 30 * rounding ? max(0, z) : rounding * log(1 + exp(z / rounding))
    }
    let (a, b) = (up - held.up, down - held.down)
    let z = beta * (a - b)
    let e = settings.smoothing ?? 0
    switch loss {
    case .dpo: return (1 - e) * l(z) + e * l(-z)
    case .exo: return s(z) * log(s(z) / (1 - e)) + s(-z) * log(s(-z) / e)
    case .nca: return l(beta * a) + (l(-beta * a) + l(-beta * b)) / 2
    case .bcoPair: return l(beta * a) + l(-beta * b)
    case .sppo: return pow(a - 0.5 / beta, 2) + pow(b + 0.5 / beta, 2)
    case .apoZero: return 1 - s(beta * a) + s(beta * b)
    case .apoDown: return s(beta * a) + 1 - s(z)
    case .discopop:
      let tau = settings.tau ?? 0
      return l(z) * s(-z / tau) + exp(-z) * s(z / tau)
    case .dpop: return l(z - beta * (settings.lambda ?? 0) * ramp(-a))
    case .simpo: return l(beta * (up / held.n - down / held.m) - (settings.gamma ?? 0))
    case .orpo:
      func odds(_ a: Double) -> Double { log(exp(a) / (1 - exp(a))) }
      return -up / held.n + (settings.lambda ?? 0) * l(odds(up / held.n) - odds(down / held.m))
    case .cpo: return l(beta * (up - down)) - up / held.n
    case .hinge, .ipo, .robust, .rdpo, .dpoNormalised, .aot, .aotUnpaired: return .nan
    }
  }

  /// Slopes of the sorted losses, added to those of the sequences.
  private static func sorted(
    _ loss: PreferenceLoss, _ beta: Double, _ smoothing: Double, _ labels: [Label],
    _ logs: [Double], _ rho: [Double], _ sums: inout [Double]
  ) {
    let above = labels.map {
      loss == .aot ? logs[$0.chosen] - logs[$0.rejected] : logs[$0.chosen] - rho[$0.chosen]
    }
    let below = labels.map {
      loss == .aot ? rho[$0.chosen] - rho[$0.rejected] : logs[$0.rejected] - rho[$0.rejected]
    }
    let (a, b) = (
      labels.indices.sorted { above[$0] < above[$1] },
      labels.indices.sorted { below[$0] < below[$1] }
    )
    for (i, j) in zip(a, b) {
      let z = beta * (above[i] - below[j])
      let slope = beta * (1 / (1 + exp(-z)) - 1 + smoothing) / Double(labels.count)
      sums[labels[i].chosen] += slope
      sums[labels[loss == .aot ? i : j].rejected] -= slope
    }
  }
}
