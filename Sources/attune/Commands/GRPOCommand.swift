// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining

extension GRPOSettings.Variant: ExpressibleByArgument {}

struct GRPOCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "grpo",
    abstract: "Aligns a policy with a reward, each answer against the mean of its prompt's.",
    discussion: """
      \(GRPOSettings.Variant.allCases.map { "\($0.rawValue): \($0.loss.summary)" }.joined(separator: "\n"))

      All but dr_grpo divide by the standard deviation of a prompt's rewards. dapo draws again in \
      place of prompts whose answers all got one score, and takes up to 1 off answers that come \
      near the token limit. Clips and β are the variant's own unless they are set.

      \(KLTermOptions.table)

      \(RewardOptions.note)

      Example: attune grpo --model smollm2 --variant dapo --reward labeller:concise \
      --data prompts.jsonl --output runs/grpo
      """)

  @OptionGroup var online: OnlineOptions<GRPO>

  @Option(help: ArgumentHelp("The method (default: grpo).", valueName: "name"))
  var variant: GRPOSettings.Variant?

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "k"))
  var samplesPerPrompt: Int?

  @Option(help: ArgumentHelp("Passes over a rollout.", valueName: "n"))
  var epochs: Int?

  @OptionGroup var term: KLTermOptions

  func run() throws {
    try train(
      ["variant": variant, "samples_per_prompt": samplesPerPrompt, "epochs": epochs], term.knobs)
  }
}
