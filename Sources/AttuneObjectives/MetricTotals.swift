// SPDX-License-Identifier: Apache-2.0

/// Metrics of a piece of a batch, in a form that adds up: the totals of all pieces give the numbers
/// of the batch, whatever the cut.
public struct MetricTotals: Sendable, Equatable, Codable {
  /// How the values of pieces become that of the batch.
  private enum Total: Sendable, Equatable, Codable {
    case sum(Double)
    case mean(total: Double, weight: Double)
    case maximum(Double)
    case explained(weight: Double, error: Double, error2: Double, target: Double, target2: Double)
  }

  /// One of several sources of a metric.
  private struct Source: Hashable, Sendable, Codable {
    var metric: Metric
    var name: String
  }

  private var totals: [Metric: Total] = [:]
  private var sources: [Source: Double] = [:]

  /// Nothing measured.
  public init() {}

  /// What pieces measured, added up.
  public init(merging pieces: some Sequence<MetricTotals>) {
    for piece in pieces { merge(piece) }
  }

  /// Adds to a metric that is a plain sum over pieces (a loss that is already divided by the
  /// batch's normaliser).
  public mutating func add(_ metric: Metric, _ value: Double) {
    merge(metric, .sum(value))
  }

  /// Adds to a metric that is a mean.
  ///
  /// - Parameters:
  ///   - metric: The metric.
  ///   - total: Weighted sum of what the mean is over.
  ///   - weight: Sum of the weights; the value of no weight is not reported.
  public mutating func addMean(_ metric: Metric, total: Double, weight: Double) {
    merge(metric, .mean(total: total, weight: weight))
  }

  /// Adds to a metric that is a maximum.
  public mutating func addMaximum(_ metric: Metric, _ value: Double) {
    merge(metric, .maximum(value))
  }

  /// Adds a value and the target that it should have had to a share of explained variance.
  public mutating func addExplained(
    _ metric: Metric, value: Double, target: Double, weight: Double = 1
  ) {
    let error = target - value
    merge(
      metric,
      .explained(
        weight: weight, error: weight * error, error2: weight * error * error,
        target: weight * target, target2: weight * target * target))
  }

  /// Adds to a metric of one of several sources, a plain sum over pieces.
  ///
  /// - Parameters:
  ///   - metric: The metric.
  ///   - value: The value.
  ///   - source: The source's name.
  public mutating func add(_ metric: Metric, _ value: Double, of source: String) {
    sources[Source(metric: metric, name: source), default: 0] += value
  }

  /// Adds the totals of another piece.
  ///
  /// A metric must be of one kind in both.
  public mutating func merge(_ other: MetricTotals) {
    for (metric, total) in other.totals { merge(metric, total) }
    for (source, value) in other.sources { sources[source, default: 0] += value }
  }

  /// The value over everything added; `nil` if nothing was, or if it has no value (no weight, a
  /// target without variance).
  public subscript(metric: Metric) -> Double? {
    switch totals[metric] {
    case nil: return nil
    case .sum(let value), .maximum(let value): return value
    case .mean(let total, let weight): return weight > 0 ? total / weight : nil
    case .explained(let n, let e, let e2, let t, let t2):
      guard n > 0 else { return nil }
      let variance = t2 / n - (t / n) * (t / n)
      guard variance > 1e-14 * max(1, t2 / n) else { return nil }
      return 1 - (e2 / n - (e / n) * (e / n)) / variance
    }
  }

  /// Every metric with its value, in the order of the documentation.
  public var values: [(metric: Metric, value: Double)] {
    totals.keys.sorted().compactMap { metric in
      self[metric].map { (metric: metric, value: $0) }
    }
  }

  /// Every number that `metrics.jsonl` holds, by its key there: `reward/mean`, and of several sources
  /// `reward/source_mean[labeller:concise]`.
  public var named: [(key: String, value: Double)] {
    let own = values.map { (key: $0.metric.rawValue, value: $0.value) }
    let ofSources = sources.sorted { ($0.key.metric, $0.key.name) < ($1.key.metric, $1.key.name) }
    return own + ofSources.map { ("\($0.key.metric.rawValue)[\($0.key.name)]", $0.value) }
  }

  private mutating func merge(_ metric: Metric, _ new: Total) {
    guard let old = totals[metric] else {
      totals[metric] = new
      return
    }
    switch (old, new) {
    case (.sum(let a), .sum(let b)): totals[metric] = .sum(a + b)
    case (.maximum(let a), .maximum(let b)): totals[metric] = .maximum(max(a, b))
    case (.mean(let a, let m), .mean(let b, let n)):
      totals[metric] = .mean(total: a + b, weight: m + n)
    case (
      .explained(let n, let e, let e2, let t, let t2),
      .explained(let m, let f, let f2, let u, let u2)
    ):
      totals[metric] = .explained(
        weight: n + m, error: e + f, error2: e2 + f2, target: t + u, target2: t2 + u2)
    default: preconditionFailure("metric \(metric.rawValue) is added in two ways")
    }
  }
}
