// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining

extension RAFTSettings.Selection: ExpressibleByArgument {}

struct RAFTCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "raft",
    abstract: "Fine-tunes a policy on its own best answers, round after round.",
    discussion: """
      \(RAFTSettings.Selection.allCases.map { "\($0.rawValue): \($0.summary)" }
        .joined(separator: "\n"))

      A rollout is a round. The best of n answers is at most log n - (n-1)/n nats from what drew \
      it; the report has that bound beside the KL that is measured. FILE holds prompts, or samples \
      (attune sample), which are then the answers to choose from.

      \(RewardOptions.note)

      Example: attune raft --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/raft
      """)

  @OptionGroup var online: OnlineOptions<RAFT>

  @Option(help: ArgumentHelp("Which answers are kept (default: best).", valueName: "name"))
  var selection: RAFTSettings.Selection?

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "n"))
  var samplesPerPrompt: Int?

  @Option(help: ArgumentHelp("How many of the best are kept of each prompt.", valueName: "k"))
  var keep: Int?

  func run() throws {
    try train(["selection": selection, "samples_per_prompt": samplesPerPrompt, "keep": keep])
  }
}
