// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies
import Foundation

extension JudgeSettings.Way: ExpressibleByArgument {}

struct JudgeCommand: TakesKnobs {
  static let knobDefaults = JudgeSettings()
  static let configuration = CommandConfiguration(
    commandName: "judge",
    abstract: "Turns answers into preferences by an AI judge with written principles.",
    discussion: """
      For every pair of answers a principle of the constitution is drawn; the judge reads the \
      conversation, the principle and both answers as (A) and (B), in both orders, and the label is \
      the mean probability of the letters. The rows are those of attune label, for reward and dpo. \
      --check holds the judge against people's preferences.

      What a judge has answered is kept beside the output and never asked again. A server's key is \
      read from the environment variable ATTUNE_JUDGE_KEY. The principles and every knob are in \
      Documentation/Judge.md.

      Example: attune judge --data samples.jsonl --judge smollm2 --output pairs.jsonl
      """)

  @Option(
    help: ArgumentHelp("Samples, or pairs to be judged anew.", valueName: "file"),
    completion: .file())
  var data: String?

  @Option(help: ArgumentHelp("The file to write.", valueName: "file"), completion: .file())
  var output: String?

  @Option(
    help: ArgumentHelp("People's preferences to hold the judge against.", valueName: "file"),
    completion: .file())
  var check: String?

  @OptionGroup var columns: ColumnOptions

  @OptionGroup var judge: JudgeOptions

  @Option(help: "Comparisons of two answers, or grades of each (default: comparison).")
  var by: JudgeSettings.Way?

  @Option(name: .customLong("as"), help: "What is written (default: pairs).")
  var shape: PreferenceMaker.Shape?

  @Option(help: ArgumentHelp("Principles drawn for each comparison (default: 1).", valueName: "n"))
  var principles: Int?

  @Option(help: ArgumentHelp("Pairs of each prompt (default: all).", valueName: "n"))
  var pairsPerPrompt: Int?

  @Flag(help: "Let the judge think aloud before it answers.")
  var reasoning = false

  @Option(help: ArgumentHelp("Requests to a server at once (default: 8).", valueName: "n"))
  var parallel: Int?

  @Option(
    help: ArgumentHelp(
      "Where the judge's answers are kept (default: beside the output).", valueName: "file"),
    completion: .file())
  var answers: String?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard data != nil || check != nil else {
      throw ValidationError("Give --data with --output, or --check.")
    }
    guard (data == nil) == (output == nil) else {
      throw ValidationError("--data and --output go together.")
    }
  }

  func run() throws {
    let settings = try settings(
      judge.knobs(),
      [
        "by": by, KnobOption("shape", as: "--as"): shape,
        "principles": principles,
        "pairs_per_prompt": pairsPerPrompt, "reasoning": reasoning ? true : nil,
        "parallel": parallel, "seed": shared.seed,
      ])
    let inputs = Judging.Inputs(
      data: try data.map {
        try columns.read([$0], use: ColumnUse(carriesRows: true))
      },
      output: output.map { URL(filePath: $0) },
      check: try check.map {
        try columns.read([$0], expecting: [.preference], needsMap: data == nil)
      },
      answers: answers.map { URL(filePath: $0) })
    let report = try Judging.run(inputs, settings: settings, on: shared.engine())
    if shared.json { try Output.json(report) } else { try Output.line(report.summary) }
  }
}
