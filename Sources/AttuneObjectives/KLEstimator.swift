// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Estimators of KL(π ‖ ρ) from samples of π, with u = ρ − π (of a token or a whole response).
///
/// As values, k1 and k3 are unbiased. As losses on samples of the policy they pull towards different
/// points: k1 has zero expected gradient, k2 of a sequence has that of KL(π ‖ ρ), k3 that of
/// KL(ρ ‖ π); summed over tokens, k2 and k3 ignore what a token does to the KL of later ones. Only
/// k1 in the reward with return-to-go, or a sequence-level form, reaches π*.
///
/// Paper: Schulman 2020, "Approximating KL divergence". Differs from it: e^u continues as its
/// tangent line above u = 20.
public enum KLEstimator: String, CaseIterable, Codable, Sendable {
  case k1, k2, k3

  /// One line for help and documentation.
  public var summary: String {
    switch self {
    case .k1: "−u: unbiased, can be negative; as a loss it regularises nothing"
    case .k2: "u²/2: biased, little variance; as a sequence loss it has the gradient of KL(π‖ρ)"
    case .k3: "e^u − u − 1: unbiased, never negative; as a loss it pulls towards KL(ρ‖π)"
    }
  }

  /// What the maximum of E r − β·(the estimator, as a loss on the policy's own samples) is, form by
  /// form, for help and documentation. `attune exactness` shows it.
  public static let asLosses: [(form: String, reaches: String)] = [
    ("k1", "the highest reward alone: its expected gradient is zero, it regularises nothing"),
    ("k2, per sequence", "the optimum of E r − β·KL(π‖ρ)"),
    ("k3 ratio-weighted, per sequence", "the same"),
    ("k3, per sequence", "the optimum of E r − β·KL(ρ‖π), another one"),
    ("k3, per token (GRPO's)", "neither: it pulls on each token at the states visited, held fixed"),
    (
      "k2 or weighted k3, per token",
      "neither: it drops what a token does to the KL of those after it"
    ),
  ]

  /// The estimate, with u = `reference` − `policy`.
  public func value(policy: Double, reference: Double) -> Double {
    let u = reference - policy
    switch self {
    case .k1: return -u
    case .k2: return u * u / 2
    case .k3: return boundedExp(u).value - u - 1
    }
  }

  /// Its derivative with respect to the policy's log-probability: 1, −u, or 1 − e^u.
  public func gradient(policy: Double, reference: Double) -> Double {
    let u = reference - policy
    switch self {
    case .k1: return 1
    case .k2: return -u
    case .k3: return 1 - boundedExp(u).slope
    }
  }

  /// k3 weighted by the ratio to the sampling policy, k3·e^{π−o}, as one function:
  /// e^{ρ−o} − (1 + u)·e^{π−o}.
  ///
  /// Its gradient, −u·e^{π−o}, is that of KL(π ‖ ρ) for a whole response. The weight e^{π−o} and the
  /// constant e^{ρ−o} are cut at log-ratio 20: above it the value continues so that the gradient is
  /// −u·e²⁰ and never changes sign because of the cut.
  ///
  /// - Returns: The value and the derivative with respect to the policy's log-probability.
  public static func weightedK3(
    policy: Double, reference: Double, old: Double
  ) -> (value: Double, gradient: Double) {
    let u = reference - policy
    let constant = exp(min(reference - old, exponentialBound))
    let z = policy - old
    guard z > exponentialBound else {
      let weight = exp(z)
      return (constant - (1 + u) * weight, -u * weight)
    }
    let weight = exp(exponentialBound)
    let atCut = reference - old - exponentialBound
    return (
      constant - (1 + atCut) * weight + weight * (u * u - atCut * atCut) / 2, -u * weight
    )
  }
}
