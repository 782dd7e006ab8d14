// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneTraining

struct SampleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sample",
    abstract: "Writes several answers to each prompt of a file.",
    discussion: """
      Any data file with prompts will do. The rows that come out are what attune label reads.

      Example: attune sample --model smollm2 --data prompts.jsonl --n 6 --output samples.jsonl
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOption
  @OptionGroup var output: OutputFileOption
  @OptionGroup var sampling: SamplingOptions

  @Option(help: ArgumentHelp("Answers to each prompt (default: 4).", valueName: "k"))
  var n: Int?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try sampling.settings(SampleSettings(), shared, n: n)
    let file = try DataFile.read(data.url)
    Output.note(file.summary)
    let report = try Sampling.run(
      try model.open(shared), data: file, settings: settings, output: output.url)
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
