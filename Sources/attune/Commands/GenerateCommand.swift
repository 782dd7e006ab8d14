// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies

struct GenerateCommand: TakesKnobs {
  static let knobDefaults = Generating.defaults
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Answers one prompt.",
    discussion: """
      The prompt goes through the model's chat template; with --raw it is continued as it is, \
      behind what the tokenizer puts before a text.

      Example: attune generate --model smollm2 --prompt "Why is the sky blue?" --temperature 0
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var sampling: SamplingOptions

  @Option(help: ArgumentHelp("What is asked.", valueName: "text"))
  var prompt: String

  @Option(help: ArgumentHelp("A system message.", valueName: "text"))
  var system: String?

  @Flag(help: "Continue the prompt as it is, without chat template.")
  var raw = false

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(sampling.knobs, ["seed": shared.seed])
    let content = try Generating.content(prompt: prompt, system: system, raw: raw)
    let loaded = try model.open(shared)
    if shared.json {
      try Output.json(try Generating.run(loaded, content: content, settings: settings))
    } else {
      _ = try Generating.run(loaded, content: content, settings: settings) { try Output.write($0) }
      try Output.write("\n")
    }
  }
}
