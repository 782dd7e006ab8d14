// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies
import AttuneTraining
import Foundation

extension PPOSettings.Variant: ExpressibleByArgument {}

struct PPOCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "ppo",
    abstract: "Aligns a policy with a reward by PPO, under a KL penalty.",
    discussion: """
      \(PPOSettings.Variant.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      \(RewardOptions.note)

      Example: attune ppo --model smollm2 --reward model:runs/reward --data prompts.jsonl \
      --output runs/ppo
      """)

  @OptionGroup var online: OnlineOptions<PPO>

  @Option(help: ArgumentHelp("The method (default: ppo).", valueName: "name"))
  var variant: PPOSettings.Variant?

  @Option(help: ArgumentHelp("Passes over a rollout.", valueName: "n"))
  var epochs: Int?

  @Option(
    help: ArgumentHelp("A reward model that a separate value model starts from.", valueName: "m"))
  var valueModel: String?

  @Option(
    help: ArgumentHelp("Text whose supervised loss is mixed in (ptx_weight).", valueName: "file"),
    completion: .file())
  var ptxData: String?

  func run() throws {
    let settings = try onlineSettings(["variant": variant, "epochs": epochs])
    let mixed = try ptxData.map { try online.data.read($0) }
    let opened = try open(settings)
    let report = try PPO.train(
      opened.start, data: opened.data, rewards: opened.rewards.weighted,
      rewardFingerprint: opened.rewards.fingerprint,
      valueStart: try valueModel.map {
        try LoadedModel.open($0, beside: opened.start, rewardModels: true)
      },
      watched: opened.watched, mixed: mixed, settings: settings, output: online.output.url,
      options: opened.options)
    try show(report)
  }
}
