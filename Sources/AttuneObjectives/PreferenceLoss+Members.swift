// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

extension PreferenceLoss {
  /// The settings with each loss's own defaults.
  struct Knobs: Sendable {
    let beta, smoothing, lambda, lengthPrice, gamma, tau, sftWeight, divergenceAlpha: Double
    let lengthNormalised: Bool
    let divergence: FDivergence
    let nllOver: PreferenceSettings.LikelihoodOver

    init(_ settings: PreferenceSettings, for loss: PreferenceLoss) throws {
      for knob in settings.set where !loss.reads.contains(knob) {
        throw ObjectiveError(
          .badSetting, "\(loss.rawValue) does not read \(knob.rawValue): leave it out")
      }
      beta = settings.beta ?? (loss == .simpo ? 2 : loss == .dpop ? 0.3 : 0.1)
      smoothing = settings.smoothing ?? (loss == .robust ? 0.1 : loss == .exo ? 1e-3 : 0)
      lambda = settings.lambda ?? (loss == .dpop ? 50 : 0.1)
      lengthPrice = settings.lengthPrice ?? 0.01
      gamma = settings.gamma ?? 1
      tau = settings.tau ?? 0.05
      sftWeight = settings.sftWeight ?? (loss == .cpo || loss == .orpo ? 1 : 0)
      divergenceAlpha = settings.divergenceAlpha
      lengthNormalised = settings.lengthNormalised
      divergence = settings.divergence
      nllOver = settings.nllOver
      func demand(_ holds: Bool, _ message: String) throws {
        if !holds { throw ObjectiveError(.badSetting, message) }
      }
      try demand(beta > 0 && beta.isFinite, "beta must be above 0")
      try demand(tau > 0, "tau must be above 0")
      try demand(sftWeight >= 0 && lambda >= 0, "sftWeight and lambda must be 0 or more")
      switch loss {
      case .robust: try demand(smoothing >= 0 && smoothing < 0.5, "smoothing must be in 0 ..< 0.5")
      case .exo: try demand(smoothing > 0 && smoothing < 1, "exo needs smoothing within 0…1")
      default: try demand(smoothing >= 0 && smoothing <= 1, "smoothing must be within 0…1")
      }
      if divergence == .alpha {
        // Beyond 1 the closed form of the optimum leaves the simplex.
        try demand(
          divergenceAlpha > 0 && divergenceAlpha < 1, "divergenceAlpha must be between 0 and 1")
      } else if divergenceAlpha != 0.5 {
        throw ObjectiveError(.badSetting, "divergenceAlpha is read by the divergence alpha alone")
      }
      if lengthNormalised, divergence != .reverseKL {
        throw ObjectiveError(.badSetting, "lengthNormalised and another divergence exclude another")
      }
    }
  }

  /// Loss of a pair and its derivatives with respect to π⁺ and π⁻.
  struct PairTerm {
    var loss: Double
    var chosen: Double
    var rejected: Double
    var saturated = false

    func scaled(_ factor: Double) -> PairTerm {
      PairTerm(
        loss: factor * loss, chosen: factor * chosen, rejected: factor * rejected,
        saturated: saturated)
    }

    /// The term of the pair the other way round, seen from this one.
    var swapped: PairTerm {
      PairTerm(loss: loss, chosen: rejected, rejected: chosen, saturated: saturated)
    }

    mutating func add(_ other: PairTerm) {
      loss += other.loss
      chosen += other.chosen
      rejected += other.rejected
      saturated = saturated || other.saturated
    }
  }

  /// A margin with its derivatives with respect to π⁺ and π⁻.
  struct Margin {
    let value, chosen, rejected: Double
    var saturated = false

    /// A loss of the margin with its derivative, by the chain rule.
    func term(_ loss: Double, _ slope: Double) -> PairTerm {
      PairTerm(
        loss: loss, chosen: slope * chosen, rejected: slope * rejected, saturated: saturated)
    }
  }

  /// The loss of one pair, labels taken as they are.
  func pair(
    _ chosen: ScoredResponse, _ rejected: ScoredResponse, _ knobs: Knobs
  ) -> PairTerm {
    switch self {
    case .dpo: Self.dpo(chosen, rejected, knobs)
    case .hinge: Self.hinge(chosen, rejected, knobs)
    case .ipo: Self.ipo(chosen, rejected, knobs)
    case .robust: Self.robust(chosen, rejected, knobs)
    case .exo: Self.exo(chosen, rejected, knobs)
    case .nca: Self.nca(chosen, rejected, knobs)
    case .bcoPair: Self.bcoPair(chosen, rejected, knobs)
    case .sppo: Self.sppo(chosen, rejected, knobs)
    case .aot, .aotUnpaired: preconditionFailure("the sorted losses are not of one pair")
    case .apoZero: Self.apoZero(chosen, rejected, knobs)
    case .apoDown: Self.apoDown(chosen, rejected, knobs)
    case .discopop: Self.discopop(chosen, rejected, knobs)
    case .dpop: Self.dpop(chosen, rejected, knobs)
    case .dpoNormalised: Self.dpoNormalised(chosen, rejected, knobs)
    case .rdpo: Self.rdpo(chosen, rejected, knobs)
    case .simpo: Self.simpo(chosen, rejected, knobs)
    case .orpo: Self.orpo(chosen, rejected, knobs)
    case .cpo: Self.cpo(chosen, rejected, knobs)
    }
  }

  /// factor·(f′⁺ − f′⁻): for the reverse KL factor·Δ.
  private static func difference(
    _ chosen: ScoredResponse, _ rejected: ScoredResponse, _ k: Knobs, factor: Double
  ) -> Margin {
    let up = k.divergence.score(chosen.logRatio, alpha: k.divergenceAlpha)
    let down = k.divergence.score(rejected.logRatio, alpha: k.divergenceAlpha)
    return Margin(
      value: factor * (up.value - down.value), chosen: factor * up.slope,
      rejected: -factor * down.slope, saturated: up.saturated || down.saturated)
  }

  /// (1−ε)·ℓ(z) + ε·ℓ(−z), derivative −(1−ε)·σ(−z) + ε·σ(z).
  private static func smoothed(_ z: Margin, _ epsilon: Double) -> PairTerm {
    z.term(
      (1 - epsilon) * softplus(-z.value) + epsilon * softplus(z.value),
      -(1 - epsilon) * sigmoid(-z.value) + epsilon * sigmoid(z.value))
  }

  /// DPO: (1−ε)·ℓ(z) + ε·ℓ(−z), z = βΔ. Gradient: ±β·(−(1−ε)·σ(−z) + ε·σ(z)) on π⁺, π⁻.
  ///
  /// Paper: Rafailov et al. 2023, eq. 7; ε: cDPO (Mitchell 2023). Differs from the paper: with
  /// another divergence f′ stands in place of h.
  static func dpo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    smoothed(difference(c, r, k, factor: k.beta), k.smoothing)
  }

  /// Hinge: max(0, 1 − βΔ). Gradient: ∓β where the margin is missed, else 0.
  ///
  /// Paper: Zhao et al. 2023 (SLiC). Differs from the paper: log-ratios to a reference, as in RSO
  /// (Liu et al. 2023, arXiv:2309.06657).
  static func hinge(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let z = difference(c, r, k, factor: k.beta)
    return z.term(max(0, 1 - z.value), z.value < 1 ? -1 : 0)
  }

  /// IPO: (Δ − 1/(2β))². Gradient: ±2(Δ − 1/(2β)).
  ///
  /// Paper: Azar et al. 2023, eq. 17. Differs from the paper: nothing; `lengthNormalised` is the
  /// authors' practice and TRL's form, with h/n in place of h.
  static func ipo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let d =
      k.lengthNormalised
      ? perToken(c, r, c.logRatio, r.logRatio, factor: 1) : difference(c, r, k, factor: 1)
    let error = d.value - 1 / (2 * k.beta)
    return d.term(error * error, 2 * error)
  }

  /// Robust DPO: [(1−ε)·ℓ(z) − ε·ℓ(−z)]/(1 − 2ε), z = βΔ.
  /// Gradient: ±β·[−(1−ε)·σ(−z) − ε·σ(z)]/(1 − 2ε).
  ///
  /// Paper: Chowdhury et al. 2024. Differs from the paper: nothing.
  static func robust(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let z = difference(c, r, k, factor: k.beta)
    let e = k.smoothing
    return z.term(
      ((1 - e) * softplus(-z.value) - e * softplus(z.value)) / (1 - 2 * e),
      (-(1 - e) * sigmoid(-z.value) - e * sigmoid(z.value)) / (1 - 2 * e))
  }

  /// EXO: σ(z)(log σ(z) − log(1−ε)) + σ(−z)(log σ(−z) − log ε), z = βΔ.
  /// Gradient: ±β·σ(z)·σ(−z)·(z − log((1−ε)/ε)).
  ///
  /// Paper: Ji et al. 2024. Differs from the paper: nothing.
  static func exo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let z = difference(c, r, k, factor: k.beta)
    let (p, q) = (sigmoid(z.value), sigmoid(-z.value))
    let (logKeep, logFlip) = (log1p(-k.smoothing), log(k.smoothing))
    return z.term(
      p * (-softplus(-z.value) - logKeep) + q * (-softplus(z.value) - logFlip),
      p * q * (z.value - logKeep + logFlip))
  }

  /// NCA: ℓ(a) + ½ℓ(−a) + ½ℓ(−b), a = βh⁺, b = βh⁻.
  /// Gradient: β(−σ(−a) + ½σ(a)) on π⁺, β·½σ(b) on π⁻.
  ///
  /// Paper: Chen et al. 2024. Differs from the paper: pairs, as in TRL.
  static func nca(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let (a, b) = (k.beta * c.logRatio, k.beta * r.logRatio)
    return PairTerm(
      loss: softplus(-a) + 0.5 * softplus(a) + 0.5 * softplus(b),
      chosen: k.beta * (-sigmoid(-a) + 0.5 * sigmoid(a)), rejected: k.beta * 0.5 * sigmoid(b))
  }

  /// BCO on pairs: ℓ(βh⁺) + ℓ(−βh⁻). Gradient: −β·σ(−βh⁺) on π⁺, β·σ(βh⁻) on π⁻.
  ///
  /// Paper: Jung et al. 2024. Differs from the paper: no running shift δ, as in TRL.
  static func bcoPair(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let (a, b) = (k.beta * c.logRatio, k.beta * r.logRatio)
    return PairTerm(
      loss: softplus(-a) + softplus(b), chosen: -k.beta * sigmoid(-a),
      rejected: k.beta * sigmoid(b))
  }

  /// SPPO: (h⁺ − ½/β)² + (h⁻ + ½/β)². Gradient: 2(h⁺ − ½/β) on π⁺, 2(h⁻ + ½/β) on π⁻.
  ///
  /// Paper: Wu et al. 2024. Differs from the paper: hard labels on pairs; 1/β is its η.
  static func sppo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let up = c.logRatio - 0.5 / k.beta
    let down = r.logRatio + 0.5 / k.beta
    return PairTerm(loss: up * up + down * down, chosen: 2 * up, rejected: 2 * down)
  }

  /// What is sorted: policy margins above reference margins (`aot`), or chosen log-ratios above
  /// rejected ones (`aot_unpaired`).
  func sides(_ row: PreferenceRow) -> (above: Double, below: Double) {
    self == .aot
      ? (
        row.chosen.policy - row.rejected.policy,
        (row.chosen.reference ?? 0) - (row.rejected.reference ?? 0)
      ) : (row.chosen.logRatio, row.rejected.logRatio)
  }

  /// AOT: with u, v what is sorted, Σ over places of (1−ε)·ℓ(z) + ε·ℓ(−z), z = β(u_(i) − v_(i)).
  ///
  /// Gradient: each value has that of the place where it stands; the order is held constant. `aot`:
  /// u = π⁺ − π⁻, v = ρ⁺ − ρ⁻. `aot_unpaired`: u = h⁺, v = h⁻.
  ///
  /// Paper: Melnyk et al. 2024. Differs from the paper: the logistic loss, as in TRL.
  func sorted(
    _ row: PreferenceRow, at position: Int, _ statistics: PreferenceStatistics, _ k: Knobs
  ) -> PairTerm {
    let (above, below) = sides(row)
    func place(_ u: Double, _ v: Double) -> PairTerm {
      Self.smoothed(
        Margin(value: k.beta * (u - v), chosen: k.beta, rejected: -k.beta), k.smoothing)
    }
    var term = place(above, statistics.chosenPartners[position])
    if self == .aotUnpaired {
      // The loss of a place is counted at its chosen side alone, the gradient at both.
      term.rejected = place(statistics.rejectedPartners[position], below).rejected
    }
    return term
  }

  /// APO-zero: 1 − σ(a) + σ(b), a = βh⁺, b = βh⁻. Gradient: −β·σ(a)σ(−a) on π⁺, β·σ(b)σ(−b) on π⁻.
  ///
  /// Paper: D'Oosterlinck et al. 2024. Differs from the paper: nothing.
  static func apoZero(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let (a, b) = (k.beta * c.logRatio, k.beta * r.logRatio)
    return PairTerm(
      loss: sigmoid(-a) + sigmoid(b), chosen: -k.beta * sigmoid(a) * sigmoid(-a),
      rejected: k.beta * sigmoid(b) * sigmoid(-b))
  }

  /// APO-down: σ(a) + 1 − σ(z), a = βh⁺, z = βΔ.
  /// Gradient: β(σ(a)σ(−a) − σ(z)σ(−z)) on π⁺, β·σ(z)σ(−z) on π⁻.
  ///
  /// Paper: D'Oosterlinck et al. 2024. Differs from the paper: nothing.
  static func apoDown(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let a = k.beta * c.logRatio
    let z = k.beta * (c.logRatio - r.logRatio)
    let gap = k.beta * sigmoid(z) * sigmoid(-z)
    return PairTerm(
      loss: sigmoid(a) + sigmoid(-z), chosen: k.beta * sigmoid(a) * sigmoid(-a) - gap,
      rejected: gap)
  }

  /// DiscoPOP: ℓ(z)·σ(−z/τ) + exp(−z + log σ(z/τ)), z = βΔ.
  /// Gradient: ±β·[−σ(−z)σ(−z/τ) − ℓ(z)σ(z/τ)σ(−z/τ)/τ + e^w(σ(−z/τ)/τ − 1)], w the exponent.
  ///
  /// Paper: Lu et al. 2024. Differs from the paper: the exponential continues as its tangent line
  /// above an exponent of 20, which τ < 1 never reaches.
  static func discopop(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let margin = difference(c, r, k, factor: k.beta)
    let z = margin.value
    let gate = sigmoid(-z / k.tau)
    let exponent = -z - softplus(-z / k.tau)
    let e = boundedExp(exponent)
    return margin.term(
      softplus(-z) * gate + e.value,
      -sigmoid(-z) * gate - softplus(-z) * gate * sigmoid(z / k.tau) / k.tau
        + e.slope * (gate / k.tau - 1))
  }

  /// DPO-positive: ℓ(z), z = β(Δ − λ·max(0, −h⁺)).
  /// Gradient: −β·σ(−z)·(1 + λ·[h⁺ < 0]) on π⁺, β·σ(−z) on π⁻.
  ///
  /// Paper: Pal et al. 2024 (Smaug). Differs from the paper: nothing.
  static func dpop(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let h = c.logRatio
    let z = k.beta * (h - r.logRatio - k.lambda * max(0, -h))
    let slope = -k.beta * sigmoid(-z)
    return PairTerm(
      loss: softplus(-z), chosen: slope * (h < 0 ? 1 + k.lambda : 1), rejected: -slope)
  }

  /// Length-normalised DPO: ℓ(z), z = β(h⁺/n⁺ − h⁻/n⁻). Gradient: ∓β·σ(−z)/n.
  ///
  /// Paper: Lambert et al. 2024 (Tülu 3), section on preference tuning. Differs from it: nothing.
  static func dpoNormalised(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    smoothed(perToken(c, r, c.logRatio, r.logRatio, factor: k.beta), 0)
  }

  /// factor·(a⁺/n⁺ − a⁻/n⁻), derivatives ±factor/n.
  private static func perToken(
    _ c: ScoredResponse, _ r: ScoredResponse, _ up: Double, _ down: Double, factor: Double,
    minus shift: Double = 0
  ) -> Margin {
    let (n, m) = (Double(c.tokens), Double(r.tokens))
    return Margin(
      value: factor * (up / n - down / m) - shift, chosen: factor / n, rejected: -factor / m)
  }

  /// R-DPO: ℓ(z), z = βΔ + α(n⁺ − n⁻): the reward is r − α·n. Gradient: ∓β·σ(−z).
  ///
  /// Paper: Park et al. 2024. Differs from the paper: nothing; α = 0 is dpo.
  static func rdpo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    let z = k.beta * (c.logRatio - r.logRatio) + k.lengthPrice * Double(c.tokens - r.tokens)
    return smoothed(Margin(value: z, chosen: k.beta, rejected: -k.beta), 0)
  }

  /// SimPO: ℓ(z), z = β(π⁺/n⁺ − π⁻/n⁻) − γ. Gradient: ∓β·σ(−z)/n.
  ///
  /// Paper: Meng et al. 2024. Differs from the paper: nothing.
  static func simpo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    smoothed(perToken(c, r, c.policy, r.policy, factor: k.beta, minus: k.gamma), 0)
  }

  /// ORPO's odds term: λ·ℓ(logit⁺ − logit⁻), logit = a − log(1 − e^a), a = π/n held ≤ −1e-6. The
  /// likelihood of the chosen response is the sft term, whose weight is 1 for this loss.
  ///
  /// Gradient: ∓λ·σ(−z)/(n·(1 − e^a)), 0 on a side that is held.
  ///
  /// Paper: Hong et al. 2024. Differs from the paper: a is held away from 0, by `log1mexp`.
  static func orpo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    func logit(_ response: ScoredResponse) -> (value: Double, slope: Double) {
      let a = min(response.mean, -1e-6)
      let slope = response.mean < -1e-6 ? 1 / (-expm1(a) * Double(response.tokens)) : 0
      return (a - log1mexp(a), slope)
    }
    let (up, down) = (logit(c), logit(r))
    let z = up.value - down.value
    let slope = -k.lambda * sigmoid(-z)
    return PairTerm(
      loss: k.lambda * softplus(-z), chosen: slope * up.slope, rejected: -slope * down.slope)
  }

  /// CPO's preference term: ℓ(z), z = β(π⁺ − π⁻). The likelihood of the chosen response is the sft
  /// term, whose weight (the paper's α) is 1 for this loss. Gradient: ∓β·σ(−z).
  ///
  /// Paper: Xu et al. 2024. Differs from the paper: nothing.
  static func cpo(_ c: ScoredResponse, _ r: ScoredResponse, _ k: Knobs) -> PairTerm {
    smoothed(
      Margin(value: k.beta * (c.policy - r.policy), chosen: k.beta, rejected: -k.beta), 0)
  }
}
