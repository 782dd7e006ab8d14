// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

/// What every trainer is told that samples its own answers.
struct OnlineOptions: ParsableArguments {
  @OptionGroup var model: ModelOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("A source that is measured, not climbed.", valueName: "source"))
  var watch: String?

  @Option(help: ArgumentHelp("Weight of the KL term.", valueName: "x"))
  var beta: Double?

  @OptionGroup var output: OutputFolderOptions

  @Option(help: ArgumentHelp("Highest learning rate.", valueName: "x"))
  var learningRate: Double?

  @OptionGroup var shared: SharedOptions

  /// What `open` gives.
  struct Opened {
    var start: LoadedModel
    var data: DataFile
    var rewards: RewardSources
    var watched: (any RewardSource)?
  }

  /// The trainer's settings with these options and a command's own laid over them.
  func settings<S: Settings>(
    _ defaults: S, _ own: KeyValuePairs<KnobOption, (any Encodable)?>
  ) throws -> S {
    try shared.settings(
      defaults, own, ["beta": beta, "learning_rate": learningRate, "seed": shared.seed])
  }

  /// Reads the data and opens the models.
  func open() throws -> Opened {
    let specifications = try rewards.specifications
    let watched = try watch.map { try RewardSpecification($0).withoutWeight("--watch") }
    let file = try data.read(carriesRows: true)
    Output.note(file.summary)
    let start = try model.open(shared)
    return Opened(
      start: start, data: file,
      rewards: try RewardSources(specifications, on: start.engine, beside: start),
      watched: try watched.map {
        try RewardSources([$0], on: start.engine, beside: start).weighted[0].source
      })
  }

  /// Says what the run came to.
  func show(_ report: OnlineReport) throws {
    if shared.json { try Output.json(report) } else { try Output.line(report.model) }
  }

  /// How sources are written, for the commands' help.
  static let sources = """
    Several sources are added up. The text after the last @ is the weight if it is a number. \
    Documentation/Rewards.md describes every source.
    """
}

/// The estimator of a KL term in the loss.
struct KLTermOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Estimator of a KL term in the loss; what each reaches stands above.", valueName: "name"))
  var klEstimator: KLEstimator?

  @Option(
    help: ArgumentHelp(
      "Whether that term is of the whole answer, not of each token.", valueName: "true|false"))
  var klPerSequence: Bool?

  @Flag(help: "Weight k3 by the ratio to the sampling policy.")
  var klRatioWeighted = false

  /// What each estimator reaches, for the commands' help.
  static let table =
    "What maximising E r − β·(a KL term in the loss) reaches:\n"
    + KLEstimator.asLosses.map { "  \($0.form): \($0.reaches)" }.joined(separator: "\n")
}

extension KLEstimator: ExpressibleByArgument {}
