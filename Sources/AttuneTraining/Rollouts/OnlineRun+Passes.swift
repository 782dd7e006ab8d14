// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

extension OnlineRun where Knobs: PassesOverRollouts {
  /// The optimiser steps of a rollout: one whose own pass gives the policy's numbers, or epochs of
  /// minibatches.
  ///
  /// - Parameters:
  ///   - sampled: The answers.
  ///   - loss: The policy loss.
  ///   - objective: Its knobs.
  ///   - advantagesReadPolicy: As in `onlyStep`.
  ///   - advantages: Gives the answers their advantages.
  /// - Returns: The rollout with the policy's numbers, and what was measured.
  func update(
    _ sampled: Rollout, _ loss: PolicyLoss, _ objective: PolicySettings,
    advantagesReadPolicy: Bool, advantages: (inout ScoredRollout) throws -> MetricTotals
  ) throws -> (rollout: ScoredRollout, totals: MetricTotals) {
    guard settings.isOnPolicy else {
      return try update(score(sampled), loss, objective, advantages: advantages)
    }
    return try onlyStep(
      sampled, order: minibatches(of: sampled.prompts.count, epoch: 0)[0], loss, objective,
      advantagesReadPolicy: advantagesReadPolicy, advantages: advantages)
  }

  /// The same in epochs of minibatches, of a rollout that is scored.
  func update(
    _ rollout: ScoredRollout, _ loss: PolicyLoss, _ objective: PolicySettings,
    advantages: (inout ScoredRollout) throws -> MetricTotals
  ) throws -> (rollout: ScoredRollout, totals: MetricTotals) {
    var rollout = rollout
    var totals = try advantages(&rollout)
    try passes(over: rollout, addingTo: &totals) { batch, isFirst, _ in
      try PolicyUpdate(
        batch: batch, loss: loss, objective: objective, temperature: settings.temperature,
        budget: settings.pieceTokens
      ).accumulate(rollout, policy: policy, checkingRatio: isFirst)
    }
    return (rollout, totals)
  }

  /// Epochs of minibatches over whole prompts, an optimiser step each.
  ///
  /// - Parameters:
  ///   - rollout: The rollout.
  ///   - totals: What was measured so far.
  ///   - accumulate: Adds the gradients of the answers to some prompts to the policy; is told whether
  ///     nothing was trained since the rollout was scored, and the learning rate of this step.
  func passes(
    over rollout: ScoredRollout, addingTo totals: inout MetricTotals,
    accumulate: (_ batch: [Int], _ isFirst: Bool, _ rate: Double) throws -> MetricTotals
  ) throws {
    for epoch in 0..<settings.epochs {
      let minibatches = minibatches(of: rollout.prompts.count, epoch: epoch)
      for (minibatch, batch) in minibatches.enumerated() {
        totals.merge(
          try step(epoch: epoch, minibatch: minibatch) {
            try accumulate(batch, epoch == 0 && minibatch == 0, $0)
          })
      }
    }
  }

  /// A rollout's prompts in an order of this epoch's own, in minibatches of as equal a size as can
  /// be; none is empty.
  private func minibatches(of prompts: Int, epoch: Int) -> [[Int]] {
    let shuffled = Shuffle.order(
      count: prompts, seed: settings.seed &+ UInt64(state.rollout) &* 0x9E37_79B9, epoch: epoch)
    let count = settings.minibatches
    let starts = (0...count).map { prompts * $0 / count }
    return zip(starts, starts.dropFirst()).map { Array(shuffled[$0..<$1]) }
      .filter { !$0.isEmpty }
  }
}
