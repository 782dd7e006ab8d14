// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation
import Testing

/// Methods that learn from answers of an earlier policy, on a policy whose optimum is known.
struct StalenessTests {
  typealias Method = ExactnessSuite.StaleMethod

  static let methods = ExactnessSuite.staleMethods
  static func method(_ title: String) throws -> Method {
    try #require(methods.first { $0.title == title })
  }

  /// Z is that of the two answers at hand.
  static let estimated = "gdc++, Z of two answers"
  static let climbers = ["rloo", "ppo"]
  static let weights = SamplerCorrection.Form.allCases.map { "importance_weights \($0.rawValue)" }

  @Test func `there is every method, and every form of weights`() {
    #expect(Set(Self.methods.map(\.title)).count == Self.methods.count)
    let matching = Set(Self.methods.filter { $0.family == .matching }.map(\.name))
    #expect(matching == Set(DistributionLoss.allCases.map(\.rawValue)))
    for name in Self.climbers + ["grpo"] {
      #expect(
        Self.methods.filter { $0.name == name }.map(\.variant) == Self.weights + ["clipped ratio"])
    }
  }

  @Test(arguments: methods.filter { $0.family == .matching }.map(\.title), [0, 1, 4, 8])
  func `what matches a distribution reaches it however far behind its proposal is`(
    title: String, behind: Int
  ) throws {
    let run = try Self.method(title).run(behind: behind, seed: 1)
    #expect(run.initial > 0.05 && run.passes, "\(title), \(behind) behind: \(run.distance)")
  }

  @Test(arguments: methods.filter { $0.family == .matching && $0.title != estimated }.map(\.title))
  func `and where the proposal is never renewed`(title: String) throws {
    let run = try Self.method(title).run(behind: ExactnessSuite.never, seed: 1)
    // Pairs of the start, which is far from the target, say little: `brain` takes more steps.
    #expect(title == "brain" ? run.distance < 5e-3 : run.passes, "\(title): \(run.distance)")
  }

  @Test func `with the weights of single answers the expected update knows no proposal`() throws {
    // Ratios of 16 among tokens, far above what policy losses cut weights at.
    let (policy, far) = (TabularPolicy(seed: 31), TabularPolicy(seed: 32, scale: 4))
    for method in Self.methods
    where method.family == .matching && method.name != "brain" && method.title != Self.estimated {
      let own = try method.update(policy, by: policy, seed: 1)
      let other = try method.update(policy, by: far, seed: 1)
      let size = own.map(abs).max() ?? 0
      #expect(size > 1e-3, "\(method.title)")
      #expect(zip(own, other).allSatisfy { abs($0 - $1) < 1e-11 * size }, "\(method.title)")
    }
  }

  /// What the end rests on: at π* all answers are worth the same, log Z, whoever drew them.
  @Test func `π* is left by those alone that read the proposal as something else`() throws {
    let far = TabularPolicy(seed: 32)
    for seed in ExactnessSuite.seeds {
      let optimum = ExactnessSuite.optimum(seed: seed)
      // The pseudo-reward of total variation is a sign, which is that of rounding there.
      for method in Self.methods where method.variant != TargetDivergence.totalVariation.rawValue {
        let size = try method.update(optimum, by: far, seed: seed).map(abs).max() ?? .nan
        let stays =
          switch method.family {
          case .matching: method.title != Self.estimated
          case .climbing:
            Self.climbers.contains(method.name) && method.variant != "clipped ratio"
          case .chosen: false
          }
        // Whitening divides rounding by 1e-8.
        let bound = method.name == "ppo" ? 1e-6 : 1e-10
        if stays {
          #expect(size < bound, "\(method.title) leaves π*: \(size)")
        } else {
          #expect(size > 1e-3, "\(method.title) stays at π*: \(size)")
        }
      }
    }
  }

  @Test(arguments: climbers, weights)
  func `a reward with the trainer's own KL in it leads to π* from stale answers`(
    name: String, variant: String
  ) throws {
    let method = try Self.method("\(name), \(variant)")
    for behind in [0, 1, 4, 8] {
      for seed in ExactnessSuite.seeds {
        let run = try method.run(behind: behind, seed: seed)
        #expect(run.distance < 2e-3, "\(method.title), \(behind) behind: \(run.distance)")
      }
    }
    // Of the start alone: what a mask leaves out is never learned, small weights learn slowly.
    let distance = try method.run(behind: ExactnessSuite.never, seed: 1).distance
    switch variant {
    case "importance_weights none": #expect(distance < 1e-3, "\(distance)")
    case "importance_weights truncate": #expect(distance < 0.05, "\(distance)")
    default: #expect(distance > 0.1, "\(distance)")
    }
  }

  @Test func `with the old policy's KL in the reward the end drifts with staleness`() throws {
    let method = try Self.method("ppo, clipped ratio")
    let distances = try [0, 2, 8, ExactnessSuite.never].map {
      try method.run(behind: $0, seed: 1).distance
    }
    #expect(distances[0] < 1e-4 && distances[1] > 1e-3, "\(distances)")
    #expect(distances[2] > 5e-3 && distances[2] < 0.1 && distances[3] > 0.5, "\(distances)")
  }

  @Test func `grpo ends where it ends on its own answers, which is not π*`() throws {
    for variant in Self.weights {
      let method = try Self.method("grpo, \(variant)")
      let (own, stale) = (try method.run(behind: 0, seed: 1), try method.run(behind: 8, seed: 1))
      #expect(TabularPolicy.distance(own.end, stale.end) < 5e-3, "\(variant)")
      #expect(stale.distance > 0.2, "\(variant)")
      let start = try method.run(behind: ExactnessSuite.never, seed: 1)
      #expect(TabularPolicy.distance(own.end, start.end) > 0.1, "\(variant)")
    }
  }

  @Test func `the target of raft is the best of what its proposal draws`() throws {
    let method = try Self.method("raft, best of two")
    // Of one proposal it is the best of two of that, exactly; of its own answers, the best of the
    // best of the best: all mass goes to one answer, π* or not.
    let once = try method.run(behind: ExactnessSuite.never, seed: 1)
    #expect(once.passes && once.initial > 0.05 && (once.end.max() ?? 1) < 0.9, "\(once.distance)")
    for behind in [0, 8] {
      let run = try method.run(behind: behind, seed: 1)
      #expect((run.end.max() ?? 0) > 0.99 && (run.fromOptimum ?? 0) > 0.5)
    }
    #expect((once.fromOptimum ?? 0) > 0.1)
  }
}
