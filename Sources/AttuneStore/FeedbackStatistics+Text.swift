// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import Foundation

extension FeedbackStatistics {
  /// The figures for people.
  public var text: String {
    var lines = [
      "\(comparisons) comparisons (\(pairs) pairs, \(items) items), \(thumbs) thumbs, "
        + "\(critiques) critiques"
    ]
    let ended = outcomes.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
    if !ended.isEmpty { lines.append("outcomes: " + ended.joined(separator: ", ")) }
    lines.append(
      "agreement between all: Fleiss' κ \(figure(fleissKappa)), "
        + "Krippendorff's α \(figure(krippendorffAlpha))")
    for pair in agreement {
      lines.append(
        "  \(pair.annotators.joined(separator: " and ")): \(percent(pair.agreement)) of "
          + "\(pair.items) items, Cohen's κ \(figure(pair.kappa))")
    }
    lines.append("shown first is preferred: \(share(firstPreferred))")
    lines.append("longer is preferred: \(share(longerPreferred))")
    for annotator in annotators {
      var line =
        "\(annotator.name): \(annotator.labels) labels, "
        + "\(percent(annotator.undecided)) undecided, gold \(share(annotator.gold)), "
        + "κ with others \(figure(annotator.kappa))"
      if let seconds = annotator.medianSeconds {
        line += String(format: ", median %.1f s", seconds)
      }
      lines.append(line)
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
