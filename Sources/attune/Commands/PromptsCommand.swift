// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies
import Foundation

struct PromptsCommand: TakesKnobs {
  static let knobDefaults = PromptSettings()
  static let configuration = CommandConfiguration(
    commandName: "prompts",
    abstract: "Takes prompts from any data set, each once, and holds some of them out.",
    discussion: """
      Any format that Attune reads will do: of pairs, conversations and rankings the prompt is taken; of \
      rows with a prompt alone, or a question and its answer, the other columns go along. \
      Prompts that differ in white space alone are one. What is held out is split by prompt, never by \
      row.

      Example: attune prompts --data pairs.jsonl --count 200 --output prompts.jsonl \
      --held-out heldout.jsonl --held-out-share 0.25
      """)

  @OptionGroup var data: RowsOption
  @OptionGroup var output: OutputFileOption

  @Option(
    help: ArgumentHelp("Prompts to draw, held-out ones among them (default: all).", valueName: "n"))
  var count: Int?

  @Option(
    help: ArgumentHelp("The file of held-out prompts.", valueName: "file"), completion: .file())
  var heldOut: String?

  @Option(help: ArgumentHelp("Share of the prompts held out.", valueName: "x"))
  var heldOutShare: Double?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      ["count": count, "held_out_share": heldOutShare, "seed": shared.seed])
    let file = try data.read(takesPrompts: true)
    Output.note(file.summary)
    let report = try PromptChoice.run(
      file, settings: settings, output: output.url, heldOut: heldOut.map { URL(filePath: $0) })
    if shared.json { return try Output.json(report) }
    Output.note(
      "\(report.prompts) prompts, \(report.heldOutPrompts) held out; of \(report.rows) rows "
        + "\(report.repeated) repeat one, \(report.withoutPrompt) have none")
    try Output.line(report.output)
  }
}
