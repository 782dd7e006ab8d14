// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneEngine
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct QuickstartCommand: TakesKnobs {
  static let knobDefaults = RLHFSettings.quickstart
  static let configuration = CommandConfiguration(
    commandName: "quickstart",
    abstract: "Aligns SmolLM2 from end to end, with settings that fit two cores.",
    discussion: """
      Each run has its own folder, named by its seed: the first whose run is not finished, unless \
      --seed is given.

      Example: attune quickstart --seed 7
      """)

  @Option(help: ArgumentHelp("The folder of all runs.", valueName: "dir"), completion: .directory)
  var output = "runs"

  @Option(help: "The labeller (default: concise).")
  var labeller: Labeller?

  @OptionGroup var sampler: SamplerOption
  @OptionGroup var job: JobOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let (seed, folder) = Quickstart.place(
      in: URL(filePath: output, directoryHint: .isDirectory), seed: shared.seed)
    let settings = try settings(
      ["label.labeller": labeller, "seed": seed], sampler.knobs(Self.knobDefaults.method))
    try Pull.named(Quickstart.model).fetch(say: Output.note)
    let engine = try shared.engine(precision: .high)
    Output.note("The run's folder is \(folder.path)")
    let report = try RLHF.run(
      Quickstart.inputs, on: engine, settings: settings, output: folder, options: job.options)
    try job.show(report, in: folder, shared)
  }
}
