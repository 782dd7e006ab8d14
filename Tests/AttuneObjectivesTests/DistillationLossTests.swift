// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Foundation
import Testing

struct DistillationLossTests {
  private static func logs(_ logits: [Double]) -> [Double] {
    let total = log(logits.reduce(0) { $0 + exp($1) })
    return logits.map { $0 - total }
  }

  private static let z = [0.3, -1.2, 2.0, 0.7]
  private static let q = logs([-0.4, 1.1, 0.2, 0.5])

  private static func plain(_ z: [Double], mix: Double) -> Double {
    let p = logs(z)
    func kl(_ a: [Double], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    }
    let m = zip(p, q).map { log(mix * exp($1) + (1 - mix) * exp($0)) }
    return mix == 0 ? kl(q, p) : mix == 1 ? kl(p, q) : mix * kl(q, m) + (1 - mix) * kl(p, m)
  }

  @Test(arguments: [0, 0.1, 0.5, 0.9, 1])
  func `the divergence is the plain formula's, and so is its gradient`(mix: Double) {
    let (value, gradient) = DistillationLoss.divergence(
      policy: Self.logs(Self.z), teacher: Self.q, mix: mix)
    #expect(abs(value - Self.plain(Self.z, mix: mix)) < 1e-12)
    for i in Self.z.indices {
      var (up, down) = (Self.z, Self.z)
      up[i] += 1e-5
      down[i] -= 1e-5
      let slope = (Self.plain(up, mix: mix) - Self.plain(down, mix: mix)) / 2e-5
      #expect(abs(gradient[i] - slope) < 1e-8)
    }
    let zero = DistillationLoss.divergence(policy: Self.q, teacher: Self.q, mix: mix)
    #expect(abs(zero.value) < 1e-15 && zero.gradient.allSatisfy { abs($0) < 1e-15 })
  }

  @Test func `its ends are the limits over the weight`() {
    func value(_ mix: Double) -> Double {
      DistillationLoss.divergence(policy: Self.logs(Self.z), teacher: Self.q, mix: mix).value
    }
    #expect(abs(value(1e-6) / 1e-6 - value(0)) < 1e-4)
    #expect(abs(value(1 - 1e-6) / 1e-6 - value(1)) < 1e-4)
  }

  @Test func `any cut of a batch gives the same loss`() {
    let (all, ones) = ([[0.4, 0.1], [0.2], [0.9, 0.3, 0.5]], [[1.0, 1], [1], [1, 1, 1]])
    let statistics = TokenLoss.statistics(weights: ones)
    let whole = DistillationLoss.loss(divergences: all, weights: ones, statistics: statistics)
    var (sum, totals) = (0.0, MetricTotals())
    for i in all.indices {
      let part = DistillationLoss.loss(
        divergences: [all[i]], weights: [ones[i]], statistics: statistics)
      sum += part.loss
      totals.merge(part.metrics)
    }
    #expect(abs(whole.loss - 0.4) < 1e-12 && abs(sum - whole.loss) < 1e-12)
    #expect(abs((totals[.distillationLoss] ?? 0) - 0.4) < 1e-12)
  }

  /// The policy gradient of sampled tokens against that of the divergences that it stands for, over all
  /// answers.
  @Test(arguments: [(1.0, 1.0), (1.0, 2.0), (0.0, 1.0)])
  func `advantages of sampled tokens are the gradient of KL`(discount: Double, beta: Double) {
    let (policy, teacher) = (TabularPolicy(seed: 5), TabularPolicy(seed: 6))
    let reference = TabularPolicy(seed: 7)
    let (old, t, r) = (
      policy.tokenLogProbabilities, teacher.tokenLogProbabilities,
      reference.tokenLogProbabilities
    )
    let p = policy.probabilities
    let slopes = policy.gradient(
      p.indices.map { i in
        Advantage.distillation(
          old: old[i], reference: r[i], teacher: t[i], beta: beta, discount: discount
        ).map { -p[i] * $0 }
      })
    /// E[−log T/ρ] + β·KL(π ‖ ρ); of single tokens their KL from the teacher where answers stay the old
    /// policy's.
    func objective(_ policy: TabularPolicy) -> Double {
      if discount == 0 {
        return zip(TabularPolicy.sequences, p).reduce(0) { sum, item in
          item.0.indices.reduce(sum) { sum, place in
            let state = TabularPolicy.state(item.0[..<place])
            // Each state once a sequence that goes through it.
            return sum
              + item.1
              * DistillationLoss.divergence(
                policy: policy.distribution(state).map { log($0) },
                teacher: teacher.distribution(state).map { log($0) }, mix: 1
              ).value
          }
        }
      }
      let (q, tp, rp) = (policy.probabilities, teacher.probabilities, reference.probabilities)
      return q.indices.reduce(0) {
        $0 + q[$1] * (beta * log(q[$1] / rp[$1]) - log(tp[$1] / rp[$1]))
      }
    }
    for i in policy.logits.indices {
      var (up, down) = (policy, policy)
      up.logits[i] += 1e-5
      down.logits[i] -= 1e-5
      #expect(abs(slopes[i] - (objective(up) - objective(down)) / 2e-5) < 1e-8)
    }
  }

  @Test func `at the teacher every advantage is 0`() {
    let logs = [-0.3, -1.7, -0.2]
    for discount in [0.0, 0.5, 1] {
      #expect(
        Advantage.distillation(
          old: logs, reference: [-1, -1, -1], teacher: logs, beta: 1, discount: discount
        ) == [0, 0, 0])
    }
  }

  @Test func `the power of a teacher is refused where it can't be normalised`() throws {
    let (reference, teacher) = ([0.5, 0.5, 0], [0.2, 0.3, 0.5])
    let error = #expect(throws: ObjectiveError.self) {
      try DistillationLoss.optimum(reference: reference, teacher: teacher, beta: 0.5)
    }
    #expect(error?.message.contains("beta 0.5 is below 1") == true)
    #expect(
      try DistillationLoss.optimum(reference: reference, teacher: teacher, beta: 1) == teacher)
    // Between both nothing is said that the reference never says.
    let between = try DistillationLoss.optimum(reference: reference, teacher: teacher, beta: 2)
    #expect(between[2] == 0 && abs(between[0] / between[1] - (0.2 / 0.3).squareRoot()) < 1e-12)
    #expect(throws: ObjectiveError.self) {
      try DistillationLoss.optimum(reference: [1, 0], teacher: [0, 1], beta: 2)
    }
  }
}
