// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneRewards
import AttuneTraining
import Foundation

extension FrontierReport {
  /// Every point as a row, the start and best of n among them.
  var table: TextTable {
    var table = TextTable(columns: [
      "method", "β", "gold", "learned", "KL", "wins", "ended", "tokens", "self-BLEU", "distinct",
      "entropy", "s", "MB",
    ])
    func row(_ name: String, _ beta: String, _ model: EvaluationReport.Model) -> [String] {
      let figures = [gold, "model:reward"].map { readable(model.rewards[$0]?.mean) }
      let diversity = model.diversity
      return [name, beta] + figures
        + [
          readable(model.kl), "", readablePercent(model.completed),
          readable(model.length, digits: 1), readable(diversity.selfBLEU, digits: 3),
          readable(diversity.distinctAnswers), readable(diversity.entropy), "", "",
        ]
    }
    var first = row("start", "", start)
    // Of all its answers, not of as many as a policy gives.
    if let all = bestOfN.first, all.n == 1 {
      (first[2], first[3]) = (readable(all.gold.mean), readable(all.learned.mean))
    }
    table.rows.append(first)
    for best in bestOfN where best.n > 1 {
      table.rows.append(
        ["best of \(best.n)", "", readable(best.gold.mean), readable(best.learned.mean)]
          + ["≤ \(readable(best.kl))"] + Array(repeating: "", count: 8))
    }
    for point in points {
      let beta = point.beta.map { "\($0)" } ?? "–"
      guard let found = point.found else {
        table.rows.append([point.method, beta, "failed"] + Array(repeating: "", count: 10))
        continue
      }
      var cells = row(point.method, beta, found.facts)
      cells[5] = readablePercent(found.winRate.mean)
      cells[11] = readable(found.seconds, digits: 0)
      cells[12] = readable(found.peakMemory, digits: 0)
      if point.isUndominated { cells[0] += " *" }
      table.rows.append(cells)
    }
    return table
  }

  /// The policy of the highest gold reward; nil where there is none.
  var winner: Point? {
    points.filter { $0.found != nil }
      .max { ($0.found?.gold.mean ?? 0) < ($1.found?.gold.mean ?? 0) }
  }

  /// What every method may use, in a sentence.
  var budgetText: String {
    var text =
      "Every method that samples may sample \(budget.answers) answers of \(budget.maxTokens) tokens at "
      + "most (\(budget.rollouts) rollouts of \(budget.answersPerRollout); dapo counts its draws "
      + "beside)"
    if let pairs = budget.pairs {
      text +=
        "; dpo and kto read \(pairs) pairs of \(budget.collectedAnswers) answers of the start, which "
        + "no one else reads"
    }
    return text + "."
  }

  /// The table with what it means, for a terminal.
  public var text: String {
    var out = table.text
    out +=
      "* no other policy has more gold reward at less KL. KL in nats an answer, gold by \(gold), "
      + "\(prompts) held-out prompts, \(samplesPerPrompt) answers each.\n\(budgetText)\n"
    if let winner, let found = winner.found {
      out +=
        "Most gold: \(winner.name), "
        + "\(readable(found.gold.mean)) [\(readable(found.gold.interval.low)), "
        + "\(readable(found.gold.interval.high))] at \(readable(found.facts.kl, digits: 1)) nats in "
        + "\(readableSeconds(found.seconds)).\n"
    }
    for point in points {
      if let failure = point.failure { out += "\(point.method) failed: \(failure)\n" }
    }
    return out
  }

  /// Writes `frontier.json` and `frontier.html` into a folder.
  ///
  /// - Throws: `FileError` if they can't be written.
  func write(to folder: URL) throws {
    try AtomicFile.write(try JSONText.pretty(self), to: folder.appending(path: "frontier.json"))
    try AtomicFile.write(html, to: folder.appending(path: "frontier.html"))
  }
}
