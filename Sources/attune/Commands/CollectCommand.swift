// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneServer
import AttuneStore
import AttuneTraining
import Foundation

extension CollectSettings: Settings {}
extension CollectSettings.Shape: ExpressibleByArgument {}

struct CollectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "collect",
    abstract: "Serves a web page on which people give preferences.",
    discussion: """
      Two answers side by side, without the models' names and in random order: ← → for the better \
      one, ↓ for a tie, x if both are bad, u to undo, s to skip. An answer is on the disk before \
      the page says so. Ctrl-C ends it; the same command goes on where it was.

      It serves this machine alone, at http://127.0.0.1:8642/. With --host it serves others too, \
      who need the link that is printed: it holds the token.

      Example: attune collect --samples samples.jsonl --store feedback.db
      """)

  @Option(
    help: ArgumentHelp("Answers to ask about (attune sample); repeatable.", valueName: "file"),
    completion: .file())
  var samples: [String]

  @OptionGroup var store: StoreOption

  @Option(name: .customLong("as"), help: "What people are asked (default: pairs).")
  var shape: CollectSettings.Shape?

  @Option(help: ArgumentHelp("People that each question goes to (default: 1).", valueName: "n"))
  var votes: Int?

  @Option(
    help: ArgumentHelp("Comparisons with a known answer, mixed in.", valueName: "file"),
    completion: .file())
  var gold: String?

  @Option(help: ArgumentHelp("Share of gold questions (default: 0.1).", valueName: "x"))
  var goldShare: Double?

  @Option(help: ArgumentHelp("Pairs of each prompt (default: all).", valueName: "n"))
  var pairsPerPrompt: Int?

  @Option(
    help: ArgumentHelp(
      "Ask by a second key how much better, in n steps (default: do not ask).", valueName: "n"))
  var strengths: Int?

  @OptionGroup var server: ServerOptions

  @Option(
    help: ArgumentHelp(
      "What attune reward --json said: the progress page shows its curve.", valueName: "file"),
    completion: .file(extensions: ["json"]))
  var curve: String?

  @Option(help: ArgumentHelp("Estimate how many labels it needs.", valueName: "x"))
  var accuracy: Double?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    if let accuracy, !(accuracy > 0 && accuracy < 1) {
      throw ValidationError("--accuracy \(accuracy): give a share above 0 and below 1.")
    }
    guard (accuracy == nil) == (curve == nil) || accuracy == nil else {
      throw ValidationError("--accuracy is of no use without --curve.")
    }
    guard gold != nil || goldShare == nil else {
      throw ValidationError("--gold-share is of no use without --gold.")
    }
  }

  func run() throws {
    let settings: CollectSettings = try shared.settings(
      CollectSettings(),
      [
        "shape": shape, "votes": votes, "gold_share": goldShare,
        "pairs_per_prompt": pairsPerPrompt, "strengths": strengths, "seed": shared.seed,
      ])
    let address = try server.address()
    let collector = try Collector(
      settings, store: try FeedbackStore(store.url), curve: curve.map { URL(filePath: $0) },
      accuracy: accuracy)
    try collector.addSamples(samples.map { URL(filePath: $0) })
    if let gold { try collector.addGold(URL(filePath: gold)) }
    try CollectServer.serve(collector, at: address) { server in
      for link in server.links {
        Output.note(link.name.map { "\($0): \(link.url)" } ?? link.url)
      }
      while !Interrupt.isRequested { Thread.sleep(forTimeInterval: 0.05) }
    }
    let report = collector.report()
    if shared.json { try Output.json(report) } else { try Output.line(report.text) }
  }
}
