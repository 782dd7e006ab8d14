// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneFiles
import AttuneRewards
import AttuneStudies
import AttuneTraining

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Prints the token ids of each line of a text file, a JSON array a line.",
    discussion: """
      Lines are split at \\n alone. No special token is added; the text of special tokens is parsed \
      as Hugging Face does.

      Example: attune tokenize --model smollm2 --data README.md
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOption
  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let tokenizer = try LoadedModel.tokenizer(model.model)
    var all: [[Int32]] = []
    try Tokenizing.lines(tokenizer, of: data.url) { ids in
      if shared.json { all.append(ids) } else { try Output.line(try JSONText.line(ids)) }
    }
    if shared.json { try Output.json(TokenizedLines(lines: all)) }
  }
}
