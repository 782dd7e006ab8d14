// SPDX-License-Identifier: Apache-2.0

/// A response as a contrastive loss sees it: sums over its tokens, end-of-sequence included.
public struct ScoredResponse: Sendable, Equatable, Codable {
  /// π: log-probability of the response under the policy; not read by the counts of `statistics`.
  public var policy: Double
  /// ρ: the same under the reference; `nil` where the loss needs none.
  public var reference: Double?
  /// n: the number of response tokens.
  public var tokens: Int
  /// Log-probability of the prompt's tokens under the policy, where its likelihood counts too.
  public var promptPolicy: Double
  /// Number of the prompt's tokens that have a log-probability.
  public var promptTokens: Int

  /// Makes a response.
  ///
  /// - Parameters:
  ///   - policy: Log-probability under the policy.
  ///   - reference: Log-probability under the reference.
  ///   - tokens: Number of response tokens.
  ///   - promptPolicy: Log-probability of the prompt.
  ///   - promptTokens: Number of the prompt's scored tokens.
  public init(
    policy: Double, reference: Double? = nil, tokens: Int, promptPolicy: Double = 0,
    promptTokens: Int = 0
  ) {
    self.policy = policy
    self.reference = reference
    self.tokens = tokens
    self.promptPolicy = promptPolicy
    self.promptTokens = promptTokens
  }

  /// h = π − ρ.
  var logRatio: Double { policy - (reference ?? 0) }
  /// π/n.
  var mean: Double { policy / Double(tokens) }
}

/// What was said of a pair of responses.
public struct PreferenceLabel: Sendable, Equatable {
  /// q = P(chosen ≻ rejected); 1 for a plain preference.
  public var probability: Double
  /// What was said.
  public var outcome: PairComparison.Outcome

  /// Makes a label.
  ///
  /// - Parameters:
  ///   - probability: P(chosen ≻ rejected).
  ///   - outcome: What was said.
  public init(probability: Double = 1, outcome: PairComparison.Outcome = .preferred) {
    self.probability = probability
    self.outcome = outcome
  }
}

/// Two responses to one prompt and what was said about them.
public struct PreferenceRow: Sendable, Equatable {
  /// The preferred response.
  public var chosen: ScoredResponse
  /// The other one.
  public var rejected: ScoredResponse
  /// q = P(chosen ≻ rejected); 1 for a plain preference.
  public var probability: Double
  /// What was said.
  public var outcome: PairComparison.Outcome
  /// How much the row counts.
  public var weight: Double

  /// Makes a row.
  ///
  /// - Parameters:
  ///   - chosen: The preferred response.
  ///   - rejected: The other one.
  ///   - probability: P(chosen ≻ rejected).
  ///   - outcome: What was said.
  ///   - weight: How much the row counts.
  public init(
    chosen: ScoredResponse, rejected: ScoredResponse, probability: Double = 1,
    outcome: PairComparison.Outcome = .preferred, weight: Double = 1
  ) {
    self.chosen = chosen
    self.rejected = rejected
    self.probability = probability
    self.outcome = outcome
    self.weight = weight
  }
}

/// The knobs of the contrastive losses, flat; `PreferenceLoss.reads` says which one reads which.
/// What is `nil` takes the loss's own default.
public struct PreferenceSettings: Codable, Sendable, Equatable {
  /// A knob, by the name that a recipe has for it.
  public enum Knob: String, CaseIterable, Codable, Sendable {
    case beta, smoothing, lambda, gamma, tau, divergence, ties, harden
    case lengthNormalised = "length_normalised"
    case lengthPrice = "length_price"
    case divergenceAlpha = "divergence_alpha"
    case sftWeight = "sft_weight"
    case nllReduction = "nll_reduction"
    case nllOver = "nll_over"
  }

  /// What the likelihood of the chosen response is of.
  public enum LikelihoodOver: String, CaseIterable, Codable, Sendable {
    /// The response.
    case completion
    /// The prompt and the response.
    case promptAndCompletion = "prompt_and_completion"
  }

  /// β: 0.1, but 0.3 for `dpop` and 2 for `simpo`.
  @OwnDefault public var beta: Double? = nil
  /// ε, the share of labels taken to be wrong: 0, but 0.1 for `robust` and 0.001 for `exo`.
  @OwnDefault public var smoothing: Double? = nil
  /// Whether `ipo` divides h by n.
  public var lengthNormalised = false
  /// λ: the penalty of `dpop` (50), the weight of the odds term of `orpo` (0.1).
  @OwnDefault public var lambda: Double? = nil
  /// α: what a token costs in `rdpo` (0.01).
  @OwnDefault public var lengthPrice: Double? = nil
  /// γ: the margin of `simpo` (1).
  @OwnDefault public var gamma: Double? = nil
  /// τ: how soft `discopop` switches (0.05).
  @OwnDefault public var tau: Double? = nil
  /// The divergence from the reference.
  public var divergence = FDivergence.reverseKL
  /// α of the divergence `alpha`.
  public var divergenceAlpha = 0.5
  /// Weight of the chosen response's negative log-likelihood: 0, but 1 for `cpo` and `orpo`.
  @OwnDefault public var sftWeight: Double? = nil
  /// What that likelihood is divided by.
  public var nllReduction = TokenReduction.sequence
  /// What that likelihood is of.
  public var nllOver = LikelihoodOver.completion
  /// What to do with 'tie' and 'both bad'.
  public var ties = RewardSettings.Ties.skip
  /// Whether soft labels are rounded to plain ones where the loss cannot read them.
  public var harden = false

  /// The defaults.
  public init() {}

  /// The knobs that are not at their default.
  var set: [Knob] {
    let plain = PreferenceSettings()
    return Knob.allCases.filter { knob in
      switch knob {
      case .beta: beta != nil
      case .smoothing: smoothing != nil
      case .lambda: lambda != nil
      case .gamma: gamma != nil
      case .tau: tau != nil
      case .divergence: divergence != plain.divergence
      case .ties: ties != plain.ties
      case .harden: harden
      case .lengthNormalised: lengthNormalised
      case .lengthPrice: lengthPrice != nil
      case .divergenceAlpha: divergenceAlpha != plain.divergenceAlpha
      case .sftWeight: sftWeight != nil
      case .nllReduction: nllReduction != plain.nllReduction
      case .nllOver: nllOver != plain.nllOver
      }
    }
  }
}

/// What a contrastive loss needs to know of the whole batch: counts, and for the `aot` losses which
/// values stand at the same place when the batch is sorted.
public struct PreferenceStatistics: Sendable, Equatable {
  /// Weight of the rows that are trained on.
  public var rows: Double
  /// Weighted tokens of their likelihood term.
  public var tokens: Double
  /// `aot`: for each row what its chosen side is compared with.
  var chosenPartners: [Double] = []
  /// `aot_unpaired`: for each row what its rejected side is compared with.
  var rejectedPartners: [Double] = []
}
