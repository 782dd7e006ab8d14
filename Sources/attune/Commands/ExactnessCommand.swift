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

      With --staleness the answers are those of a policy that is 0 to 8 steps behind, or of the start \
      alone, and the table says how far from π* each method ends that samples its own.

      Example: attune exactness --html exactness.html
      """)

  @Option(
    help: ArgumentHelp(
      "Also draw the optimum and what each method reaches on a page.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var html: String?

  @Flag(help: "Draw answers from policies that are some steps behind, and say what that does.")
  var staleness = false

  @Flag(help: "Print exactly one JSON object on standard output.")
  var json = false

  func validate() throws {
    if staleness, html != nil {
      throw ValidationError("--html draws the suite without --staleness: leave one of them out")
    }
  }

  func run() throws {
    if staleness {
      let outcomes = try ExactnessSuite.staleOutcomes(of: ExactnessSuite.staleMethods)
      if json {
        try Output.json(["methods": outcomes])
      } else {
        try Output.write(StalenessTable.text(outcomes))
      }
      return
    }
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
