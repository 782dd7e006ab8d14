// SPDX-License-Identifier: Apache-2.0

import AttuneTraining

extension JudgeBias {
  /// One line for people.
  package var words: String {
    var text =
      "the answer shown first gets \(readable(position >= 0 ? position : -position)) "
      + "\(position >= 0 ? "more" : "less") than half, the order decides "
      + readablePercent(flips)
    if let longerPreferred {
      text += ", the longer answer wins \(readablePercent(longerPreferred))"
    }
    return text
  }
}

extension JudgeReport {
  /// What a person wants to see.
  public var summary: String {
    var lines: [String] = []
    if let output {
      lines.append(
        "\(output): \(rows) rows by \(judge), \(ties) ties, \(unanswered) left out without a valid "
          + "answer")
    }
    if let bias { lines.append("  \(bias.words)") }
    if let letterMass = letterMass ?? check?.letterMass {
      lines.append("  the letters hold \(readablePercent(letterMass)) of the judge's probability")
    }
    if let check {
      lines.append(
        "\(check.data): the judge agrees with people on \(readablePercent(check.accuracy)) "
          + "[\(readablePercent(check.accuracyInterval.low)), "
          + "\(readablePercent(check.accuracyInterval.high))] of \(check.pairs) pairs, κ "
          + "\(readable(check.kappa)), calibration error \(readable(check.ece)) at confidence "
          + readable(check.confidence))
      lines.append("  \(check.bias.words)")
      if let longer = check.peopleLonger {
        lines.append("  people prefer the longer answer in \(readablePercent(longer))")
      }
      if check.unanswered > 0 {
        lines.append("  \(check.unanswered) pairs without a valid answer are left out")
      }
    }
    if let unread { lines.append("  an answer that could not be read: \(unread)") }
    lines.append("questions: \(asked) asked, \(remembered) answered before")
    return lines.joined(separator: "\n")
  }
}
