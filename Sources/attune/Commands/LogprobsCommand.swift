// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies

struct LogprobsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logprobs",
    abstract: "Writes the log-probability of every token of given answers.",
    discussion: """
      Each prompt–completion row becomes {"prompt_ids","completion_ids","logprobs","sum",\
      "entropies"}, in nats. Strings are tokenised apart, as they are, and joined; conversations \
      go through the chat template.

      Example: attune logprobs --model smollm2 --data answers.jsonl --output logprobs.jsonl
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption
  @OptionGroup var output: OutputFileOption
  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let file = try data.read(expecting: [.promptCompletion], carriesRows: true)
    let report = try LogProbabilities.run(
      try model.open(shared), data: file, output: output.url)
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
