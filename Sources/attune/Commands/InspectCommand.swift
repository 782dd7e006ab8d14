// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows how a model reads a data file: its kind, and every token with its mask.",
    discussion: "Example: attune inspect --model smollm2 --data pairs.jsonl --row 3")

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("Which row is shown, from 1.", valueName: "n"))
  var row = 1

  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let file = try data.read()
    let inspection = try Inspection(
      file, loaded: try model.open(shared, rewardModels: true), row: row)
    if shared.json { try Output.json(inspection) } else { try Output.line(inspection.text) }
  }
}
