// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneFiles
import AttuneStudies
import Foundation

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Puts runs side by side: held-out figures, curves, and the settings that differ.",
    discussion: """
      A run is the folder of any trainer, finished or not, of a finished rlhf or quickstart, or of \
      evaluate --output. Figures on what was held out come with how many they are over and their 95 % \
      interval. Of a single run --output writes its report.

      Example: attune compare runs/dpo runs/dpo-beta-0.3 --output compare.html
      """)

  @Argument(help: ArgumentHelp("Run folders.", valueName: "run"), completion: .directory)
  var runs: [String]

  @Option(
    help: ArgumentHelp("Also write a page with the curves.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var output: String?

  @Flag(help: "Print exactly one JSON object on standard output.")
  var json = false

  func run() throws {
    let comparison = try RunComparison(runs.map { URL(filePath: $0, directoryHint: .isDirectory) })
    if let output { try AtomicFile.write(comparison.html, to: URL(filePath: output)) }
    if json { try Output.json(comparison) } else { try Output.write(comparison.text) }
  }
}
