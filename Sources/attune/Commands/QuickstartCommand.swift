// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneEngine
import AttuneNative
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct QuickstartCommand: TakesKnobs {
  static let knobDefaults = Quickstart.settings(.standard)
  static let configuration = CommandConfiguration(
    commandName: "quickstart",
    abstract: "Aligns SmolLM2 from end to end, with settings that fit two cores.",
    discussion: """
      \(Quickstart.Task.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      On a processor with bfloat16 products it runs in bf16, else in float32, with matrix tiles where there \
      are some, and it draws answers from 8-bit codes where that is faster (AVX2, AVX512-VNNI), unless \
      --precision or --sampler says otherwise; --precision float32 is float32 throughout.

      Each run has its own folder, named by its seed (and task): the first whose run is not finished, unless \
      --seed is given.

      Example: attune quickstart --seed 7
        attune quickstart --task sums
      """)

  @Option(help: ArgumentHelp("The folder of all runs.", valueName: "dir"), completion: .directory)
  var output = "runs"

  @Option(help: "What the model is aligned to (default: \(Quickstart.Task.standard.rawValue)).")
  var task: Quickstart.Task?

  @OptionGroup var sampler: SamplerOption
  @OptionGroup var job: JobOptions
  @OptionGroup var shared: SharedOptions

  func run() throws {
    let task = task ?? .standard
    let (seed, folder) = Quickstart.place(
      task, in: URL(filePath: output, directoryHint: .isDirectory), seed: shared.seed)
    let precision = shared.precision ?? NativeEngine.fastest
    let isExact = shared.precision == .float32
    let defaults = Quickstart.settings(task, sampler: isExact ? .same : NativeEngine.fastestSampler)
    let settings = try settings(
      over: defaults, ["seed": seed], sampler.knobs(defaults.method, grader: defaults.grader))
    for name in [Quickstart.model] + (task == .positive ? ["vader"] : []) {
      try Pull.named(name).fetch(say: Output.note)
    }
    let engine = try shared.engine(precision: precision)
    Output.note("The run's folder is \(folder.path)")
    let report = try RLHF.run(
      Quickstart.inputs(task, seed: settings.seed), on: engine, settings: settings, output: folder,
      options: job.options)
    try job.show(report, in: folder, shared)
  }
}

extension Quickstart.Task: ExpressibleByArgument {}
