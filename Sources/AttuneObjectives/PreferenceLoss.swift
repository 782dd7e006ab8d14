// SPDX-License-Identifier: Apache-2.0

/// Contrastive losses on pairs: the reward is read as β·log π/ρ (or as a likelihood, without a
/// reference) and fitted to preferences.
public enum PreferenceLoss: String, CaseIterable, Codable, Sendable {
  case dpo, hinge, ipo, robust, exo, nca
  case bcoPair = "bco_pair"
  case sppo, aot
  case aotUnpaired = "aot_unpaired"
  case apoZero = "apo_zero"
  case apoDown = "apo_down"
  case discopop, dpop
  case dpoNormalised = "dpo_normalised"
  case rdpo, simpo, orpo, cpo

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .dpo: "Bradley–Terry on β·log-ratios; smoothed: cDPO"
    case .hinge: "a margin of 1 between β·log-ratios (SLiC)"
    case .ipo: "the difference of log-ratios is 1/(2β), no more"
    case .robust: "dpo, unbiased where a known share of labels is wrong"
    case .exo: "reverse KL between the pair's probabilities and its labels"
    case .nca: "absolute log-ratios: chosen up, both held down"
    case .bcoPair: "chosen log-ratio above 0, rejected below"
    case .sppo: "chosen log-ratio to 1/(2β), rejected to −1/(2β)"
    case .aot: "policy's margins above the reference's, as sorted distributions"
    case .aotUnpaired: "chosen log-ratios above rejected ones, as sorted distributions"
    case .apoZero: "chosen up, rejected down, where chosen is better than the model"
    case .apoDown: "both down, rejected more, where the model is better than chosen"
    case .discopop: "dpo blended with an exponential loss by a gate"
    case .dpop: "dpo that is punished where the chosen response loses likelihood"
    case .dpoNormalised: "dpo on log-ratios a token"
    case .rdpo: "dpo with a price on length"
    case .simpo: "mean log-probability of the pair with a margin, no reference"
    case .orpo: "likelihood of chosen and odds of the pair, no reference"
    case .cpo: "log-probability of the pair and likelihood of chosen, no reference"
    }
  }

  /// The formula, with h = π − ρ, Δ = h⁺ − h⁻, ℓ(z) = −log σ(z).
  public var formula: String {
    switch self {
    case .dpo: "(1−ε)·ℓ(βΔ) + ε·ℓ(−βΔ)"
    case .hinge: "max(0, 1 − βΔ)"
    case .ipo: "(Δ − 1/(2β))²; length_normalised: h/n in place of h"
    case .robust: "[(1−ε)·ℓ(βΔ) − ε·ℓ(−βΔ)]/(1 − 2ε)"
    case .exo: "σ(βΔ)(log σ(βΔ) − log(1−ε)) + σ(−βΔ)(log σ(−βΔ) − log ε)"
    case .nca: "ℓ(βh⁺) + ½ℓ(−βh⁺) + ½ℓ(−βh⁻)"
    case .bcoPair: "ℓ(βh⁺) + ℓ(−βh⁻)"
    case .sppo: "(h⁺ − ½/β)² + (h⁻ + ½/β)²"
    case .aot: "sorted π⁺−π⁻ against sorted ρ⁺−ρ⁻: smoothed ℓ(β·difference)"
    case .aotUnpaired: "sorted h⁺ against sorted h⁻: smoothed ℓ(β·difference)"
    case .apoZero: "1 − σ(βh⁺) + σ(βh⁻)"
    case .apoDown: "σ(βh⁺) + 1 − σ(βΔ)"
    case .discopop: "ℓ(z)·σ(−z/τ) + exp(−z + log σ(z/τ)), z = βΔ"
    case .dpop: "ℓ(β(Δ − λ·max(0, −h⁺)))"
    case .dpoNormalised: "ℓ(β(h⁺/n⁺ − h⁻/n⁻))"
    case .rdpo: "ℓ(βΔ + α(n⁺ − n⁻))"
    case .simpo: "ℓ(β(π⁺/n⁺ − π⁻/n⁻) − γ)"
    case .orpo: "−π⁺/n⁺ + λ·ℓ(logit⁺ − logit⁻), logit = a − log(1 − e^a), a = π/n ≤ −1e-6"
    case .cpo: "ℓ(β(π⁺ − π⁻)) − α·π⁺/n⁺"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .dpo: "Rafailov et al. 2023, arXiv:2305.18290"
    case .hinge: "Zhao et al. 2023 (SLiC), arXiv:2305.10425"
    case .ipo: "Azar et al. 2023, arXiv:2310.12036"
    case .robust: "Chowdhury et al. 2024, arXiv:2403.00409"
    case .exo: "Ji et al. 2024, arXiv:2402.00856"
    case .nca: "Chen et al. 2024, arXiv:2402.05369"
    case .bcoPair: "Jung et al. 2024, arXiv:2404.04656"
    case .sppo: "Wu et al. 2024, arXiv:2405.00675"
    case .aot, .aotUnpaired: "Melnyk et al. 2024, arXiv:2406.05882"
    case .apoZero, .apoDown: "D'Oosterlinck et al. 2024, arXiv:2408.06266"
    case .discopop: "Lu et al. 2024, arXiv:2406.08414"
    case .dpop: "Pal et al. 2024, arXiv:2402.13228"
    case .dpoNormalised: "Lambert et al. 2024 (Tülu 3), arXiv:2411.15124"
    case .rdpo: "Park et al. 2024, arXiv:2403.19159"
    case .simpo: "Meng et al. 2024, arXiv:2405.14734"
    case .orpo: "Hong et al. 2024, arXiv:2403.07691"
    case .cpo: "Xu et al. 2024, arXiv:2401.08417"
    }
  }

  /// What the loss asks for.
  private var traits: (reference: Bool, softLabels: Bool, currentScores: Bool) {
    switch self {
    case .dpo, .hinge, .ipo, .dpoNormalised, .rdpo: (true, true, false)
    case .robust, .exo, .nca, .bcoPair, .sppo, .apoZero, .apoDown, .discopop, .dpop:
      (true, false, false)
    case .aot, .aotUnpaired: (true, false, true)
    case .simpo, .cpo: (false, true, false)
    case .orpo: (false, false, false)
    }
  }

  /// Whether the reference's log-probabilities are needed.
  public var needsReference: Bool { traits.reference }

  /// Whether a soft label or tie can be read: q·L(y⁺, y⁻) + (1−q)·L(y⁻, y⁺).
  public var readsSoftLabels: Bool { traits.softLabels }

  /// Whether values of other rows of the batch are needed, which takes one more forward pass.
  public var needsCurrentScores: Bool { traits.currentScores }

  /// Whether rows are sorted over the batch, so that a loss is not of one pair: such a loss reads neither
  /// weights nor ties.
  public var sortsBatch: Bool { self == .aot || self == .aotUnpaired }

  /// The settings that the loss reads; any other that is set is refused.
  public var reads: [PreferenceSettings.Knob] {
    let divergences: [PreferenceSettings.Knob] = [.divergence, .divergenceAlpha]
    let own: [PreferenceSettings.Knob] =
      switch self {
      case .dpo, .robust, .exo: [.beta, .smoothing] + divergences
      case .hinge: [.beta] + divergences
      case .ipo: [.beta, .lengthNormalised] + divergences
      case .nca, .bcoPair, .sppo, .apoZero, .apoDown, .dpoNormalised, .cpo: [.beta]
      case .aot, .aotUnpaired: [.beta, .smoothing]
      case .discopop: [.beta, .tau] + divergences
      case .dpop: [.beta, .lambda]
      case .rdpo: [.beta, .lengthPrice]
      case .simpo: [.beta, .gamma]
      case .orpo: [.lambda]
      }
    return [.sftWeight, .nllReduction, .nllOver] + own.filter { $0 == .beta }
      + [readsSoftLabels ? .ties : .harden] + own.filter { $0 != .beta }
  }
}
