// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// How far annotators agree beyond chance, on nominal labels. Every figure is 1 for full agreement
/// and 0 for what chance gives; nil where nothing can be said: no item with two labels, or one and
/// the same label everywhere, so that chance agrees always.
public enum Agreement {
  /// Cohen's κ of two annotators (Cohen 1960): (p_o − p_e)/(1 − p_e), p_e = Σ_k p₁(k)·p₂(k).
  ///
  /// - Parameter labels: The label of each of the two for every item that both labelled.
  public static func cohen<Label: Hashable & SendableMetatype>(_ labels: [(Label, Label)])
    -> Double?
  {
    guard !labels.isEmpty else { return nil }
    let n = Double(labels.count)
    let observed = Double(labels.count { $0.0 == $0.1 }) / n
    let first = counts(labels.map(\.0))
    let second = counts(labels.map(\.1))
    let chance = first.reduce(0.0) { $0 + Double($1.value * (second[$1.key] ?? 0)) } / (n * n)
    return beyond(observed, chance)
  }

  /// Fleiss' κ (Fleiss 1971): mean over items of the share of agreeing pairs of labels, against
  /// Σ_k p(k)².
  ///
  /// Differs from the paper: items may have different numbers of labels, at least two; p(k) is the
  /// share of label k among all of them. With the same number everywhere it is the paper's.
  ///
  /// - Parameter items: The labels of each item, by whoever labelled it.
  public static func fleiss<Label: Hashable & SendableMetatype>(_ items: [[Label]]) -> Double? {
    let items = items.filter { $0.count > 1 }
    guard !items.isEmpty else { return nil }
    let observed = Statistics.mean(items.map(agreeingPairs))
    let all = counts(items.flatMap { $0 })
    let total = Double(all.values.reduce(0, +))
    return beyond(
      observed, all.values.reduce(0.0) { $0 + (Double($1) / total) * (Double($1) / total) })
  }

  /// Krippendorff's α for nominal labels (Krippendorff 2004, chapter 11): 1 − D_o/D_e over pairs of
  /// labels of the same item, an item with m labels weighing m. Labels may be missing.
  ///
  /// - Parameter items: The labels of each item, by whoever labelled it.
  public static func krippendorff<Label: Hashable & SendableMetatype>(_ items: [[Label]]) -> Double?
  {
    let items = items.filter { $0.count > 1 }
    let all = counts(items.flatMap { $0 })
    let total = Double(all.values.reduce(0, +))
    guard total > 1 else { return nil }
    let agreed = items.reduce(0.0) { $0 + agreeingPairs($1) * Double($1.count) } / total
    let chance =
      all.values.reduce(0.0) { $0 + Double($1) * Double($1 - 1) } / (total * (total - 1))
    return beyond(agreed, chance)
  }

  /// The share of pairs of labels of an item that are the same.
  package static func agreeingPairs<Label: Hashable & SendableMetatype>(_ labels: [Label]) -> Double
  {
    let n = Double(labels.count)
    return counts(labels).values.reduce(0.0) { $0 + Double($1 * ($1 - 1)) } / (n * (n - 1))
  }

  private static func beyond(_ observed: Double, _ chance: Double) -> Double? {
    chance < 1 ? (observed - chance) / (1 - chance) : nil
  }

  private static func counts<Label: Hashable & SendableMetatype>(_ labels: [Label]) -> [Label: Int]
  {
    labels.reduce(into: [:]) { $0[$1, default: 0] += 1 }
  }
}

/// How accuracy grows with labels: error(n) = a·n^(−b), a straight line in logarithms (Cortes et
/// al. 1994, "Learning curves: asymptotic values and rate of convergence", without the asymptote).
public struct LearningCurve: Sendable, Equatable {
  /// a: the error that one label would leave.
  public var scale: Double
  /// b: how fast the error falls.
  public var rate: Double

  /// Fits a curve by least squares in logarithms; nil with fewer than two different numbers of
  /// labels, and where the error does not fall.
  ///
  /// - Parameter points: Numbers of labels and the accuracy after them; those of accuracy 1 say
  ///   nothing about the slope and are left out.
  public init?(_ points: [(labels: Double, accuracy: Double)]) {
    let rows = points.filter { $0.labels > 0 && $0.accuracy < 1 && $0.accuracy >= 0 }
      .map { (x: log($0.labels), y: log(1 - $0.accuracy)) }
    let x = Statistics.mean(rows.map(\.x))
    let y = Statistics.mean(rows.map(\.y))
    let spread = rows.reduce(0.0) { $0 + ($1.x - x) * ($1.x - x) }
    guard spread > 0 else { return nil }
    rate = -rows.reduce(0.0) { $0 + ($1.x - x) * ($1.y - y) } / spread
    guard rate > 1e-6 else { return nil }
    scale = exp(y + rate * x)
  }

  /// How many labels an accuracy is likely to need.
  public func labels(for accuracy: Double) -> Double {
    exp(log(scale / (1 - accuracy)) / rate)
  }
}
