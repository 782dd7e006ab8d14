// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining
import Foundation

struct RolloutsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollouts",
    abstract: "Samples for a trainer that runs elsewhere, through a folder that both see.",
    discussion: """
      The trainer is started with --samplers folder; as many of these as you like come and go while it \
      runs, on any machine that sees its folder, with the model at the same path or pulled. One that is \
      killed loses nothing but what it was at, which another takes after lease_seconds. Ends with the run.

      Example: attune rollouts --run runs/rloo --worker spot-1
      """)

  @Option(
    name: .customLong("run"),
    help: ArgumentHelp("The trainer's output folder.", valueName: "folder"))
  var folder: String

  @Option(help: ArgumentHelp("What it is called, one name each.", valueName: "name"))
  var worker: String

  @Option(
    help: ArgumentHelp("Ends after so long without work; 0 is never.", valueName: "s"))
  var idleSeconds = 0.0

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard !worker.isEmpty, idleSeconds >= 0 else {
      throw ValidationError("--worker needs a name, and --idle-seconds 0 or more.")
    }
  }

  func run() throws {
    try shared.refuseSettings()
    let report = try RolloutWorker.work(
      for: URL(filePath: folder), name: worker, on: shared.engine(), idleSeconds: idleSeconds
    ) { Output.note("\(worker): \($0)") }
    if shared.json {
      try Output.json(report)
    } else {
      try Output.line("\(report.leases) leases, \(report.answers) answers, \(report.tokens) tokens")
    }
  }
}
