// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneStudies
import AttuneTraining

struct SampleCommand: TakesKnobs {
  static let knobDefaults = SampleSettings()
  static let configuration = CommandConfiguration(
    commandName: "sample",
    abstract: "Writes several answers to each prompt of a file, by one model or several.",
    discussion: """
      Any data file with prompts will do. The rows that come out are what attune label and judge read; \
      of several models each answer names its own, so that attune rank can rate them. A server is the \
      URL of an OpenAI-compatible one, with #MODEL behind it where it has several; it answers \
      conversations, its key is read from ATTUNE_SERVER_KEY (of the second server from \
      ATTUNE_SERVER_KEY_2), and its answers have no ids and logprob.

      Example: attune sample --model smollm2 --data prompts.jsonl --n 6 --output samples.jsonl
      """)

  @Option(
    name: .customLong("model"),
    help: ArgumentHelp(
      "A directory, a .gguf file, a pulled name, or a server's URL; repeatable.", valueName: "m"),
    completion: .directory)
  var models: [String]

  @OptionGroup var data: RowsOption
  @OptionGroup var output: OutputFileOption
  @OptionGroup var sampling: SamplingOptions

  @Option(help: ArgumentHelp("Answers of each model to each prompt (default: 4).", valueName: "k"))
  var n: Int?

  @Option(help: ArgumentHelp("Requests to a server at once (default: 8).", valueName: "n"))
  var parallel: Int?

  @Option(
    help: ArgumentHelp("Seconds that a server may be silent (default: 120).", valueName: "seconds"))
  var timeout: Double?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    if parallel != nil || timeout != nil, !models.contains(where: { $0.hasPrefix("http") }) {
      throw ValidationError("--parallel and --timeout are of no use without a server.")
    }
  }

  func run() throws {
    let settings = try settings(["n": n], sampling.knobs, ["seed": shared.seed])
    let file = try data.read(carriesRows: true)
    Output.note(file.summary)
    let engine = try shared.engine()
    var transport = Sampling.Transport()
    if let parallel { transport.parallel = parallel }
    if let timeout { transport.timeout = timeout }
    let report = try Sampling.run(
      models: models, data: file, settings: settings, output: output.url, transport: transport,
      on: engine)
    if let warning = report.warning { Output.note(warning) }
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
