// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import Foundation

struct ReviseCommand: TakesKnobs {
  static let knobDefaults = ReviseSettings()
  static let configuration = CommandConfiguration(
    commandName: "revise",
    abstract: "Writes critiques of answers under principles, and revisions to tune on.",
    discussion: """
      The supervised half of Constitutional AI: each answer is criticised under a principle that is \
      drawn for it and written anew. The rows that come out are what attune sft reads. What was \
      written is kept beside the output and never asked again.

      Example: attune revise --model smollm2 --data samples.jsonl --output revised.jsonl
      """)

  @Option(
    help: ArgumentHelp(
      "Who writes: a model, or the URL of an OpenAI-compatible server.", valueName: "m"),
    completion: .directory)
  var model: String

  @Option(help: ArgumentHelp("Which model of a server.", valueName: "name"))
  var serverModel: String?

  @OptionGroup var data: RowsOption

  @Option(
    help: ArgumentHelp("Principles, one a line (default: Attune's sixteen).", valueName: "file"),
    completion: .file())
  var constitution: String?

  @OptionGroup var output: OutputFileOption

  @Option(help: ArgumentHelp("Revisions of each answer, one after the other.", valueName: "n"))
  var rounds: Int?

  @Option(help: ArgumentHelp("Most tokens of a revision.", valueName: "n"))
  var maxTokens: Int?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      [
        KnobOption("judge.judges", as: "--model"): [model], "judge.server_model": serverModel,
        "judge.constitution": constitution, "rounds": rounds, "max_tokens": maxTokens,
        "seed": shared.seed,
      ])
    let file = try data.read(carriesRows: true)
    let report = try Revising.run(file, settings: settings, output: output.url, on: shared.engine())
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
