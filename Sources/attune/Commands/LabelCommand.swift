// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies

extension Labeller: ExpressibleByArgument {}
extension PreferenceMaker.Shape: ExpressibleByArgument {}

struct LabelCommand: TakesKnobs {
  static let knobDefaults = LabelSettings()
  static let configuration = CommandConfiguration(
    commandName: "label",
    abstract: "Turns sampled answers into preferences with a named, transparent labeller.",
    discussion: """
      \(Labeller.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      An answer is preferred to another with the Bradley–Terry probability of their scores' \
      difference times the sharpness, so noise is a knob.

      Example: attune label --data samples.jsonl --labeller concise --output pairs.jsonl
      """)

  @OptionGroup var data: RowsOption

  @Option(help: "The labeller.")
  var labeller: Labeller

  @OptionGroup var output: OutputFileOption

  @Option(name: .customLong("as"), help: "What is written (default: pairs).")
  var shape: PreferenceMaker.Shape?

  @Option(help: ArgumentHelp("Pairs of each prompt (default: all).", valueName: "n"))
  var pairsPerPrompt: Int?

  @Option(help: ArgumentHelp("What score differences are multiplied by.", valueName: "x"))
  var sharpness: Double?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(
      [
        "labeller": labeller, KnobOption("shape", as: "--as"): shape,
        "pairs_per_prompt": pairsPerPrompt,
        "sharpness": sharpness, "seed": shared.seed,
      ])
    let report = try Labelling.run(
      data.read(expecting: [.samples]), settings: settings, output: output.url)
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
