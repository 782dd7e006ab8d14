// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneObjectives
import AttuneStudies
import AttuneTraining
import Foundation

extension UnpairedLoss: ExpressibleByArgument {}

struct KTOCommand: TakesKnobs {
  static let knobDefaults = KTOSettings()
  static let configuration = CommandConfiguration(
    commandName: "kto",
    abstract: "Aligns a policy on thumbs up and down, without pairs.",
    discussion: """
      \(UnpairedLoss.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      Pairs are read too: each gives a thumb up and a thumb down.

      Example: attune kto --model smollm2 --data thumbs.jsonl --output runs/kto
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("The loss (default: kto).", valueName: "name"))
  var loss: UnpairedLoss?

  @Option(help: ArgumentHelp("What a nat of log-ratio is worth.", valueName: "x"))
  var beta: Double?

  @OptionGroup var contrast: ContrastiveOptions
  @OptionGroup var output: TrainerOutputOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      ["loss": loss, "beta": beta, "seed": shared.seed], training.knobs())
    let file = try data.read(expecting: [.unpaired, .preference])
    Output.note(file.summary)
    let report = try KTO.train(
      try model.open(shared), reference: try contrast.openReference(shared), data: file,
      heldOut: try contrast.evalData.map { try data.read($0) }, settings: settings,
      output: output.url,
      options: output.options)
    try contrast.show(report, json: shared.json)
  }
}
