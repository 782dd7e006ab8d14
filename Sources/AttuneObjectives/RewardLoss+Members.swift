// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

extension RewardLoss {
  /// Loss and gradient of one group, before the batch's normaliser.
  struct Term {
    var loss = 0.0
    var centring = 0.0
    let scores: [Double]
    var gradient: [Double]
    var parameters: [Double]

    init(scores: [Double], parameters: Int) {
      self.scores = scores
      gradient = scores.map { _ in 0 }
      self.parameters = Array(repeating: 0, count: parameters)
    }

    /// c·(r_i + r_j)², gradient 2c·(r_i + r_j) on both (Eisenstein et al. 2023, arXiv:2312.09244).
    mutating func centre(_ i: Int, _ j: Int, _ coefficient: Double) {
      guard coefficient != 0 else { return }
      let sum = scores[i] + scores[j]
      centring += coefficient * sum * sum
      gradient[i] += 2 * coefficient * sum
      gradient[j] += 2 * coefficient * sum
    }
  }

  /// Bradley–Terry: ℓ(d − m) with d = r⁺ − r⁻; with a soft label q = P(y⁺ ≻ y⁻):
  /// q·ℓ(d) + (1−q)·ℓ(−d). Plus c·(r⁺ + r⁻)².
  ///
  /// Gradient: ∂/∂r⁺ = −q·σ(−z) + (1−q)·σ(z), z = d − m, and its negative on r⁻. The mean is over
  /// the pairs of the batch. A tie is left out, or q = ½ (`ties: half`).
  ///
  /// Paper: Bradley & Terry 1952; Stiennon et al. 2020, arXiv:2009.01325; margin: Touvron et al.
  /// 2023 (Llama 2), arXiv:2307.09288. Differs from the paper: soft labels, ties, centring.
  static func bradleyTerry(
    _ group: RewardGroup, _ settings: RewardSettings, _ term: inout Term
  ) {
    for pair in group.pairs {
      let tied = pair.outcome != .preferred
      if tied, settings.ties == .skip { continue }
      let q = tied ? 0.5 : pair.probability
      let z = term.scores[pair.winner] - term.scores[pair.loser] - pair.margin
      term.loss += q * softplus(-z) + (1 - q) * softplus(z)
      let slope = -q * sigmoid(-z) + (1 - q) * sigmoid(z)
      term.gradient[pair.winner] += slope
      term.gradient[pair.loser] -= slope
      term.centre(pair.winner, pair.loser, settings.centring)
    }
  }

  /// K-wise: for the K ranked answers of a prompt the mean of ℓ(r_i − r_j) over the m pairs that are
  /// not tied, each answer scored once.
  ///
  /// Gradient: ∂/∂r_i = −σ(r_j − r_i)/m for each pair that i wins, + for each that it loses. The
  /// mean is over the rankings of the batch that have an untied pair.
  ///
  /// Paper: Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155. Differs from the paper: tied pairs
  /// do not count, also not in the denominator.
  static func kWise(_ group: RewardGroup, _ settings: RewardSettings, _ term: inout Term) {
    let pairs = untied(group, settings)
    guard !pairs.isEmpty else { return }
    let share = 1 / Double(pairs.count)
    for pair in pairs {
      let d = term.scores[pair.winner] - term.scores[pair.loser]
      term.loss += share * softplus(-d)
      let slope = -share * sigmoid(-d)
      term.gradient[pair.winner] += slope
      term.gradient[pair.loser] -= slope
      term.centre(pair.winner, pair.loser, share * settings.centring)
    }
  }

  /// Plackett–Luce: −Σ_k [r_(k) − logsumexp_{j ≥ k} r_(j)] over the ranking, best first.
  ///
  /// Gradient: ∂/∂r_(i) = Σ_{k ≤ i} softmax_{j ≥ k}(r)_i − 1. The mean is over the rankings of the
  /// batch. Tied ranks are refused.
  ///
  /// Paper: Plackett 1975; Luce 1959. Differs from the paper: nothing.
  static func plackettLuce(_ group: RewardGroup, _ term: inout Term) {
    let order = group.ranks.indices.sorted { group.ranks[$0] < group.ranks[$1] }
    guard order.count > 1 else { return }
    for k in order.indices.dropLast() {
      let rest = order[k...]
      let total = logSumExp(rest.map { term.scores[$0] })
      term.loss += total - term.scores[order[k]]
      term.gradient[order[k]] -= 1
      for j in rest { term.gradient[j] += exp(term.scores[j] - total) }
    }
  }

  /// Rao–Kupper: λ = softplus(η) learned, d = r_i − r_j: P(i ≻ j) = σ(d − λ),
  /// P(tie) = (e^{2λ} − 1)·σ(d − λ)·σ(−d − λ), all in logs.
  ///
  /// Gradient: win: ∂/∂d = −σ(λ − d), ∂/∂λ = σ(λ − d). Tie: ∂/∂d = σ(d + λ) − σ(λ − d),
  /// ∂/∂λ = σ(λ − d) + σ(d + λ) − 2/(1 − e^{−2λ}). ∂λ/∂η = σ(η). 'Both bad' counts as a tie.
  ///
  /// Paper: Rao & Kupper 1967. Differs from the paper: λ > 0 by softplus, learned beside the model.
  static func raoKupper(
    _ group: RewardGroup, _ settings: RewardSettings, _ eta: Double, _ term: inout Term
  ) {
    let lambda = softplus(eta)
    let lambdaSlope = sigmoid(eta)
    for pair in group.pairs {
      let pair = settings.harden ? pair.hardened : pair
      let d = term.scores[pair.winner] - term.scores[pair.loser]
      let slope: Double
      if pair.outcome == .preferred {
        term.loss += softplus(lambda - d)
        slope = -sigmoid(lambda - d)
        term.parameters[0] += sigmoid(lambda - d) * lambdaSlope
      } else {
        // log(e^{2λ} − 1) → log 2 + η as η → −∞, where λ itself underflows.
        let (logOdds, logOddsSlope) =
          eta < -30
          ? (0.693147180559945 + eta, 1)
          : (2 * lambda + log(-expm1(-2 * lambda)), 2 * lambdaSlope / -expm1(-2 * lambda))
        term.loss += softplus(lambda - d) + softplus(lambda + d) - logOdds
        slope = sigmoid(lambda + d) - sigmoid(lambda - d)
        term.parameters[0] +=
          (sigmoid(lambda - d) + sigmoid(lambda + d)) * lambdaSlope - logOddsSlope
      }
      term.gradient[pair.winner] += slope
      term.gradient[pair.loser] -= slope
      term.centre(pair.winner, pair.loser, settings.centring)
    }
  }

  /// Davidson: ν = e^η learned; with s = e^{r_i} + e^{r_j} + ν·e^{(r_i+r_j)/2}: P(i ≻ j) = e^{r_i}/s,
  /// P(tie) = ν·e^{(r_i+r_j)/2}/s, by logsumexp.
  ///
  /// Gradient, with p the three probabilities: win: ∂/∂r_i = p_i + p_tie/2 − 1,
  /// ∂/∂r_j = p_j + p_tie/2, ∂/∂η = p_tie. Tie: ∂/∂r_i = p_i + p_tie/2 − ½, ∂/∂r_j likewise,
  /// ∂/∂η = p_tie − 1. 'Both bad' counts as a tie.
  ///
  /// Paper: Davidson 1970. Differs from the paper: ν > 0 by e^η, learned beside the model.
  static func davidson(
    _ group: RewardGroup, _ settings: RewardSettings, _ eta: Double, _ term: inout Term
  ) {
    for pair in group.pairs {
      let pair = settings.harden ? pair.hardened : pair
      let (i, j) = (pair.winner, pair.loser)
      // Relative to r_j, so that only the difference is exponentiated.
      let d = term.scores[i] - term.scores[j]
      let tie = eta + d / 2
      let total = logSumExp([d, 0, tie])
      let (pi, pj, pt) = (exp(d - total), exp(-total), exp(tie - total))
      term.gradient[i] += pi + pt / 2
      term.gradient[j] += pj + pt / 2
      term.parameters[0] += pt
      if pair.outcome == .preferred {
        term.loss += total - d
        term.gradient[i] -= 1
      } else {
        term.loss += total - tie
        term.gradient[i] -= 0.5
        term.gradient[j] -= 0.5
        term.parameters[0] -= 1
      }
      term.centre(i, j, settings.centring)
    }
  }

  /// Pointwise: ℓ(r) for a thumb up, ℓ(−r) for a thumb down; 'both bad' is two thumbs down.
  ///
  /// Gradient: up −σ(−r), down σ(r). The mean is over the judged answers of the batch.
  ///
  /// Paper: logistic regression. Differs from it: nothing.
  static func pointwise(_ group: RewardGroup, _ term: inout Term) {
    func judge(_ i: Int, up: Bool) {
      let r = term.scores[i]
      term.loss += softplus(up ? -r : r)
      term.gradient[i] += up ? -sigmoid(-r) : sigmoid(r)
    }
    for (i, up) in group.thumbs.enumerated() {
      if let up { judge(i, up: up) }
    }
    for pair in group.comparisons where pair.outcome == .bothBad {
      judge(pair.winner, up: false)
      judge(pair.loser, up: false)
    }
  }

  /// Regression: (r − z)², z the given score, standardised over the data set.
  ///
  /// Gradient: 2(r − z). The mean is over the scored answers of the batch.
  ///
  /// Paper: least squares. Differs from it: nothing.
  static func regression(
    _ group: RewardGroup, _ settings: RewardSettings, _ term: inout Term
  ) {
    for (i, target) in group.targets.enumerated() {
      guard let target else { continue }
      let error = term.scores[i] - (target - settings.targetMean) / settings.targetDeviation
      term.loss += error * error
      term.gradient[i] += 2 * error
    }
  }
}
