// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

/// `Tests/Fixtures/trl_losses.json` (Scripts/fixtures/trl_losses.py): random inputs, and what TRL's
/// own code makes of them in float64.
struct TRLFixture: Decodable {
  struct Response: Decodable {
    var policy, reference, promptPolicy: Double
    var tokens, promptTokens: Int
  }

  struct Pairs: Decodable {
    var chosen, rejected: [Response]
  }

  struct Thumbs: Decodable {
    var up: [Bool]
    var policy, reference, mismatched: [Double]
    var tokens, mismatchedTokens: [Int]
    var mismatchedReference: [String: [Double]]
  }

  struct Samples: Decodable {
    var limit: Int
    var advantages: [Double]
    var new, old, reference: [[Double]]
  }

  /// TRL's options, by its names.
  struct Options: Decodable, Sendable {
    var beta, labelSmoothing, discopopTau, fAlphaDivergenceCoef: Double?
    var fDivergenceType, importanceSamplingLevel: String?
    var lossWeights: [Double]?
    var cpoAlpha, simpoGamma, desirableWeight, undesirableWeight: Double?
    var epsilon, epsilonHigh, delta: Double?
    var useBiasCorrectionKl: Bool?
  }

  struct Case: Decodable, Sendable, CustomTestStringConvertible {
    var trainer, lossType: String
    var options: Options
    var drift: String?
    var loss: Double
    /// The gradient: one number a row, or for `tokens` one a token.
    var chosen, rejected, prompt, single: [Double]?
    var tokens: [[Double]]?

    var testDescription: String {
      let set = Mirror(reflecting: options).children.compactMap { child -> String? in
        let value = "\(child.value)"
        return value == "nil" ? nil : "\(child.label ?? "") \(value)"
      }
      return "\(trainer) \(lossType) " + set.joined(separator: ", ")
    }
  }

  var pairs: Pairs
  var thumbs: Thumbs
  var samples: Samples
  var cases: [Case]

  static func read() throws -> TRLFixture {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(
      TRLFixture.self, from: Data(contentsOf: Fixtures.url("trl_losses.json")))
  }

  static func cases(of trainers: String...) throws -> [Case] {
    try read().cases.filter { trainers.contains($0.trainer) }
  }

  /// The pairs; `referenceFree`: with a reference that gives everything 0.
  func preferences(referenceFree: Bool) -> [PreferenceRow] {
    func scored(_ response: Response) -> ScoredResponse {
      ScoredResponse(
        policy: response.policy, reference: referenceFree ? 0 : response.reference,
        tokens: response.tokens, promptPolicy: response.promptPolicy,
        promptTokens: response.promptTokens)
    }
    return zip(pairs.chosen, pairs.rejected).map {
      PreferenceRow(chosen: scored($0), rejected: scored($1))
    }
  }

  /// The single responses, with those of another prompt.
  func unpaired(drift: String) throws -> [UnpairedRow] {
    let references = try #require(thumbs.mismatchedReference[drift])
    return thumbs.up.indices.map { i in
      UnpairedRow(
        response: ScoredResponse(
          policy: thumbs.policy[i], reference: thumbs.reference[i], tokens: thumbs.tokens[i]),
        up: thumbs.up[i],
        mismatched: ScoredResponse(
          policy: thumbs.mismatched[i], reference: references[i],
          tokens: thumbs.mismatchedTokens[i]))
    }
  }

  /// The sampled responses.
  var policyRows: [PolicyRow] {
    samples.new.indices.map { i in
      PolicyRow(
        new: samples.new[i], old: samples.old[i],
        advantages: samples.new[i].map { _ in samples.advantages[i] },
        reference: samples.reference[i])
    }
  }
}
