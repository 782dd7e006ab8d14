// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct OveroptimisationLawTests {
  /// R₀ + d·(α − γ·log d) at rising KL, with noise of a deviation.
  private static func points(
    _ count: Int, origin: Double = -0.4, alpha: Double = 0.9, gamma: Double = 0.5,
    noise: Double, seed: UInt64 = 1
  ) -> [(kl: Double, reward: Double)] {
    var random = SplitMix(seed: seed)
    return (0..<count).map { i in
      let d = 4 * Double(i) / Double(count - 1)
      // The sum of twelve uniform numbers: nearly normal, of deviation 1.
      let normal = (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random)
      }
      let reward = origin + (d > 0 ? d * (alpha - gamma * log(d)) : 0) + noise * normal
      return (d * d, reward)
    }
  }

  @Test func `without noise the law is found to the last digits`() throws {
    let law = try #require(OveroptimisationLaw.fit(Self.points(20, noise: 0)))
    #expect(abs(law.origin.value + 0.4) < 1e-9)
    #expect(abs(law.alpha.value - 0.9) < 1e-9 && abs(law.gamma.value - 0.5) < 1e-9)
    #expect(law.residual < 1e-9 && law.alpha.standardError < 1e-8)
    #expect(abs((law.explained ?? 0) - 1) < 1e-12 && law.points == 20)
    for (kl, reward) in Self.points(7, noise: 0) {
      #expect(abs(law.reward(atKL: kl) - reward) < 1e-9)
    }
    // The derivative α − γ − γ·log d is 0 there.
    let d = try #require(law.peakKL).squareRoot()
    #expect(abs(0.9 - 0.5 - 0.5 * log(d)) < 1e-7)
  }

  @Test func `with noise it is within its errors, as often as these say`() throws {
    var within = 0
    var deviations = 0.0
    for seed in 1...200 {
      let law = try #require(
        OveroptimisationLaw.fit(Self.points(48, noise: 0.2, seed: UInt64(seed))))
      if abs(law.alpha.value - 0.9) < 2 * law.alpha.standardError,
        abs(law.gamma.value - 0.5) < 2 * law.gamma.standardError
      {
        within += 1
      }
      deviations += law.residual / 200
    }
    // 95 % each, and the two go together.
    #expect(within > 176 && within < 200, "\(within)")
    #expect(abs(deviations - 0.2) < 0.01, "\(deviations)")
  }

  @Test func `what only rises has no peak`() throws {
    let law = try #require(OveroptimisationLaw.fit(Self.points(20, gamma: -0.1, noise: 0)))
    #expect(law.peakKL == nil && law.gamma.value < 0)
  }

  @Test func `too little says nothing`() {
    #expect(OveroptimisationLaw.fit([(0, 1), (1, 2), (2, 3)]) == nil)
    #expect(OveroptimisationLaw.fit(Array(repeating: (2, 1), count: 9)) == nil)
    #expect(OveroptimisationLaw.fit((0..<9).map { _ in (0, 1) }) == nil)
  }

  @Test func `an estimate of KL below zero counts as none`() throws {
    var points = Self.points(20, noise: 0)
    points[0].kl = -0.01
    let law = try #require(OveroptimisationLaw.fit(points))
    #expect(abs(law.alpha.value - 0.9) < 1e-9)
  }
}
