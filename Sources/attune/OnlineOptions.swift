// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

/// What every trainer is told that samples its own answers.
struct OnlineOptions<Algorithm: OnlineAlgorithm>: ParsableArguments {
  @OptionGroup var model: ModelOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var data: RowsOption

  // Where nothing is climbed, there is nothing to take a price off.
  @Option(
    name: .customLong("constraint"),
    help: ArgumentHelp(
      "What a source's mean is to keep to, below or above (>=), with @RATE behind it if its price is to "
        + "move otherwise than by 0.1; repeatable.", valueName: "source<=d",
      visibility: Algorithm.Knobs.knobs.knob(at: "constraints") == nil ? .private : .default))
  var constraints: [String] = []

  @Option(help: ArgumentHelp("A source that is measured, not climbed.", valueName: "source"))
  var watch: String?

  @Option(
    help: ArgumentHelp(
      "Rows that are answered on the way and not trained on, every evaluation_every rollouts.",
      valueName: "file"), completion: .file())
  var evalData: String?

  @Option(
    help: ArgumentHelp("Which policy is written (default: the last one).", valueName: "figure"))
  var keepBest: KeepBest?

  @Flag(help: "Begins with the prompts that the start answers right about every second time.")
  var curriculum = false

  // Where the trainer has no β, there is no such option to be seen.
  @Option(
    help: ArgumentHelp(
      "Weight of the KL term.", valueName: "x",
      visibility: Algorithm.Knobs.knobs.knob(at: "beta") == nil ? .private : .default))
  var beta: Double?

  @OptionGroup var sampler: SamplerOption

  @Option(
    help: ArgumentHelp(
      "Who samples: own, this process, or folder, attune rollouts elsewhere (default: own).",
      valueName: "own|folder"))
  var samplers: Samplers?

  @Option(
    help: ArgumentHelp(
      "Rollouts that the policy may be trained on since others sampled (default: 1).",
      valueName: "k")
  )
  var maxStaleness: Int?

  @OptionGroup var output: TrainerOutputOptions

  @Option(help: ArgumentHelp("Highest learning rate.", valueName: "x"))
  var learningRate: Double?

  @OptionGroup var moments: OptimizerOption
  @OptionGroup var shared: SharedOptions
}

extension Samplers: ExpressibleByArgument {}

/// A command of a trainer that samples its own answers.
protocol OnlineCommand: TakesKnobs where Knobs == Algorithm.Knobs {
  associatedtype Algorithm: OnlineAlgorithm
  var online: OnlineOptions<Algorithm> { get }
  /// Whether a reward has to be given: it is climbed.
  static var climbsReward: Bool { get }
}

extension OnlineCommand {
  static var knobDefaults: Algorithm.Knobs { Algorithm.Knobs() }

  static var climbsReward: Bool { true }

  var shared: SharedOptions { online.shared }

  /// Trains with the command's own flags laid over the shared ones, and says what it came to.
  func train(_ own: KnobFlags, _ others: KnobFlags = [:]) throws {
    let settings = try onlineSettings(own, others)
    let opened = try open(settings)
    try show(
      Algorithm.train(
        opened.start, data: opened.data, rewards: opened.rewards.weighted,
        rewardFingerprint: opened.rewards.fingerprint, watched: opened.watched,
        settings: settings, output: online.output.url, options: opened.options))
  }

  /// The trainer's settings with the shared options and a command's own laid over them.
  func onlineSettings(_ own: KnobFlags, _ others: KnobFlags = [:]) throws -> Knobs {
    guard online.constraints.isEmpty || Knobs.knobs.knob(at: "constraints") != nil else {
      throw ValidationError(
        "--constraint: \(Self._commandName) climbs no reward that a price could be taken off; measure it (--reward)."
      )
    }
    return try settings(
      own, others,
      [
        "beta": online.beta, "learning_rate": online.learningRate,
        "optimizer": online.moments.optimizer, "sampler": online.sampler.sampler,
        "samplers": online.samplers, "max_staleness": online.maxStaleness,
        "keep_best": online.keepBest, "curriculum": online.curriculum ? true : nil,
        "constraints": online.constraints.isEmpty ? nil : online.constraints,
        "seed": shared.seed,
      ])
  }

  /// Reads the data and opens the models.
  func open(_ settings: Knobs) throws -> (
    start: LoadedModel, data: DataFile, rewards: RewardSources, watched: (any RewardSource)?,
    options: RunOptions
  ) {
    let specifications = try online.rewards.specifications(isNeeded: Self.climbsReward)
    for text in settings.rewards.constraints { _ = try ConstraintSpecification(text) }
    let watched = try online.watch.map {
      try RewardSpecification($0).measured(by: "--watch")
    }
    let file = try online.data.read(carriesRows: true)
    Output.note(file.summary)
    var options = online.output.options
    options.heldOut = try online.evalData.map { try online.data.read($0, carriesRows: true) }
    let start = try online.model.open(shared)
    let answers = online.output.url.appending(path: RewardSources.answersFile)
    return (
      start, file,
      try RewardSources(specifications, on: start.engine, beside: start, answers: answers)
        .keeping(
          settings.rewards.constraints, on: start.engine, beside: start, answers: answers),
      try watched.map {
        try RewardSources([$0], on: start.engine, beside: start, answers: answers).weighted[0]
          .source
      }, options
    )
  }

  /// Says what the run came to.
  func show(_ report: OnlineReport) throws {
    if shared.json { try Output.json(report) } else { try Output.line(report.model) }
  }
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

  /// Them as knobs.
  var knobs: KnobFlags {
    [
      "kl_estimator": klEstimator, "kl_per_sequence": klPerSequence,
      "kl_ratio_weighted": klRatioWeighted ? true : nil,
    ]
  }

  /// What each estimator reaches, for the commands' help.
  static let table =
    "What maximising E r − β·(a KL term in the loss) reaches:\n"
    + KLEstimator.asLosses.map { "  \($0.form): \($0.reaches)" }.joined(separator: "\n")
}

extension KLEstimator: ExpressibleByArgument {}
extension KeepBest: ExpressibleByArgument {}
