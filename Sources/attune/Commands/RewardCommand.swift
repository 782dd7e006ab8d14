// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies
import AttuneTraining
import Foundation

struct RewardCommand: TakesKnobs {
  static let knobDefaults = RewardModelSettings()
  static let configuration = CommandConfiguration(
    commandName: "reward",
    abstract: "Trains a reward model on preferences, rankings, thumbs or steps.",
    discussion: """
      Without --eval-data a share of the prompts is held out. Rows of an answer in steps ({"prompt", \
      "completions": [step, …], "labels": [true, …]}) make a process reward model with --set loss=pointwise, \
      which --reward model:DIR:min reads.

      Example: attune reward --model smollm2 --data pairs.jsonl --output runs/reward
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption

  @Option(
    help: ArgumentHelp("Preferences that are only evaluated on.", valueName: "file"),
    completion: .file())
  var evalData: String?

  @OptionGroup var output: TrainerOutputOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(training.knobs(), ["seed": shared.seed])
    let file = try data.read(expecting: [.preference, .ranking, .unpaired, .stepwise])
    let heldOut = try evalData.map { try data.read($0) }
    Output.note(file.summary)
    let report = try RewardModel.train(
      try model.open(shared, rewardModels: true), data: file, heldOut: heldOut, settings: settings,
      output: output.url, options: output.options)
    if shared.json { return try Output.json(report) }
    report.heldOutText.map(Output.note)
    try Output.line(report.model)
  }
}
