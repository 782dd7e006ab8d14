// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Losses that bring the policy to a teacher's distribution T(y|x), the fourth family: π* is not
/// computed from a reward, it is there to be asked.
///
/// With the reward log T/π_ref the teacher is the optimum of E r − β·KL(π‖π_ref) at β = 1.
public enum DistillationLoss: String, CaseIterable, Codable, Sendable {
  case reverseKL = "reverse_kl"
  case forwardKL = "forward_kl"
  case gkd, sequence

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .reverseKL:
      "KL(π‖T) of every token of the policy's own answers: seeks what the teacher prefers"
    case .forwardKL:
      "KL(T‖π) of every token of the policy's own answers: covers all that the teacher says"
    case .gkd:
      "generalised Jensen–Shannon divergence, a share λ of the answers the policy's own, the others the teacher's"
    case .sequence: "likelihood of the teacher's answers: supervised learning from samples of it"
    }
  }

  /// The formula, a token: p the policy's distribution of the next token, q the teacher's, o the
  /// policy that sampled, N the tokens of the batch.
  public var formula: String {
    switch self {
    case .reverseKL:
      "Σ p·log(p/q) / N; of sampled tokens −Σ min(q_t·A_t, clip(q_t, 1 ± 0.2)·A_t) / N with "
        + "A_t = Σ_{s≥t} γ^{s−t}·(log T_s − log ρ_s − β·(o_s − ρ_s))"
    case .forwardKL: "Σ q·log(q/p) / N"
    case .gkd: "(b·Σ q·log(q/m) + (1 − b)·Σ p·log(p/m)) / N, m = b·q + (1 − b)·p, b 0.5"
    case .sequence: "−Σ π_t / N on answers of the teacher"
    }
  }

  /// Where the loss comes from.
  public var paper: String {
    switch self {
    case .reverseKL:
      "Agarwal et al. 2024, arXiv:2306.13649; Gu et al. 2024 (MiniLLM), arXiv:2306.08543"
    case .forwardKL: "Hinton et al. 2015, arXiv:1503.02531; on own samples: Agarwal et al. 2024"
    case .gkd: "Agarwal et al. 2024 (GKD), arXiv:2306.13649"
    case .sequence: "Kim and Rush 2016, arXiv:1606.07947"
    }
  }

  /// The knobs that it reads beside those of all, by their names in a recipe.
  public var reads: [String] {
    switch self {
    case .reverseKL: ["tokens", "discount", "beta"]
    case .forwardKL, .sequence: []
    case .gkd: ["jsd_beta", "own_share"]
    }
  }

  /// β of the generalised Jensen–Shannon divergence of a token; nil: the loss is of the tokens that
  /// were drawn alone.
  ///
  /// - Parameter jsdBeta: That of `gkd`.
  public func mix(jsdBeta: Double) -> Double? {
    switch self {
    case .reverseKL: 1
    case .forwardKL: 0
    case .gkd: jsdBeta
    case .sequence: nil
    }
  }
}

extension DistillationLoss {
  /// The generalised Jensen–Shannon divergence of one token:
  /// D = b·KL(q ‖ m) + (1 − b)·KL(p ‖ m), m = b·q + (1 − b)·p; KL(q ‖ p) at b = 0, KL(p ‖ q) at 1.
  ///
  /// Gradient on the logits of p: p_j·(g_j − Σ p·g) with g = (1 − b)·log(p/m); log(p/q) at b = 1;
  /// p − q at b = 0. An engine computes the same over the vocabulary (`LanguageModel.divergence`).
  ///
  /// Paper: Agarwal et al. 2024, arXiv:2306.13649, equation 1. Differs from the paper: nothing; its ends
  /// are the limits of D/b and D/(1 − b), as there.
  ///
  /// - Parameters:
  ///   - policy: log p of every token.
  ///   - teacher: log q of every token.
  ///   - mix: b.
  /// - Returns: D in nats, and its gradient on the logits of p.
  public static func divergence(
    policy: [Double], teacher: [Double], mix: Double
  ) -> (value: Double, gradient: [Double]) {
    precondition(policy.count == teacher.count && (0...1).contains(mix), "one vocabulary")
    var value = 0.0
    var slopes = policy.map { _ in 0.0 }
    for (j, (p, q)) in zip(policy, teacher).enumerated() {
      switch mix {
      case 0:
        value += exp(q) * (q - p)
        slopes[j] = exp(p) - exp(q)
      case 1:
        value += exp(p) * (p - q)
        slopes[j] = p - q
      default:
        let m = logSumExp([log(mix) + q, log(1 - mix) + p])
        value += mix * exp(q) * (q - m) + (1 - mix) * exp(p) * (p - m)
        slopes[j] = (1 - mix) * (p - m)
      }
    }
    guard mix > 0 else { return (value, slopes) }
    let mean = zip(policy, slopes).reduce(0) { $0 + exp($1.0) * $1.1 }
    return (value, zip(policy, slopes).map { exp($0) * ($1 - mean) })
  }

  /// The loss of a piece from the divergences of its tokens: L = Σ_t w_t·D_t / N, whose gradient on each
  /// divergence is w_t / N.
  ///
  /// - Parameters:
  ///   - divergences: In nats, a list a row.
  ///   - weights: The same shape.
  ///   - statistics: From `TokenLoss.statistics` over all rows of the batch.
  public static func loss(
    divergences: [[Double]], weights: [[Double]], statistics: TokenStatistics
  ) -> LossResult {
    var result = LossResult()
    let scaled = statistics.scaled(weights)
    result.loss = zip(divergences.joined(), scaled.joined()).reduce(0) { $0 + $1.0 * $1.1 }
    result.metrics.addMean(
      .distillationLoss,
      total: zip(divergences.joined(), weights.joined()).reduce(0) { $0 + $1.0 * $1.1 },
      weight: weights.joined().reduce(0, +))
    return result
  }

  /// Where E r − β·KL(π‖ρ) ends with the reward log T/ρ: ρ^{1 − 1/β}·T^{1/β}/Z, the teacher at β = 1.
  ///
  /// Below β = 1 the reference has a negative exponent: what it hardly says gets the more weight, and
  /// what it never says, an infinite one.
  ///
  /// - Parameters:
  ///   - reference: ρ of every response.
  ///   - teacher: T of every response.
  ///   - beta: β, above 0.
  /// - Returns: Its probability of every response.
  /// - Throws: `ObjectiveError` where it can't be normalised: β is below 1 and the teacher says what the
  ///   reference never does, or no response has weight.
  public static func optimum(
    reference: [Double], teacher: [Double], beta: Double
  ) throws -> [Double] {
    precondition(reference.count == teacher.count && beta > 0, "one teacher, beta above 0")
    let logs = try zip(reference, teacher).map { reference, teacher in
      if reference == 0, teacher > 0, beta < 1 {
        throw ObjectiveError(
          .badSetting,
          "beta \(beta) is below 1, and the teacher says what the reference never does: "
            + "ρ^(1 − 1/beta)·T^(1/beta) can't be normalised; take beta 1 or more")
      }
      // T^(1/β) of nothing is nothing, whatever ρ has for an exponent.
      guard teacher > 0, reference > 0 || beta == 1 else { return -Double.infinity }
      return beta == 1 ? log(teacher) : (1 - 1 / beta) * log(reference) + log(teacher) / beta
    }
    let total = logSumExp(logs)
    guard total.isFinite else {
      throw ObjectiveError(
        .badRows, "the teacher and the reference have no response in common: there is no optimum")
    }
    return logs.map { exp($0 - total) }
  }
}

extension Advantage {
  /// Advantages of sampled tokens on the way to a teacher: A_t = Σ_{s≥t} γ^{s−t}·r_s with
  /// r_s = log T_s − ρ_s − β·(o_s − ρ_s), which is log T_s − o_s at β = 1.
  ///
  /// With γ = 1 and the policy gradient it is the gradient of E[log T/ρ] − β·KL(π‖ρ), at β = 1 of
  /// −KL(π‖T) of whole responses; with γ = 0 a token answers for its own divergence alone, which has less
  /// variance and the same zero at β = 1. At that zero every advantage is 0.
  ///
  /// Paper: Gu et al. 2024 (MiniLLM), arXiv:2306.08543; Agarwal et al. 2024, arXiv:2306.13649. Differs
  /// from MiniLLM: no normalisation by length, no mixture that samples.
  ///
  /// - Parameters:
  ///   - old: Log-probabilities of the tokens under the policy that sampled.
  ///   - reference: The same under the reference; not read at β = 1.
  ///   - teacher: The same under the teacher.
  ///   - beta: β.
  ///   - discount: γ.
  public static func distillation(
    old: [Double], reference: [Double], teacher: [Double], beta: Double = 1, discount: Double = 0
  ) -> [Double] {
    precondition(old.count == teacher.count && old.count == reference.count, "one number a token")
    var toGo = 0.0
    var advantages = old.map { _ in 0.0 }
    for t in old.indices.reversed() {
      let reward =
        beta == 1
        ? teacher[t] - old[t] : teacher[t] - reference[t] - beta * (old[t] - reference[t])
      toGo = reward + discount * toGo
      advantages[t] = toGo
    }
    return advantages
  }
}
