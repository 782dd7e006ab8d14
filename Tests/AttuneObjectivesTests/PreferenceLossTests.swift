// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct PreferenceLossTests {
  static func rows(
    for loss: PreferenceLoss, count: Int, scale: Double = 1, seed: UInt64 = 21
  ) -> [PreferenceRow] {
    var random = SplitMix(seed: seed)
    func number(_ range: ClosedRange<Double>) -> Double { Double.random(in: range, using: &random) }
    func response() -> ScoredResponse {
      let policy = number(-9 ... -3) * scale
      return ScoredResponse(
        policy: policy, reference: loss.needsReference ? policy + number(-3...3) * scale : nil,
        tokens: Int.random(in: 2...6, using: &random), promptPolicy: number(-9 ... -3),
        promptTokens: 3)
    }
    return (0..<count).map { i in
      PreferenceRow(
        chosen: response(), rejected: response(),
        probability: loss.readsSoftLabels && i % 3 == 1 ? 0.3 : 1,
        outcome: loss.readsSoftLabels && i % 5 == 4 ? .tie : .preferred,
        weight: loss.sortsBatch ? 1 : number(0.5...2))
    }
  }

  /// Variants of the knobs that a loss reads.
  static func settings(for loss: PreferenceLoss) -> [PreferenceSettings] {
    var plain = PreferenceSettings()
    if loss.reads.contains(.beta) { plain.beta = 0.4 }
    var all = [plain]
    var other = plain
    other.sftWeight = 0.7
    other.nllReduction = .token
    other.nllOver = .promptAndCompletion
    if loss.reads.contains(.smoothing) { other.smoothing = 0.2 }
    if loss.reads.contains(.ties) { other.ties = .half }
    if loss.reads.contains(.lambda) { other.lambda = 3 }
    all.append(other)
    if loss.reads.contains(.lengthNormalised) {
      all.append(plain)
      all[all.count - 1].lengthNormalised = true
    }
    if loss.reads.contains(.divergence) {
      for divergence in FDivergence.allCases where divergence != .reverseKL {
        all.append(plain)
        all[all.count - 1].divergence = divergence
      }
    }
    return all
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `gradient agrees with central differences`(loss: PreferenceLoss) throws {
    let rows = Self.rows(for: loss, count: 7)
    for settings in Self.settings(for: loss) {
      let withPrompt = settings.nllOver == .promptAndCompletion
      let objective = try PreferenceObjective(loss, settings)
      func moved(_ point: [Double]) -> [PreferenceRow] {
        let width = withPrompt ? 3 : 2
        return rows.enumerated().map { i, row in
          var row = row
          row.chosen.policy = point[width * i]
          row.rejected.policy = point[width * i + 1]
          if withPrompt { row.chosen.promptPolicy = point[width * i + 2] }
          return row
        }
      }
      let point = rows.flatMap { row in
        [row.chosen.policy, row.rejected.policy] + (withPrompt ? [row.chosen.promptPolicy] : [])
      }
      let result = try objective.result(rows)
      try expectGradient(result.logProbabilities.flatMap { $0 }, at: point) { point in
        // What crosses rows is computed anew, as the optimiser step would.
        try objective.result(moved(point)).loss
      }
    }
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `any cut and order of a batch gives the same numbers`(loss: PreferenceLoss) throws {
    let rows = Self.rows(for: loss, count: 7)
    for settings in Self.settings(for: loss) {
      let objective = try PreferenceObjective(loss, settings)
      let statistics = try objective.statistics(of: rows)
      expectAnyCut { places in
        objective.loss(places.map { rows[$0] }, at: places, statistics: statistics)
      }
      let whole = objective.loss(rows, statistics: statistics)
      let again = try objective.result(Array(rows.reversed()))
      #expect(near(again.loss, whole.loss))
    }
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `is finite at log-ratios of ten thousand`(loss: PreferenceLoss) throws {
    for settings in Self.settings(for: loss) {
      var settings = settings
      if loss.reads.contains(.beta) { settings.beta = 1 }
      for (up, down) in [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)] {
        let row = PreferenceRow(
          chosen: ScoredResponse(policy: -2e4 + up, reference: -2e4, tokens: 1),
          rejected: ScoredResponse(policy: -2e4 + down, reference: -2e4, tokens: 3))
        let result = try PreferenceObjective(loss, settings).result([row])
        #expect(result.loss.isFinite)
        #expect(result.logProbabilities[0].allSatisfy { $0.isFinite })
      }
    }
  }

  /// The page's formulas, written once more without care for large numbers.
  private static func naive(
    _ loss: PreferenceLoss, _ c: ScoredResponse, _ r: ScoredResponse, beta: Double
  ) -> Double {
    func s(_ z: Double) -> Double { 1 / (1 + exp(-z)) }
    func l(_ z: Double) -> Double { -log(s(z)) }
    let (hc, hr) = (c.policy - (c.reference ?? 0), r.policy - (r.reference ?? 0))
    let (n, m) = (Double(c.tokens), Double(r.tokens))
    let delta = hc - hr
    let z = beta * delta
    switch loss {
    case .dpo: return l(z)
    case .hinge: return max(0, 1 - z)
    case .ipo: return pow(delta - 1 / (2 * beta), 2)
    case .robust: return (0.9 * l(z) - 0.1 * l(-z)) / 0.8
    case .exo:
      return s(z) * (log(s(z)) - log(1 - 1e-3)) + s(-z) * (log(s(-z)) - log(1e-3))
    case .nca: return l(beta * hc) + l(-beta * hc) / 2 + l(-beta * hr) / 2
    case .bcoPair: return l(beta * hc) + l(-beta * hr)
    case .sppo: return pow(hc - 0.5 / beta, 2) + pow(hr + 0.5 / beta, 2)
    case .aot, .aotUnpaired: return l(z)
    case .apoZero: return 1 - s(beta * hc) + s(beta * hr)
    case .apoDown: return s(beta * hc) + 1 - s(z)
    case .discopop: return l(z) * s(-z / 0.05) + exp(-z + log(s(z / 0.05)))
    case .dpop: return l(beta * (delta - 50 * max(0, -hc)))
    case .dpoNormalised: return l(beta * (hc / n - hr / m))
    case .rdpo: return l(z + 0.01 * (n - m))
    case .simpo: return l(beta * (c.policy / n - r.policy / m) - 1)
    case .orpo:
      func odds(_ a: Double) -> Double { log(exp(a) / (1 - exp(a))) }
      return -c.policy / n + 0.1 * l(odds(c.policy / n) - odds(r.policy / m))
    case .cpo: return l(beta * (c.policy - r.policy)) - c.policy / n
    }
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `agrees with the formula and explains itself`(loss: PreferenceLoss) throws {
    #expect(!loss.summary.isEmpty && !loss.formula.isEmpty && !loss.paper.isEmpty)
    var settings = PreferenceSettings()
    let beta = loss == .dpop ? 0.01 : 0.4
    if loss.reads.contains(.beta) { settings.beta = beta }
    for row in Self.rows(for: loss, count: 6) where row.outcome == .preferred {
      var row = row
      row.probability = 1
      row.weight = 1
      let result = try PreferenceObjective(loss, settings).result([row])
      let expected = Self.naive(loss, row.chosen, row.rejected, beta: beta)
      #expect(near(result.loss, expected, 1e-10), "\(result.loss), not \(expected)")
      guard loss.readsSoftLabels, loss != .cpo else { continue }
      row.probability = 0.3
      let soft = try PreferenceObjective(loss, settings).result([row])
      let other = Self.naive(loss, row.rejected, row.chosen, beta: beta)
      #expect(near(soft.loss, 0.3 * expected + 0.7 * other, 1e-10))
    }
  }

  @Test(arguments: [PreferenceLoss.aot, .aotUnpaired])
  func `sorts the batch`(loss: PreferenceLoss) throws {
    let rows = Self.rows(for: loss, count: 5)
    let result = try PreferenceObjective(loss).result(rows)
    func ratio(_ r: ScoredResponse) -> Double { r.policy - (r.reference ?? 0) }
    let (above, below) =
      loss == .aot
      ? (
        rows.map { $0.chosen.policy - $0.rejected.policy },
        rows.map { ($0.chosen.reference ?? 0) - ($0.rejected.reference ?? 0) }
      ) : (rows.map { ratio($0.chosen) }, rows.map { ratio($0.rejected) })
    let expected = zip(above.sorted(), below.sorted()).map { softplus(-0.1 * ($0 - $1)) }
    #expect(near(result.loss, Statistics.mean(expected)))
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `refuses what it cannot read`(loss: PreferenceLoss) throws {
    let good = ScoredResponse(policy: -3, reference: -3, tokens: 2)
    for knob in [
      (PreferenceSettings.Knob.lengthNormalised, { $0.lengthNormalised = true }),
      (.gamma, { $0.gamma = 2 }), (.tau, { $0.tau = 1 }), (.smoothing, { $0.smoothing = 0.1 }),
      (.divergence, { $0.divergence = .forwardKL }), (.beta, { $0.beta = 0.5 }),
      (.harden, { $0.harden = true }), (.ties, { $0.ties = .half }),
    ] as [(PreferenceSettings.Knob, (inout PreferenceSettings) -> Void)] {
      var settings = PreferenceSettings()
      knob.1(&settings)
      let row = PreferenceRow(chosen: good, rejected: good)
      if loss.reads.contains(knob.0) {
        _ = try PreferenceObjective(loss, settings).result([row])
      } else {
        #expect(throws: ObjectiveError.self) { try PreferenceObjective(loss, settings) }
      }
    }
    let objective = try PreferenceObjective(loss)
    let empty = ScoredResponse(policy: 0, reference: 0, tokens: 0)
    #expect(throws: ObjectiveError.self) {
      try objective.statistics(of: [PreferenceRow(chosen: good, rejected: empty)])
    }
    let alone = ScoredResponse(policy: -3, tokens: 2)
    let withoutReference = PreferenceRow(chosen: alone, rejected: alone)
    let soft = PreferenceRow(chosen: good, rejected: good, probability: 0.2)
    if loss.needsReference {
      #expect(throws: ObjectiveError.self) { try objective.statistics(of: [withoutReference]) }
    } else {
      _ = try objective.statistics(of: [withoutReference])
    }
    if !loss.readsSoftLabels {
      #expect(throws: ObjectiveError.self) { try objective.statistics(of: [soft]) }
    }
  }

  @Test(arguments: PreferenceLoss.allCases)
  func `a label alone is judged as in a batch`(loss: PreferenceLoss) throws {
    let good = ScoredResponse(policy: -3, reference: -3, tokens: 2)
    for ties in [RewardSettings.Ties.skip, .half] {
      for harden in [false, true] {
        var settings = PreferenceSettings()
        if loss.reads.contains(.ties) { settings.ties = ties }
        if loss.reads.contains(.harden) { settings.harden = harden }
        let objective = try PreferenceObjective(loss, settings)
        for label in [
          PreferenceLabel(), .init(probability: 0.2), .init(probability: 0.5),
          .init(probability: 1.5), .init(outcome: .tie),
        ] where !loss.sortsBatch || label.outcome == .preferred {
          let row = PreferenceRow(
            chosen: good, rejected: good, probability: label.probability, outcome: label.outcome)
          let learned = (try? objective.statistics(of: [row])).map { $0.rows > 0 }
          let checked = try? objective.check(label: label)
          #expect(checked == learned)
        }
      }
    }
  }

  @Test func `a hardened soft label is the plain label`() throws {
    let a = ScoredResponse(policy: -3, reference: -4, tokens: 2)
    let b = ScoredResponse(policy: -6, reference: -5, tokens: 4)
    var harden = PreferenceSettings()
    harden.harden = true
    let soft = PreferenceRow(chosen: a, rejected: b, probability: 0.2)
    let plain = PreferenceRow(chosen: b, rejected: a)
    let loss = PreferenceLoss.sppo
    let first = try PreferenceObjective(loss, harden).result([soft])
    let second = try PreferenceObjective(loss).result([plain])
    #expect(near(first.loss, second.loss))
    #expect(first.logProbabilities[0] == second.logProbabilities[0].reversed())
    #expect(first.metrics[.accuracy] == 0)
  }

  @Test func `a side beyond the bound of an exponential is counted`() throws {
    var settings = PreferenceSettings()
    settings.divergence = .forwardKL
    let row = PreferenceRow(
      chosen: ScoredResponse(policy: -30, reference: -3, tokens: 1),
      rejected: ScoredResponse(policy: -3, reference: -3, tokens: 1))
    let result = try PreferenceObjective(.dpo, settings).result([row])
    #expect(result.metrics[.saturated] == 1)
  }
}

extension PreferenceObjective {
  /// The loss of a whole batch.
  func result(_ rows: [PreferenceRow]) throws -> LossResult {
    loss(rows, statistics: try statistics(of: rows))
  }
}
