// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation

extension FeedbackStatistics {
  /// Annotators, and pairs of them, that are told of where there are more.
  private static let told = 20

  /// Annotators in the order in which they matter: those who stand out first, then those who gave most
  /// labels.
  private var byWeight: [(annotator: Annotator, remark: String?)] {
    annotators.map { (annotator: $0, remark: remark(on: $0)) }.sorted { first, second in
      let stands = (first.remark != nil ? 1 : 0, second.remark != nil ? 1 : 0)
      return (stands.1, second.annotator.labels, first.annotator.name)
        < (stands.0, first.annotator.labels, second.annotator.name)
    }
  }

  /// What stands out in an annotator's figures: gold that is surely worse than that of all together, or
  /// labels that say little of what others say.
  private func remark(on annotator: Annotator) -> String? {
    let known = annotators.filter { $0.gold.value != nil }
    let asked = known.reduce(0) { $0 + $1.gold.count }
    let mean = known.reduce(0) { $0 + ($1.gold.value ?? 0) * Double($1.gold.count) }
    if known.count > 1, annotator.gold.value != nil,
      annotator.gold.interval.high < mean / Double(asked)
    {
      return "below the others on gold"
    }
    if let kappa = annotator.kappa, kappa < 0.2, annotator.labels >= 20, annotators.count > 1 {
      return "agrees with others hardly more than by chance"
    }
    return nil
  }

  /// The figures for people.
  ///
  /// - Parameter all: Whether every annotator is told of, and not only the twenty that matter.
  public func text(all: Bool = false) -> String {
    var lines = [
      "\(comparisons) comparisons (\(pairs) pairs, \(items) items), \(thumbs) thumbs, "
        + "\(critiques) critiques"
    ]
    let ended = outcomes.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
    if !ended.isEmpty { lines.append("outcomes: " + ended.joined(separator: ", ")) }
    lines.append(
      "agreement between all: Fleiss' κ \(figure(fleissKappa)), "
        + "Krippendorff's α \(figure(krippendorffAlpha))")
    let pairsByItems = agreement.sorted {
      ($1.items, $0.annotators.joined()) < ($0.items, $1.annotators.joined())
    }
    for pair in all ? agreement : Array(pairsByItems.prefix(Self.told)) {
      lines.append(
        "  \(pair.annotators.joined(separator: " and ")): \(percent(pair.agreement)) of "
          + "\(pair.items) items, Cohen's κ \(figure(pair.kappa))")
    }
    if !all, agreement.count > Self.told {
      lines.append("  \(agreement.count - Self.told) further pairs of annotators: --all")
    }
    lines.append("shown first is preferred: \(share(firstPreferred))")
    lines.append("longer is preferred: \(share(longerPreferred))")
    let ordered = byWeight
    for (annotator, remark) in all ? ordered : Array(ordered.prefix(Self.told)) {
      var line =
        "\(annotator.name): \(annotator.labels) labels, "
        + "\(percent(annotator.undecided)) undecided, gold \(share(annotator.gold)), "
        + "κ with others \(figure(annotator.kappa))"
      if let seconds = annotator.medianSeconds {
        line += String(format: ", median %.1f s", seconds)
      }
      if annotator.hasty > 0 { line += ", \(annotator.hasty) in less than a second" }
      if let remark { line += " – \(remark)" }
      lines.append(line)
    }
    if !all, ordered.count > Self.told {
      let rest = ordered.dropFirst(Self.told)
      lines.append(
        "\(rest.count) further annotators with \(rest.reduce(0) { $0 + $1.annotator.labels }) labels: "
          + "--all")
    }
    if let need { lines.append(text(need)) }
    return lines.joined(separator: "\n")
  }

  private func text(_ need: Need) -> String {
    var line = "for an accuracy of \(percent(need.accuracy)): "
    if let labels = need.labels, let more = need.more {
      line += String(format: "about %.0f labels, %.0f more than here", labels, more)
    } else {
      line += "the learning curve does not say how many labels (give --curve of a run that learned)"
    }
    if let ceiling = need.ceiling {
      line += "; annotators agree with one another on \(percent(ceiling))"
    }
    return line
  }

  private func figure(_ value: Double?) -> String {
    value.map { String(format: "%.3f", $0) } ?? "unknown"
  }

  private func percent(_ value: Double) -> String { String(format: "%.1f %%", value * 100) }

  private func share(_ share: Share) -> String {
    guard let value = share.value else { return "unknown" }
    return percent(value)
      + String(
        format: " (%.1f to %.1f) of %d", share.interval.low * 100, share.interval.high * 100,
        share.count)
  }
}
