// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

extension PreferenceLoss: ExpressibleByArgument {}

struct DPOCommand: TakesKnobs {
  static let knobDefaults = DPOSettings()
  static let configuration = CommandConfiguration(
    commandName: "dpo",
    abstract: "Aligns a policy on pairs, without a reward model: DPO and its relatives.",
    discussion: """
      \(PreferenceLoss.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      The reference's log-probabilities are computed once and kept beside the data. Without \
      --eval-data a share of the prompts is held out.

      Example: attune dpo --model smollm2 --data pairs.jsonl --output runs/dpo
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("The loss (default: dpo).", valueName: "name"))
  var loss: PreferenceLoss?

  @Option(help: ArgumentHelp("What a nat of log-ratio is worth.", valueName: "x"))
  var beta: Double?

  @Flag(help: "ipo only: divide log-ratios by the response's tokens.")
  var lengthNormalised = false

  @OptionGroup var contrast: ContrastiveOptions
  @OptionGroup var output: TrainerOutputOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      [
        "loss": loss, "beta": beta, "length_normalised": lengthNormalised ? true : nil,
        "seed": shared.seed,
      ], training.knobs())
    let file = try data.read(expecting: [.preference])
    Output.note(file.summary)
    let report = try DPO.train(
      try model.open(shared), reference: try contrast.openReference(shared), data: file,
      heldOut: try contrast.evalData.map { try data.read($0) }, settings: settings,
      output: output.url,
      options: output.options)
    try contrast.show(report, json: shared.json)
  }
}

/// What `dpo` and `kto` are told beside the loss.
struct ContrastiveOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The reference (default: the model itself).", valueName: "m"),
    completion: .directory)
  var reference: String?

  @Option(
    help: ArgumentHelp("Rows that are only evaluated on.", valueName: "file"),
    completion: .file())
  var evalData: String?

  func openReference(_ shared: SharedOptions) throws -> LoadedModel? {
    try reference.map { try LoadedModel.open($0, on: shared.engine()) }
  }

  func show(_ report: ContrastiveReport, json: Bool) throws {
    if json { return try Output.json(report) }
    report.heldOutText.map(Output.note)
    try Output.line(report.model)
  }
}
