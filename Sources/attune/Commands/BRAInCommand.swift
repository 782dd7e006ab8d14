// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneRewards
import AttuneStudies
import AttuneTraining

struct BRAInCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "brain",
    abstract: "Brings the policy's softmax over a prompt's answers to that of reward / beta.",
    discussion: """
      FILE holds prompts, or samples (attune sample), which are then the answers to learn from, \
      weighted by the logprob that they record. Online, answers come from the policy of the last \
      refresh.

      \(OnlineOptions.sources)

      Example: attune brain --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/brain
      """)

  @OptionGroup var online: OnlineOptions

  @Option(help: ArgumentHelp("Answers to each prompt, at least 2.", valueName: "n"))
  var samplesPerPrompt: Int?

  @Option(help: ArgumentHelp("Rollouts between refreshes of what samples.", valueName: "n"))
  var refreshEvery: Int?

  func run() throws {
    let settings = try online.settings(
      BRAInSettings(),
      ["samples_per_prompt": samplesPerPrompt, "refresh_every": refreshEvery])
    let opened = try online.open()
    let report = try BRAIn.train(
      opened.start, data: opened.data, rewards: opened.rewards.weighted,
      rewardFingerprint: opened.rewards.fingerprint, watched: opened.watched, settings: settings,
      output: online.output.url, options: online.output.options)
    try online.show(report)
  }
}
