// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneTraining
import Foundation

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Holds a model against another on prompts: rewards, KL, length, win rate.",
    discussion: """
      KL is against the reference, which is the model of --against unless given; without either \
      there is none. The first --reward that is not learned (no model, ensemble or implicit) decides \
      the win rate. A --judge compares the answers of both models in both orders; its win rate is \
      given with and without length control. Answers are sampled at temperature 1 unless --temperature \
      says otherwise; a policy of rlhf or quickstart was trained at \(RLHFSettings.temperature).

      Example: attune evaluate --model runs/ppo --against smollm2 --data held-out.jsonl \
      --reward labeller:concise --n 4
      """)

  @OptionGroup var model: ModelOption

  @Option(help: ArgumentHelp("The model to win against.", valueName: "m0"), completion: .directory)
  var against: String?

  @Option(help: ArgumentHelp("What KL is taken from.", valueName: "m1"), completion: .directory)
  var reference: String?

  @OptionGroup var data: RowsOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var judge: JudgeOptions

  @Option(help: ArgumentHelp("Answers to each prompt (default: 4).", valueName: "k"))
  var n: Int?

  @Option(help: ArgumentHelp("Most tokens of an answer.", valueName: "n"))
  var maxTokens: Int?

  @Option(help: ArgumentHelp("Sampling temperature.", valueName: "t"))
  var temperature: Double?

  @Option(
    help: ArgumentHelp("Where every answer is written.", valueName: "file"), completion: .file())
  var answers: String?

  @Option(
    help: ArgumentHelp(
      "A folder for report.html, report.json and the answers; attune compare reads it.",
      valueName: "dir"), completion: .directory)
  var output: String?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let settings: EvaluationSettings = try shared.settings(
      EvaluationSettings(),
      ["n": n, "max_tokens": maxTokens, "temperature": temperature, "seed": shared.seed])
    let judges = try judge.settings(seed: shared.seed)
    let specifications =
      judges != nil && rewards.sources.isEmpty
      ? [] : try rewards.specifications.map { try $0.withoutWeight("--reward") }
    let file = try data.read(carriesRows: true)
    let folder = output.map { URL(filePath: $0, directoryHint: .isDirectory) }
    if let folder { try RunReport.prepare(folder) }
    let answersFile =
      answers.map { URL(filePath: $0) } ?? folder?.appending(path: "answers.jsonl")
    try shared.startEngine()
    let report = try Evaluation.run(
      model: model.model, against: against, reference: reference, data: file,
      rewards: specifications, settings: settings, judge: judges,
      answersFile: answersFile)
    if let folder, let answersFile {
      let inputs = [
        ("model", model.model), ("against", against ?? ""), ("reference", reference ?? ""),
        ("data", data.file.data), ("rewards", rewards.sources.joined(separator: " ")),
        ("judge", judge.judges.joined(separator: " ")),
      ].filter { !$0.1.isEmpty }
      try RunReport(report, answers: answersFile, settings: settings, inputs: inputs)
        .write(to: folder)
    }
    if shared.json {
      try Output.json(report)
    } else {
      try Output.line(report.terminalTable)
      if let folder { Output.note("Report: \(folder.appending(path: "report.html").path)") }
    }
  }
}
