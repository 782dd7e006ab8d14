// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct SamplerCorrectionTests {
  static func settings(_ form: SamplerCorrection.Form, cap: Double = 2) -> PolicySettings {
    var settings = PolicySettings()
    settings.correction.importanceWeights = form
    settings.correction.importanceCap = cap
    settings.maximumLength = 5
    return settings
  }

  static func result(
    _ loss: PolicyLoss, _ rows: [PolicyRow], _ settings: PolicySettings
  ) throws -> LossResult {
    loss.loss(
      rows, statistics: try loss.statistics(of: rows, settings: settings), settings: settings)
  }

  @Test(arguments: SamplerCorrection.Form.allCases)
  func `two tokens by hand`(form: SamplerCorrection.Form) throws {
    // q = e^0.2 = 1.2214 and e^1.1 = 3.0042; advantages 2 and −1; one response.
    let row = PolicyRow(
      new: [-1, -0.5], old: [-1, -0.5], advantages: [2, -1], sampler: [-1.2, -1.6])
    let (first, second): (Double, Double) =
      switch form {
      case .truncate: (1.221402758160170, 2)
      case .mask: (1.221402758160170, 0)
      case .none: (1, 1)
      }
    let result = try Self.result(.reinforce, [row], Self.settings(form))
    #expect(abs(result.loss - (first * 2 - second * 0.5)) < 1e-12)
    #expect(abs(result.logProbabilities[0][0] + 2 * first) < 1e-12)
    #expect(abs(result.logProbabilities[0][1] - second) < 1e-12)
    #expect(result.metrics[.importanceCutShare] == (form == .none ? nil : 0.5))
    // At a cap above both nothing is cut.
    let whole = try Self.result(.reinforce, [row], Self.settings(form, cap: 4))
    #expect(
      abs(whole.logProbabilities[0][1] - (form == .none ? 1 : 3.004166023946433)) < 1e-12)
  }

  @Test(arguments: PolicyLoss.allCases)
  func `every loss weights its tokens, and neither KL term nor bonus`(loss: PolicyLoss) throws {
    var random = SplitMix(seed: 8)
    let plain = PolicyLossTests.rows(for: loss, count: 6)
    let rows = plain.map { row in
      var row = row
      row.sampler = row.old.map { $0 - Double.random(in: -0.4...1.2, using: &random) }
      return row
    }
    var settings = Self.settings(.truncate)
    let weighted = try Self.result(loss, rows, settings)
    let unweighted = try Self.result(loss, plain, settings)
    var cut = 0
    for (r, row) in rows.enumerated() {
      for t in row.new.indices {
        let weight = min(2, exp(row.old[t] - row.sampler[t]))
        if weight == 2 { cut += 1 }
        let (a, b) = (weighted.logProbabilities[r][t], unweighted.logProbabilities[r][t] * weight)
        #expect(abs(a - b) <= 1e-12 * max(1, abs(b)))
      }
    }
    #expect(cut > 0)
    #expect(unweighted.metrics[.importanceCutShare] == nil)
    settings.klWeight = 0.3
    settings.entropyBonus = 0.01
    let (full, without) = (
      try Self.result(loss, rows, settings), try Self.result(loss, plain, settings)
    )
    for (r, row) in rows.enumerated() {
      for t in row.new.indices {
        let added = full.logProbabilities[r][t] - weighted.logProbabilities[r][t]
        let expected = without.logProbabilities[r][t] - unweighted.logProbabilities[r][t]
        #expect(abs(added - expected) < 1e-12)
      }
    }
    #expect(full.entropies == without.entropies)
  }

  @Test func `over all answers of one token the gradient is the policy's own`() throws {
    var random = SplitMix(seed: 3)
    func logSoftmax() -> [Double] {
      let logits = (0..<7).map { _ in Double.random(in: -0.3...0.3, using: &random) }
      let total = log(logits.reduce(0) { $0 + exp($1) })
      return logits.map { $0 - total }
    }
    let (policy, sampler) = (logSoftmax(), logSoftmax())
    let advantages = policy.map { _ in Double.random(in: -1...1, using: &random) }
    func gradient(weights: [Double], sampler: [Double]?) throws -> [Double] {
      let rows = policy.indices.map { y in
        PolicyRow(
          new: [policy[y]], old: [policy[y]], advantages: [advantages[y]],
          sampler: sampler.map { [$0[y]] } ?? [], weight: exp(weights[y]))
      }
      return try Self.result(.reinforce, rows, Self.settings(.truncate)).logProbabilities.map {
        $0[0]
      }
    }
    let own = try gradient(weights: policy, sampler: nil)
    let corrected = try gradient(weights: sampler, sampler: sampler)
    let raw = try gradient(weights: sampler, sampler: nil)
    for (a, b) in zip(own, corrected) { #expect(abs(a - b) < 1e-12) }
    #expect(zip(own, raw).contains { abs($0 - $1) > 1e-3 })
  }

  @Test func `the gap of a sampler is a KL and a share`() throws {
    // Over all tokens in proportion to the sampler the estimate is the KL itself.
    let (policy, sampler) = ([0.5, 0.25, 0.25], [0.25, 0.25, 0.5])
    let tokens = [0, 1, 2, 2]
    let gap = try #require(
      SamplerGap(
        policy: [tokens.map { log(policy[$0]) }], sampler: [tokens.map { log(sampler[$0]) }]))
    let kl = zip(sampler, policy).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    #expect(abs(gap.klPerToken - kl) < 1e-12)
    let reverse = zip(policy, sampler).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    #expect(abs(gap.reverseKLPerToken - reverse) < 1e-12)
    // q = 2, 1, ½, ½: (Σq)² / (4·Σq²) = 16 / (4 · 5.5).
    #expect(abs(gap.effectiveShare - 16 / 22) < 1e-12)
    #expect(SamplerGap(policy: [[]], sampler: [[]]) == nil)
    let same = SamplerGap(policy: [[-1, -2]], sampler: [[-1, -2]])
    #expect(same?.klPerToken == 0 && same?.effectiveShare == 1)
  }

  @Test func `a cap below 1 and lists of other lengths are refused`() {
    let row = PolicyRow(new: [-1], old: [-1], advantages: [1], sampler: [-1, -2])
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.ppo.statistics(of: [row], settings: Self.settings(.truncate))
    }
    #expect(throws: ObjectiveError.self) {
      try PolicyLoss.ppo.statistics(of: [], settings: Self.settings(.mask, cap: 0.5))
    }
  }
}
