// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneRewards
public import AttuneTraining
public import Foundation

/// The whole job: prompts → samples → preferences → reward model → policy, once or in several rounds →
/// evaluation on held-out prompts → report (Ouyang et al. 2022, with a labeller in place of people).
///
/// A stage whose output is complete, and whose record equals what would run now, is not run again.
public enum RLHF {
  /// The stages in their order.
  public enum Stage: String, CaseIterable, Codable, Sendable {
    /// Prompts, split into those trained on and those held out.
    case prompts
    /// Answers of the start (later of the policy) to all prompts.
    case samples
    /// Preferences over those answers.
    case preferences
    /// The reward model.
    case reward
    /// The policy.
    case policy
    /// The policy against its start.
    case evaluation
    /// The report.
    case report
  }

  /// What a run is made from.
  public struct Inputs {
    /// The model to align, as the command line names it.
    public var model: String
    /// Prompts to train on, each with the columns that go along with it into the run's files.
    public var prompts: [PromptRow]
    /// Prompts to hold out; nil: a share of the others.
    public var heldOut: [PromptRow]?
    /// What the run is called in its report.
    public var title: String
    /// What a reader of the report should know beforehand.
    public var remark: String?

    /// Makes inputs.
    ///
    /// - Parameters:
    ///   - model: The model to align.
    ///   - prompts: Prompts to train on.
    ///   - heldOut: Prompts to hold out.
    ///   - title: What the run is called.
    ///   - remark: What a reader of the report should know beforehand.
    public init(
      model: String, prompts: [PromptRow], heldOut: [PromptRow]? = nil,
      title: String = "Aligned with preferences", remark: String? = nil
    ) {
      self.model = model
      self.prompts = prompts
      self.heldOut = heldOut
      self.title = title
      self.remark = remark
    }
  }

  /// How a run is watched, and which stages are redone.
  public struct Options: Sendable {
    /// The first step that is redone; nil for none.
    public var from: Step?
    /// How trainers are watched and stopped.
    public var run = RunOptions()
    /// Asks people until there are enough labels, writes them, and says what came of it; nil where
    /// nobody can be asked.
    public var people: (@Sendable (PeopleTask) throws -> String)?
    /// Told what is going on, a line at a time.
    public var say: @Sendable (String) -> Void = { _ in }

    /// The defaults.
    public init() {}
  }

  /// Runs the job, or what is left of it.
  ///
  /// - Parameters:
  ///   - inputs: Model and prompts.
  ///   - engine: What computes models.
  ///   - settings: The knobs of all stages.
  ///   - output: The run's folder.
  ///   - options: How the run is watched, and which stages are redone.
  /// - Returns: The report, which is also in the folder as `report.html` and `report.json`.
  /// - Throws: An error that names what is at fault; for a stage that was made with other knobs one
  ///   that names them; `interrupted` after Ctrl-C, with all that is done kept.
  public static func run(
    _ inputs: Inputs, on engine: any Engine, settings: RLHFSettings, output: URL,
    options: Options = Options()
  ) throws -> Report {
    try settings.validate()
    guard !settings.hasPeople || options.people != nil else {
      throw TrainingError(.badSetting, "people.labels is set, but nobody can be asked here")
    }
    if let from = options.from, !Step.all(settings).contains(from) {
      let why =
        settings.hasGrader ? "a grader checks answers" : "rounds is \(settings.rounds)"
      throw TrainingError(.badSetting, "there is no \(from.name) to redo: \(why)")
    }
    try (settings.policyKnobs as? any CorrectsSampler)?.checkCorrection(on: engine)
    let start = try LoadedModel.open(inputs.model, on: engine)
    let isDry = options.run.isDryRun
    let plans = try plans(inputs, of: start, settings: settings, isWhole: isDry)
    if isDry { throw DryRun(plans) }
    if let refusal = plans.compactMap(\.refusal).first { throw refusal }
    try AtomicFile.makeFolder(output)
    let lock = try FolderLock(output)
    defer { withExtendedLifetime(lock) {} }
    var run = try RLHFRun(
      inputs, start, settings: settings.seeded, output: output, options: options)
    return try run.run()
  }
}
