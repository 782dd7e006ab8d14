// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct ScoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Scores answers with reward sources: each row that came in plus \"score\".",
    discussion: """
      A row with several answers gets a list: of chosen and rejected, or of all completions. Several \
      sources are added up by their weights, and \"rewards\" holds what each said. --model M is \
      --reward model:M.

      Example: attune score --reward model:runs/reward --data pairs.jsonl --output scores.jsonl
      """)

  @Option(help: ArgumentHelp("A reward model.", valueName: "m"), completion: .directory)
  var model: String?

  @OptionGroup var rewards: RewardOptions
  @OptionGroup var data: RowsOption
  @OptionGroup var output: OutputFileOption
  @OptionGroup var shared: SharedOptions

  func validate() throws {
    if model == nil, rewards.sources.isEmpty {
      throw ValidationError("Give --reward, or --model with a reward model.")
    }
  }

  func run() throws {
    try shared.refuseSettings()
    let specifications =
      (model.map { [RewardSpecification(model: $0)] } ?? [])
      + (rewards.sources.isEmpty ? [] : try rewards.specifications)
    let file = try data.read(carriesRows: true)
    let sources = try RewardSources(
      specifications, on: shared.engine(), answers: output.url.appendingPathExtension("answers"))
    let report = try Scoring.run(sources.weighted, data: file, output: output.url)
    for source in report.sources {
      if let cost = source.judge { Output.note("\(source.name): \(cost.words)") }
    }
    if shared.json { try Output.json(report) } else { try Output.line(report.output) }
  }
}
