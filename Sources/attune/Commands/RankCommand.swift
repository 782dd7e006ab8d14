// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStore
import Foundation

struct RankCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rank",
    abstract: "Rates models by comparisons of their answers (Bradley–Terry), with intervals.",
    discussion: """
      Rows name the models: "chosen_model" and "rejected_model" of a pair, or the "model" of each
      completion of a ranking. 400 points are odds of ten to one; the mean is 1000.

      Example: attune rank comparisons.jsonl
      """)

  @Argument(help: "A file of comparisons or rankings, or a store.", completion: .file())
  var file: String

  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let ranking = try ModelRanking(URL(filePath: file))
    if let warning = ranking.warning { Output.note("warning: \(warning)") }
    if shared.json { try Output.json(ranking) } else { try Output.line(ranking.text) }
  }
}
