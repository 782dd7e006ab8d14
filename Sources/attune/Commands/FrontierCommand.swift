// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining
import Foundation

/// The finished run that a task comes from, and what becomes of points that are there.
struct TaskOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The folder of a finished attune rlhf or quickstart: start, prompts, reward, labeller.",
      valueName: "dir"), completion: .directory)
  var run: String

  @Option(
    help: ArgumentHelp(
      "The folder to write; what is there of the same settings goes on.", valueName: "dir"),
    completion: .directory)
  var output: String

  @Flag(help: "Make points anew that failed or were made with other settings.")
  var restart = false

  var folder: URL { URL(filePath: output, directoryHint: .isDirectory) }

  /// Reads the run.
  func task() throws -> AlignmentTask {
    try AlignmentTask(run: URL(filePath: run, directoryHint: .isDirectory))
  }

  var options: Frontier.Options {
    var options = Frontier.Options()
    options.restart = restart
    options.say = Output.note
    return options
  }
}

/// Words or numbers between commas.
func list(_ text: String) -> [String] {
  text.split(separator: ",", omittingEmptySubsequences: false)
    .map { $0.trimmingCharacters(in: .whitespaces) }
}

struct FrontierCommand: TakesKnobs {
  static let knobDefaults = FrontierSettings()
  static let configuration = CommandConfiguration(
    commandName: "frontier",
    abstract: "Trains several methods from one start at several β and draws reward against KL.",
    discussion: """
      Start, prompts, reward model and labeller are those of a finished run. Every method has the same \
      budget: those that sample may sample rollouts × answers, dpo and kto read pairs of the run's own \
      answers of the start. Best of n is drawn beside. Points that are done are not made again, and one \
      that diverges stops no other; the page is written anew after each.

      Methods with their variants; β of its own stands after an @ (dpg:gdc++@0.25/0.5):
      \(RLHF.Method.allCases.map(Self.line).joined(separator: "\n"))

      Settings of a method go by its name: --set ppo.learning_rate=5e-4.

      Example: attune frontier --run runs/quickstart-1 --methods ppo,rloo,dpo --betas 0.03,0.1,0.3 \
      --output runs/frontier
      """)

  private static func line(_ method: RLHF.Method) -> String {
    let variants = method.variants
    return "  \(method.rawValue)"
      + (variants.isEmpty ? "" : ": \(variants.joined(separator: ", "))")
  }

  @OptionGroup var task: TaskOptions

  @Option(
    help: ArgumentHelp("Methods, commas between (default: one of each family).", valueName: "list"))
  var methods: String?

  @Option(help: ArgumentHelp("β, commas between (default: 0.03,0.1,0.3).", valueName: "list"))
  var betas: String?

  @Option(help: ArgumentHelp("Rollouts of methods that sample (default: 16).", valueName: "n"))
  var rollouts: Int?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    for beta in betas.map(list) ?? [] where Double(beta).map({ $0.isFinite && $0 >= 0 }) != true {
      throw ValidationError("--betas \(betas ?? ""): “\(beta)” is no number of 0 or more.")
    }
    for method in methods.map(list) ?? [] {
      do {
        _ = try FrontierMethod(method)
      } catch {
        throw ValidationError("--\(error)")
      }
    }
  }

  func run() throws {
    let opened = try task.task()
    let settings = try settings(
      over: FrontierSettings.defaults(opened),
      [
        "methods": methods.map(list), "betas": betas.map { list($0).compactMap(Double.init) },
        "rollouts": rollouts, "seed": shared.seed,
      ])
    let report = try Frontier.run(
      opened, on: shared.engine(), settings: settings, output: task.folder, options: task.options)
    if shared.json { return try Output.json(report) }
    try Output.write(report.text)
    try Output.line("Page: \(task.folder.appending(path: "frontier.html").path)")
  }
}
