// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneObjectives
import AttuneStudies
import AttuneTraining

extension DPGSettings.Method: ExpressibleByArgument {}
extension TargetDivergence: ExpressibleByArgument {}

struct DPGCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "dpg",
    abstract: "Brings a policy to the distribution reference · e^(reward / beta).",
    discussion: """
      \(DPGSettings.Method.allCases.map { "\($0.rawValue): \($0.loss.summary)" }
        .joined(separator: "\n"))

      Divergences of fdpg:
      \(TargetDivergence.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      FILE holds prompts, or samples (attune sample), which are then the answers to learn from, \
      weighted by the logprob that they record.

      \(RewardOptions.note)

      Example: attune dpg --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/dpg
      """)

  @OptionGroup var online: OnlineOptions<DPG>

  @Option(help: ArgumentHelp("The method (default: gdc++).", valueName: "name"))
  var method: DPGSettings.Method?

  @Option(help: ArgumentHelp("What fdpg descends (default: forward_kl).", valueName: "name"))
  var divergence: TargetDivergence?

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "n"))
  var samplesPerPrompt: Int?

  func run() throws {
    try train(
      ["method": method, "divergence": divergence, "samples_per_prompt": samplesPerPrompt])
  }
}
