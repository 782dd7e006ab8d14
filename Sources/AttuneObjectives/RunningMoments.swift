// SPDX-License-Identifier: Apache-2.0

/// Mean and variance of a stream of numbers, kept exactly (Welford 1962, Chan et al. 1979).
///
/// Used to normalise rewards: by what was seen on samples of the start, or along the run.
public struct RunningMoments: Codable, Sendable, Equatable {
  /// Sum of the weights so far: the count, if all are 1.
  public private(set) var weight = 0.0
  /// Mean so far; 0 of nothing.
  public private(set) var mean = 0.0
  private var squares = 0.0

  /// Nothing seen.
  public init() {}

  /// The moments of some numbers.
  public init(_ values: some Sequence<Double>) {
    for value in values { add(value) }
  }

  /// Adds a number.
  public mutating func add(_ value: Double, weight w: Double = 1) {
    guard w > 0 else { return }
    weight += w
    let distance = value - mean
    mean += distance * w / weight
    squares += w * distance * (value - mean)
  }

  /// Variance of the population (divided by n); 0 of nothing.
  public var variance: Double { weight > 0 ? squares / weight : 0 }

  /// Standard deviation of the population; 0 of nothing.
  public var standardDeviation: Double { variance.squareRoot() }
}
