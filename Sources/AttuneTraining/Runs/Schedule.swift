// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How the learning rate falls after its warm-up.
public enum Decay: String, Codable, Sendable, CaseIterable {
  /// In a straight line to 0.
  case linear
  /// Along half a cosine to 0.
  case cosine
  /// Not at all.
  case constant
}

/// The learning rate of every optimiser step: a straight rise from 0, then a decay.
public struct Schedule: Sendable, Equatable {
  /// The highest rate.
  public var peak: Double
  /// How it falls.
  public var decay: Decay
  /// Steps over which it rises; the first step has `peak / warmupSteps`.
  public var warmupSteps: Int
  /// Steps in all; the rate would be 0 at the step after the last.
  public var totalSteps: Int

  /// Makes a schedule.
  ///
  /// - Parameters:
  ///   - peak: The highest rate.
  ///   - decay: How it falls.
  ///   - warmupSteps: Steps over which it rises.
  ///   - totalSteps: Steps in all.
  public init(peak: Double, decay: Decay, warmupSteps: Int, totalSteps: Int) {
    self.peak = peak
    self.decay = decay
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  /// The rate of a step, counted from 0.
  public func rate(_ step: Int) -> Double {
    if step < warmupSteps { return peak * Double(step + 1) / Double(warmupSteps) }
    let span = max(1, totalSteps - warmupSteps)
    let done = min(1, Double(step - warmupSteps) / Double(span))
    switch decay {
    case .constant: return peak
    case .linear: return peak * (1 - done)
    case .cosine: return peak * 0.5 * (1 + cos(Double.pi * done))
    }
  }
}
