// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels
import Foundation

/// Draws a token for each row of logits.
package struct TokenPicker {
  /// What a row's draw depends on beside its logits.
  package struct Draw {
    /// The seed of its random numbers; nil: the settings'.
    package var seed: UInt64?
    /// The sample's stream of random numbers, and its position in it.
    package var stream: UInt64
    package var position: Int
    /// Distinct ids that the repetition penalty is for.
    package var seen: [Int32]

    package init(seed: UInt64? = nil, stream: UInt64, position: Int, seen: [Int32] = []) {
      self.seed = seed
      self.stream = stream
      self.position = position
      self.seen = seen
    }
  }

  /// A token and its log-probability at the sampling temperature over the full vocabulary.
  package struct Pick: Equatable {
    package var id: Int32
    package var logProbability: Double
    /// Its logit before any penalty.
    package var logit: Float
  }

  /// How tokens are drawn.
  package var settings: SamplingSettings
  private let vocabulary: Int
  private var candidates: [Int32]

  package init(_ settings: SamplingSettings, vocabulary: Int) {
    self.settings = settings
    self.vocabulary = vocabulary
    candidates = Array(repeating: 0, count: vocabulary)
  }

  /// A number in 0 ..< 1 that depends on its three arguments alone.
  package static func uniform(seed: UInt64, stream: UInt64, position: Int) -> Double {
    // SplitMix's finaliser (Steele et al. 2014), once for each argument.
    func mix(_ value: UInt64) -> UInt64 {
      var z = value &+ 0x9E37_79B9_7F4A_7C15
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    let bits = mix(mix(mix(seed) ^ stream) ^ UInt64(bitPattern: Int64(position)))
    return Double(bits >> 11) * 0x1p-53
  }

  /// Draws.
  ///
  /// - Parameters:
  ///   - logits: [rows, V]; the repetition penalty is written into them.
  ///   - rows: What each draw depends on.
  /// - Returns: A token a row.
  /// - Throws: `EngineError` if logits are not finite.
  package mutating func pick(
    _ logits: UnsafeMutablePointer<Float>, _ rows: [Draw]
  ) throws -> [Pick] {
    let greedy = settings.temperature == 0
    let inverse = greedy ? 1 : Float(1 / settings.temperature)
    var normalisers = [Double](repeating: 0, count: rows.count)
    atk_log_sum_exp(&normalisers, logits, inverse, rows.count, vocabulary)
    guard normalisers.allSatisfy(\.isFinite) else { throw EngineError.logitsNotFinite }
    let originals = penalise(logits, rows)
    var ids = [Int32](repeating: 0, count: rows.count)
    if greedy {
      atk_pick_greatest(&ids, logits, rows.count, vocabulary)
    } else if settings.topK == 0 && settings.topP == 1 && settings.minP == 0 {
      atk_pick(&ids, logits, uniforms(rows), inverse, rows.count, vocabulary)
    } else {
      ids = pickAmongFew(logits, inverse, uniforms(rows))
    }
    return rows.indices.map { m in
      let id = ids[m]
      let logit = originals[m][id] ?? logits[m * vocabulary + Int(id)]
      return Pick(
        id: id, logProbability: Double(logit) * Double(inverse) - normalisers[m], logit: logit)
    }
  }

  private func uniforms(_ rows: [Draw]) -> [Double] {
    rows.map {
      Self.uniform(seed: $0.seed ?? settings.seed, stream: $0.stream, position: $0.position)
    }
  }

  /// Writes the repetition penalty into the logits; returns what they were.
  private func penalise(
    _ logits: UnsafeMutablePointer<Float>, _ rows: [Draw]
  ) -> [[Int32: Float]] {
    let penalty = Float(settings.repetitionPenalty)
    guard penalty != 1 else { return Array(repeating: [:], count: rows.count) }
    return rows.indices.map { m in
      var originals: [Int32: Float] = [:]
      for id in rows[m].seen {
        let logit = logits[m * vocabulary + Int(id)]
        originals[id] = logit
        logits[m * vocabulary + Int(id)] = logit < 0 ? logit * penalty : logit / penalty
      }
      return originals
    }
  }

  /// The likeliest ids of one row of logits, the likeliest first, of equals the first.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - row: [V]; nothing is written to it.
  package mutating func greatest(_ count: Int, of row: UnsafePointer<Float>) -> [Int32] {
    guard count > 0 else { return [] }
    var bound: Float = 0
    atk_pick_threshold(&bound, row, count, 1, 1, 1, vocabulary)
    let found = atk_ids_above(&candidates, row, bound, vocabulary)
    let sorted = candidates[..<found].sorted { (row[Int($1)], $0) < (row[Int($0)], $1) }
    return Array(sorted.prefix(count))
  }

  /// Top-k, top-p and min-p. The kernel finds a bound that few ids are above; only those are sorted.
  private mutating func pickAmongFew(
    _ logits: UnsafeMutablePointer<Float>, _ inverse: Float, _ uniforms: [Double]
  ) -> [Int32] {
    let rows = uniforms.count
    var bounds = [Float](repeating: 0, count: rows)
    var normalisers = [Double](repeating: 0, count: rows)
    var greatest = [Int32](repeating: 0, count: rows)
    // With top-k, the others are shares of what it keeps, so all of that is needed.
    let hasTopK = settings.topK > 0 && settings.topK < vocabulary
    atk_pick_threshold(
      &bounds, logits, hasTopK ? settings.topK : 0, hasTopK ? 1 : settings.topP, inverse, rows,
      vocabulary)
    atk_log_sum_exp(&normalisers, logits, inverse, rows, vocabulary)
    atk_pick_greatest(&greatest, logits, rows, vocabulary)
    return (0..<rows).map { m in
      let row = logits + m * vocabulary
      let most = row[Int(greatest[m])]
      // A little lower, because it is rounded.
      let least = hasTopK ? -.infinity : most + Float(log(settings.minP) - 1e-3) / inverse
      let count = atk_ids_above(&candidates, row, max(bounds[m], least), vocabulary)
      let kept = keep(row, count, most: most, inverse, normaliser: normalisers[m])
      var rest = uniforms[m] * kept.reduce(0) { $0 + $1.weight }
      for candidate in kept {
        if rest < candidate.weight { return candidate.id }
        rest -= candidate.weight
      }
      return kept.last?.id ?? greatest[m]
    }
  }

  /// The first `count` candidates of a row that stay, the most probable first.
  private func keep(
    _ row: UnsafePointer<Float>, _ count: Int, most: Float, _ inverse: Float, normaliser: Double
  ) -> [(id: Int32, weight: Double)] {
    var kept = candidates[..<count].sorted {
      (row[Int($1)], $0) < (row[Int($0)], $1)
    }.map { (id: $0, weight: exp(Double(row[Int($0)] - most) * Double(inverse))) }
    var total = exp(normaliser - Double(most) * Double(inverse))
    if settings.topK > 0 && settings.topK < vocabulary {
      kept.removeLast(max(0, kept.count - settings.topK))
      total = kept.reduce(0) { $0 + $1.weight }
    }
    if settings.topP < 1 {
      var sum = 0.0
      let end = kept.firstIndex {
        sum += $0.weight
        return sum >= settings.topP * total
      }
      if let end { kept.removeLast(kept.count - end - 1) }
    }
    if settings.minP > 0 { kept.removeAll { $0.weight < settings.minP } }
    return kept
  }
}

extension EngineError {
  /// What comes of damaged weights.
  static var logitsNotFinite: EngineError {
    EngineError(
      .notFinite, "the model's logits are not finite: its weights are damaged or diverged")
  }
}
