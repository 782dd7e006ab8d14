// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneTraining
import Foundation

struct PPOCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ppo",
    abstract: "Aligns a policy with a reward by PPO, under a KL penalty.",
    discussion: """
      Several sources are added up. The text after the last @ is the weight if it is a number. \
      Documentation/Rewards.md describes every source.

      Example: attune ppo --model smollm2 --reward model:runs/reward --data prompts.jsonl \
      --output runs/ppo
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var data: DataOption

  @Option(help: ArgumentHelp("A source that is measured, not climbed.", valueName: "source"))
  var watch: String?

  @Option(
    help: ArgumentHelp("A reward model that a separate value model starts from.", valueName: "m"))
  var valueModel: String?

  @Option(
    help: ArgumentHelp("Text whose supervised loss is mixed in (ptx_weight).", valueName: "file"),
    completion: .file())
  var ptxData: String?

  @OptionGroup var output: OutputFolderOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings: PPOSettings = try training.settings(PPOSettings(), shared)
    let specifications = try rewards.specifications
    let watched = try watch.map { try RewardSpecification($0).withoutWeight("--watch") }
    let file = try DataFile.read(data.url)
    let mixed = try ptxData.map { try DataFile.read(URL(filePath: $0)) }
    Output.note(file.summary)
    let start = try model.open(shared)
    let sources = try RewardSources(specifications, beside: start)
    let report = try PPO.train(
      start, data: file, rewards: sources.weighted, rewardFingerprint: sources.fingerprint,
      valueStart: try valueModel.map { try LoadedModel.open($0, beside: start) },
      watched: try watched.map { try RewardSources([$0], beside: start).weighted[0].source },
      mixed: mixed, settings: settings, output: output.url, options: output.options)
    if shared.json { try Output.json(report) } else { try Output.line(report.model) }
  }
}
