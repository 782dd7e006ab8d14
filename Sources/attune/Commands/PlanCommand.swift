// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneEngine
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract:
      "Says what a run would take: memory by part, time, and what to change if it won't fit.",
    discussion: """
      Example: attune plan sft --model smollm2 --data-shape 1000x256 --set train=lora
      """,
    subcommands: [
      PlanOf<SFTSettings>.self, PlanOf<RewardModelSettings>.self, PlanOf<PPOSettings>.self,
      PlanOf<ReinforceSettings>.self, PlanOf<RLOOSettings>.self, PlanOf<GRPOSettings>.self,
      PlanOf<RAFTSettings>.self, PlanOf<DPGSettings>.self, PlanOf<BRAInSettings>.self,
      PlanOf<DistillSettings>.self,
      PlanOf<DPOSettings>.self, PlanOf<KTOSettings>.self, PlanOf<IterateSettings>.self,
    ])
}

extension PlanCommand {
  /// Whether a trainer's answers are rewarded.
  fileprivate static func takesRewards(_ knobs: any PlansRuns.Type) -> Bool {
    knobs is any OnlineSettings.Type || knobs == IterateSettings.self
  }
}

/// The plan of one trainer's runs, by that trainer's knobs.
struct PlanOf<Knobs: PlansRuns>: TakesKnobs {
  static var knobDefaults: Knobs { Knobs() }

  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: Knobs.trainer,
      abstract: "Says what a run of attune \(Knobs.trainer) would take, before it begins.",
      discussion: """
        M may also be a config.json, or a folder with nothing else: a model that is not downloaded is \
        planned without its weights, and without a time. Where the weights are there, a few tokens \
        are tried, and nothing is changed or written. The same knobs as the trainer's; attune \
        \(Knobs.trainer) --dry-run plans the very run that its line would make.

        Example: attune plan \(Knobs.trainer) --model smollm2 --data-shape 1000x256
        """)
  }

  @OptionGroup var model: ModelOption

  @Option(
    help: ArgumentHelp("The file that would be trained on.", valueName: "file"),
    completion: .file())
  var data: String?

  @OptionGroup var columns: ColumnOptions

  @Option(
    help: ArgumentHelp(
      "Rows x tokens where there is no file: of prompt and answer, or of a prompt where answers are "
        + "sampled (default: as long as may be, or 128).", valueName: "1000x256"))
  var dataShape: String?

  @Option(
    name: .customLong("reward"),
    help: ArgumentHelp(
      "A source of the reward, whose model lies in memory beside the policy; repeatable.",
      valueName: "source"))
  var rewards: [String] = []

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard rewards.isEmpty || PlanCommand.takesRewards(Knobs.self) else {
      throw ValidationError("--reward is of no use: attune \(Knobs.trainer) takes no reward.")
    }
    guard data == nil || dataShape == nil else {
      throw ValidationError("--data and --data-shape both say what the rows are; give one of them.")
    }
    guard dataShape == nil || shape != nil else {
      throw ValidationError("--data-shape \(dataShape ?? ""): write rows x tokens, as 1000x256.")
    }
  }

  private var shape: (rows: Int, tokens: Int)? {
    let parts = (dataShape ?? "").lowercased().split(
      separator: "x", omittingEmptySubsequences: false
    ).map { Int($0) }
    guard parts.count == 2, let rows = parts[0], let tokens = parts[1],
      (1...Knob.most).contains(rows), (1...Knob.most).contains(tokens)
    else { return nil }
    return (rows, tokens)
  }

  func run() throws {
    let settings = try settings(["seed": shared.seed])
    try settings.validate()
    let file = try data.map { try columns.read([$0]) }
    let constraints = (settings as? any OnlineSettings)?.rewards.constraints ?? []
    let sources =
      try rewards.map { try RewardSpecification($0) }
      + constraints.map { try ConstraintSpecification($0).source }
    try RunPlan.of(
      settings, model: model.model, data: file, shape: shape, beside: sources.flatMap(\.models),
      on: shared.engine()
    ).show(json: shared.json)
  }
}

extension RunPlan {
  /// Prints it.
  func show(json: Bool) throws {
    if json { try Output.json(self) } else { try Output.line(text) }
  }
}

extension DryRun {
  /// A job of several stages that train, one after another.
  private struct Job: Encodable {
    var formatVersion = 1
    let bytes: Int
    let limit: Int
    let fits: Bool
    let stages: [RunPlan]
  }

  /// Prints it.
  func show(json: Bool) throws {
    if plans.count == 1 { return try plans[0].show(json: json) }
    guard json else {
      return try Output.line(plans.map(\.text).joined(separator: "\n\n"))
    }
    try Output.json(
      Job(
        bytes: plans.map(\.bytes).max() ?? 0, limit: plans.map(\.limit).min() ?? 0,
        fits: plans.allSatisfy(\.fits), stages: plans))
  }
}

/// Which folder a trainer writes, or that it writes none.
struct TrainerOutputOptions: ParsableArguments {
  @OptionGroup var folder: OutputFolderOptions

  @Flag(help: "Say what the run would take, memory by part and time, and end: nothing is written.")
  var dryRun = false

  var url: URL { folder.url }

  var options: RunOptions {
    var options = folder.options
    options.isDryRun = dryRun
    return options
  }
}
