// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct EvaluateCommand: TakesKnobs {
  static let knobDefaults = EvaluationSettings()
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Holds a model against another on prompts or preferences that it was not trained on.",
    discussion: """
      KL is against the reference, which is the model of --against unless given; without either \
      there is none. The first --reward that is not learned (no model, ensemble or implicit) decides \
      the win rate. A --judge compares the answers of both models in both orders; its win rate is \
      given with and without length control. Answers are sampled at temperature 1 unless --temperature \
      says otherwise; a policy of rlhf or quickstart was trained at \(RLHFSettings.temperature).

      Of --data that holds preferences the implicit reward log π − log π_ref is measured too: how often \
      it ranks chosen higher, its margin, and what both models think of chosen and rejected. No \
      --reward is needed then; without --against and --reference the reference is what the model was \
      trained from. At --temperature 0 each prompt has one answer, and there is no KL.

      Example: attune evaluate --model runs/ppo --against smollm2 --data held-out.jsonl \
      --reward labeller:concise --n 4
        attune evaluate --model runs/dpo --against smollm2 --data held-out-pairs.jsonl
      """)

  @OptionGroup var model: ModelOption

  @Option(help: ArgumentHelp("The model to win against.", valueName: "m0"), completion: .directory)
  var against: String?

  @Option(help: ArgumentHelp("What KL is taken from.", valueName: "m1"), completion: .directory)
  var reference: String?

  @Flag(
    help: "Takes KL over the whole vocabulary at every position too: a pass of both models more.")
  var exactKL = false

  @OptionGroup var data: RowsOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var judge: JudgeOptions

  @Option(help: ArgumentHelp("Answers to each prompt (default: 4).", valueName: "k"))
  var n: Int?

  @Option(help: ArgumentHelp("Most tokens of an answer.", valueName: "n"))
  var maxTokens: Int?

  @Option(help: ArgumentHelp("Sampling temperature.", valueName: "t"))
  var temperature: Double?

  @OptionGroup var sampler: SamplerOption

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
    let settings = try settings(
      [
        "n": n, "max_tokens": maxTokens, "temperature": temperature, "seed": shared.seed,
        "sampler": sampler.sampler,
      ])
    let judges = try judge.settings(seed: shared.seed)
    let specifications =
      rewards.sources.isEmpty
      ? [] : try rewards.specifications.map { try $0.measured(by: "--reward") }
    let file = try data.read(carriesRows: true)
    // Pairs say something of the policy themselves.
    if judges == nil, file.kind != .preference { _ = try rewards.specifications }
    let folder = output.map { URL(filePath: $0, directoryHint: .isDirectory) }
    if let folder { try RunReport.prepare(folder) }
    let answersFile =
      answers.map { URL(filePath: $0) } ?? folder?.appending(path: "answers.jsonl")
    if settings.temperature == 0 {
      Output.note("temperature 0: one greedy answer to each prompt, and no KL")
    }
    let engine = try shared.engine()
    let report = try Evaluation.run(
      model: model.model, against: against, reference: reference, data: file,
      rewards: specifications, settings: settings, judge: judges, exactKL: exactKL,
      answersFile: answersFile, on: engine)
    if let folder, let answersFile {
      let inputs = [
        ("model", model.model), ("against", against ?? ""), ("reference", reference ?? ""),
        ("data", data.files.joined(separator: " ")),
        ("rewards", rewards.sources.joined(separator: " ")),
        ("judge", judge.judges.joined(separator: " ")),
      ].filter { !$0.1.isEmpty }
      try RunReport(report, answers: answersFile, settings: settings, inputs: inputs)
        .write(to: folder)
    }
    if file.kind == .preference, report.preferences == nil {
      Output.note("no reference, no implicit reward: name one with --against or --reference")
    }
    for (name, cost) in (report.judges ?? [:]).sorted(by: { $0.key < $1.key }) {
      Output.note("\(name): \(cost.words)")
    }
    if shared.json {
      try Output.json(report)
    } else {
      try Output.line(report.terminalTable)
      if let folder { Output.note("Report: \(folder.appending(path: "report.html").path)") }
    }
  }
}
