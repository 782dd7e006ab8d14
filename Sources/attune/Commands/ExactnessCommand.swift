// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneFiles
import AttuneObjectives
import AttuneStudies
import Foundation

struct ExactnessCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exactness",
    abstract: "Trains a tabular policy with every loss and says how near it gets to its optimum.",
    discussion: """
      The policy has 40 answers, all enumerated, so that the optimum of each method is a table of \
      numbers: a closed form, or the answer of a solver that doesn't know the loss's code. A method \
      passes with a total variation distance below 0.001 from every start. Exit code 1 if one doesn't.

      Example: attune exactness --html exactness.html
      """)

  @Option(
    help: ArgumentHelp(
      "Also draw the optimum and what each method reaches on a page.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var html: String?

  @Flag(help: "Print exactly one JSON object on standard output.")
  var json = false

  func run() throws {
    let outcomes = try ExactnessSuite.outcomes(of: ExactnessSuite.cases)
    if let html {
      try AtomicFile.write(ExactnessPage.html(outcomes), to: URL(fileURLWithPath: html))
    }
    if json {
      try Output.json(["cases": outcomes])
    } else {
      try Output.write(ExactnessPage.text(outcomes))
    }
    if !outcomes.allSatisfy(\.passes) { throw ExitCode.failure }
  }
}
