// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining

struct RLOOCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "rloo",
    abstract:
      "Aligns a policy with a reward by REINFORCE, each answer against its prompt's others.",
    discussion: """
      Leave-one-out baseline over the answers to a prompt (samples_per_prompt), the KL of the whole \
      answer in its reward, no value head. A rollout is one optimiser step; with more epochs or \
      minibatches the steps go through PPO's clipped ratio, a token.

      \(RewardOptions.note)

      Example: attune rloo --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/rloo
      """)

  @OptionGroup var online: OnlineOptions<RLOO>

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "k"))
  var samplesPerPrompt: Int?

  @Option(help: ArgumentHelp("Passes over a rollout.", valueName: "n"))
  var epochs: Int?

  func run() throws {
    try train(["samples_per_prompt": samplesPerPrompt, "epochs": epochs])
  }
}
