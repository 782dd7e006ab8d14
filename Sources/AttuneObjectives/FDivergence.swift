// SPDX-License-Identifier: Apache-2.0

/// Divergences from the reference that a contrastive loss can hold the policy by, in place of the
/// reverse KL: h is replaced by f′(π/ρ) as a function of h = log π/ρ.
///
/// Paper: Wang et al. 2023, arXiv:2309.16240. Differs from the paper: an exponential continues as
/// its tangent line above an exponent of 20.
public enum FDivergence: String, CaseIterable, Codable, Sendable {
  case reverseKL = "reverse_kl"
  case forwardKL = "forward_kl"
  case jensenShannon = "js"
  case alpha

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .reverseKL: "h: KL(π‖ρ), the usual one"
    case .forwardKL: "1 − e^{−h}: KL(ρ‖π)"
    case .jensenShannon: "log 2 + log σ(h): Jensen–Shannon"
    case .alpha: "(e^{(α−1)h} − 1)/(α−1), 0 < α < 1"
    }
  }

  /// f′ and its derivative with respect to h.
  ///
  /// - Parameters:
  ///   - h: log π − log ρ of a response.
  ///   - alpha: α, for `alpha`.
  func score(_ h: Double, alpha: Double) -> (value: Double, slope: Double, saturated: Bool) {
    switch self {
    case .reverseKL: return (h, 1, false)
    case .forwardKL:
      let e = boundedExp(-h)
      return (1 - e.value, e.slope, -h > exponentialBound)
    case .jensenShannon: return (0.693147180559945 - softplus(-h), sigmoid(-h), false)
    case .alpha:
      let exponent = (alpha - 1) * h
      let e = boundedExp(exponent)
      return ((e.value - 1) / (alpha - 1), e.slope, exponent > exponentialBound)
    }
  }
}
