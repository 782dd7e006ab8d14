// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation

/// How unsure reward models are of what people will say, from their scores of the answers.
///
/// With p_k = P(i ≻ j) = σ(s_ki − s_kj) by model k and p̄ their mean: of one model the entropy of p,
/// which is greatest where the margin is least (uncertainty sampling, Lewis & Gale 1994); of several
/// their disagreement H(p̄) − mean_k H(p_k), which leaves out what all of them find a toss-up (BALD,
/// Houlsby et al. 2011, arXiv:1112.5745). In bits, 0 to 1.
package enum Uncertainty {
  /// Of a comparison: the mean over its pairs.
  ///
  /// - Parameter scores: For each model a score for each answer.
  package static func ofComparison(_ scores: [[Double]]) -> Double {
    guard let count = scores.first?.count, count > 1 else { return 0 }
    var values: [Double] = []
    for i in 0..<count {
      for j in (i + 1)..<count { values.append(of(scores.map { sigmoid($0[i] - $0[j]) })) }
    }
    return Statistics.mean(values)
  }

  /// Of a thumb.
  ///
  /// - Parameter scores: A score by each model, 0 where up and down are as likely.
  package static func ofThumb(_ scores: [Double]) -> Double { of(scores.map(sigmoid)) }

  private static func of(_ probabilities: [Double]) -> Double {
    guard !probabilities.isEmpty, probabilities.allSatisfy(\.isFinite) else { return 0 }
    let whole = entropy(Statistics.mean(probabilities))
    if probabilities.count == 1 { return whole }
    return max(0, whole - Statistics.mean(probabilities.map(entropy)))
  }

  private static func entropy(_ p: Double) -> Double {
    guard p > 0, p < 1 else { return 0 }
    return -(p * log2(p) + (1 - p) * log2(1 - p))
  }
}
