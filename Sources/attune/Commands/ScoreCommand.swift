// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneTraining

struct ScoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Scores answers with a reward model: each row that came in plus \"score\".",
    discussion: """
      A row with several answers gets a list: of chosen and rejected, or of all completions.

      Example: attune score --model runs/reward --data pairs.jsonl --output scores.jsonl
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOption
  @OptionGroup var output: OutputFileOption
  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let file = try DataFile.read(data.url)
    let report = try Scoring.run(try model.open(shared), data: file, output: output.url)
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
