// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining

struct BRAInCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "brain",
    abstract: "Brings the policy's softmax over a prompt's answers to that of reward / beta.",
    discussion: """
      FILE holds prompts, or samples (attune sample), which are then the answers to learn from, \
      weighted by the logprob that they record. Online, answers come from the policy of the last \
      refresh.

      \(RewardOptions.note)

      Example: attune brain --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/brain
      """)

  @OptionGroup var online: OnlineOptions<BRAIn>

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "n"))
  var samplesPerPrompt: Int?

  @Option(help: ArgumentHelp("Rollouts between refreshes of what samples.", valueName: "n"))
  var refreshEvery: Int?

  func run() throws {
    try train(["samples_per_prompt": samplesPerPrompt, "refresh_every": refreshEvery])
  }
}
