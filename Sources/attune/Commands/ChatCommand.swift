// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies

struct ChatCommand: TakesKnobs {
  static let knobDefaults = Generating.defaults
  static let configuration = CommandConfiguration(
    commandName: "chat",
    abstract: "Talks with a model, a line a turn.",
    discussion: """
      /reset forgets the conversation, /quit or an end of input leaves.

      Example: attune chat --model smollm2 --temperature 0.5
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var sampling: SamplingOptions

  @Option(help: ArgumentHelp("A system message.", valueName: "text"))
  var system: String?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings = try settings(sampling.knobs, ["seed": shared.seed])
    let loaded = try model.open(shared)
    var conversation = Conversation(system: system)
    let write = { (text: String) in
      if shared.json { Output.notePart(text) } else { try Output.write(text) }
    }
    Output.notePart("> ")
    while let line = readLine(), line != "/quit" {
      if line == "/reset" {
        conversation.reset()
      } else if !line.isEmpty {
        try conversation.ask(line, of: loaded, settings: settings, onText: write)
        try write("\n")
      }
      Output.notePart("> ")
    }
    if shared.json { try Output.json(conversation) } else { Output.note("") }
  }
}
