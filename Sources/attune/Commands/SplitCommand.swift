// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies
import Foundation

struct SplitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "split",
    abstract: "Parts a data file in rows to train on and rows to hold out, by prompt.",
    discussion: """
      Any format that Attune reads will do. All rows of one prompt go to the same file, so that \
      nothing is trained on and held out; rows are written byte for byte as they came. The same seed \
      parts the same file in the same way.

      Example: attune split --data pairs.jsonl --train train.jsonl --held-out heldout.jsonl
      """)

  @OptionGroup var data: RowsOption

  @Option(
    help: ArgumentHelp("The file of rows to train on.", valueName: "file"), completion: .file())
  var train: String

  @Option(
    help: ArgumentHelp("The file of held-out rows.", valueName: "file"), completion: .file())
  var heldOut: String

  @Option(help: ArgumentHelp("Share of the prompts held out.", valueName: "x"))
  var share = 0.1

  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let file = try data.read(carriesRows: true)
    Output.note(file.summary)
    let report = try DataSplit.run(
      file, train: URL(filePath: train), heldOut: URL(filePath: heldOut), share: share,
      seed: shared.seed ?? 0)
    if shared.json { try Output.json(report) } else { try Output.line(report.text) }
  }
}
