// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct SFTCommand: TakesKnobs {
  static let knobDefaults = SFTSettings()
  static let configuration = CommandConfiguration(
    commandName: "sft",
    abstract: "Supervised fine-tuning: makes given answers, or whole texts, more probable.",
    discussion: """
      With --init the model starts from random weights with a tokenizer of bytes, so that training \
      on {"text"} rows is pre-training.

      Example: attune sft --model smollm2 --data answers.jsonl --output runs/sft --set train=lora
      """)

  @Option(
    help: ArgumentHelp("A directory, a .gguf file, or a pulled name.", valueName: "m"),
    completion: .directory)
  var model: String?

  @Option(
    name: .customLong("init"),
    help: ArgumentHelp("Start from random weights for this config.json.", valueName: "file"),
    completion: .file(extensions: ["json"]))
  var initial: String?

  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("Rows that are only scored.", valueName: "file"), completion: .file())
  var evalData: String?

  @OptionGroup var output: TrainerOutputOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard (model == nil) != (initial == nil) else {
      throw ValidationError("Give either --model or --init.")
    }
  }

  func run() throws {
    let settings = try settings(training.knobs(), ["seed": shared.seed])
    guard initial == nil || settings.train == .full else {
      throw ValidationError(
        "--init: random weights are nothing to adapt or to keep; leave train at full.")
    }
    let file = try data.read(expecting: [.languageModelling, .promptCompletion])
    let heldOut = try evalData.map { try data.read($0) }
    Output.note(file.summary)
    let engine = try shared.engine()
    let start =
      if let initial {
        try LoadedModel.random(
          configuration: URL(filePath: initial), seed: settings.seed, on: engine)
      } else {
        try LoadedModel.open(model ?? "", on: engine)
      }
    let report = try SFT.train(
      consume start, data: file, heldOut: heldOut, settings: settings, output: output.url,
      options: output.options)
    if shared.json { return try Output.json(report) }
    report.heldOutText.map(Output.note)
    try Output.line(report.model)
  }
}
