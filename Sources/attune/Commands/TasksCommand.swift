// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining
import Foundation

extension ProceduralTask: ExpressibleByArgument {}
extension TaskSettings.Form: ExpressibleByArgument {}

struct TasksCommand: TakesKnobs {
  static let knobDefaults = TaskSettings()
  static let configuration = CommandConfiguration(
    commandName: "tasks",
    abstract: "Writes problems with right answers that a small model can learn to solve.",
    discussion: """
      \(ProceduralTask.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      Rows hold the prompt and its answer; the command says which --reward knows it \
      (Documentation/Graders.md): grpo --data sums.jsonl --reward answer:number. No problem of one file is \
      in the other, nor among the shots.

      Example: attune tasks sums --count 256 --held-out held-out.jsonl --output sums.jsonl
      """)

  @Argument(help: ArgumentHelp("The task.", valueName: "name"))
  var name: ProceduralTask

  @OptionGroup var output: OutputFileOption

  @Option(help: ArgumentHelp("Problems to write (default: 256).", valueName: "n"))
  var count: Int?

  @Option(
    help: ArgumentHelp("The file of held-out problems.", valueName: "file"), completion: .file())
  var heldOut: String?

  @Option(help: ArgumentHelp("Problems held out (default: 64).", valueName: "n"))
  var heldOutCount: Int?

  @Option(help: ArgumentHelp("How hard, from 1 to 5 (default: 1).", valueName: "n"))
  var difficulty: Int?

  @Option(
    help: ArgumentHelp("Solved problems before each question (default: 0).", valueName: "n"))
  var shots: Int?

  @Option(help: ArgumentHelp("Conversations, or texts Q: … A: (default: chat).", valueName: "form"))
  var form: TaskSettings.Form?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard heldOut != nil || heldOutCount == nil else {
      throw ValidationError("--held-out-count is of no use without --held-out.")
    }
  }

  func run() throws {
    let settings = try settings([
      "count": count, KnobOption("held_out", as: "--held-out-count"): heldOutCount,
      "difficulty": difficulty, "shots": shots, "form": form, "seed": shared.seed,
    ])
    let report = try TaskFile.write(
      name, settings: settings, to: output.url, heldOut: heldOut.map { URL(filePath: $0) })
    if shared.json { return try Output.json(report) }
    let held = report.heldOut == nil ? "" : ", \(report.heldOutRows) held out"
    Output.note("\(report.rows) problems\(held); the reward that knows them: \(report.reward)")
    try Output.line(report.output)
  }
}
