// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives

/// A confidence interval; in JSON the array `[low, high]`.
public struct Interval: Sendable, Equatable, Codable {
  /// Its lower end.
  public var low: Double
  /// Its upper end.
  public var high: Double

  /// Makes an interval.
  ///
  /// - Parameters:
  ///   - low: Its lower end.
  ///   - high: Its upper end.
  public init(_ low: Double, _ high: Double) {
    self.low = low
    self.high = high
  }

  /// The interval of a statistic.
  package init(_ interval: Statistics.Interval) { self.init(interval.low, interval.high) }

  /// The ends as an array holds them; nil unless there are two.
  package init?(_ ends: [Double]?) {
    guard let ends, ends.count == 2 else { return nil }
    self.init(ends[0], ends[1])
  }

  /// Reads `[low, high]`.
  public init(from decoder: any Decoder) throws {
    var values = try decoder.unkeyedContainer()
    low = try values.decode(Double.self)
    high = try values.decode(Double.self)
  }

  /// Writes `[low, high]`.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.unkeyedContainer()
    try values.encode(low)
    try values.encode(high)
  }
}
