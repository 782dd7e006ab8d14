// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneRewards
import AttuneTraining
public import Foundation

/// `attune quickstart`: the whole job with SmolLM2 and Attune's own prompts or problems.
public enum Quickstart {
  /// What the model is aligned to.
  public enum Task: String, CaseIterable, Codable, Sendable {
    /// Answers that take the question up, add to it, and end.
    case direct
    /// Answers of about twenty words.
    case concise
    /// Courteous answers.
    case polite
    /// Answers of positive sentiment.
    case positive
    /// Right answers to sums, which are checked.
    case sums

    /// The one that is taken where none is named.
    public static let standard = Task.direct

    /// One line for help.
    public var summary: String {
      labeller?.summary
        ?? "sums that are checked: right answers are the reward, no preferences"
    }

    /// The labeller that stands for people; nil where answers are checked.
    var labeller: Labeller? { Labeller(rawValue: rawValue) }
  }

  /// The model.
  public static let model = "smollm2"

  /// What the job is made from.
  ///
  /// - Parameters:
  ///   - task: What the model is aligned to.
  ///   - seed: What the problems of a checked task follow from.
  /// - Throws: Nothing with the numbers of problems that are asked for here.
  public static func inputs(_ task: Task, seed: UInt64) throws -> RLHF.Inputs {
    let small = "The model has 135 million parameters. It states facts that are none"
    guard task.labeller == nil else {
      return RLHF.Inputs(
        model: model, prompts: QuickstartPrompts.train.map(row),
        heldOut: QuickstartPrompts.heldOut.map(row),
        title:
          "Attune quickstart: SmolLM2-135M-Instruct aligned with preferences (\(task.rawValue))",
        remark:
          "\(small), can't count or do sums, and loses the thread of a longer answer. This job changes how it "
          + "answers, not what it knows: nothing here rewards an answer for being true.")
    }
    var knobs = TaskSettings()
    (knobs.count, knobs.heldOut, knobs.shots, knobs.seed) = (384, 64, 3, seed)
    let problems = try TaskFile.rows(.sums, settings: knobs)
    return RLHF.Inputs(
      model: model, prompts: problems.training, heldOut: problems.heldOut,
      title: "Attune quickstart: SmolLM2-135M-Instruct and right answers (\(task.rawValue))",
      remark:
        "\(small), and this job teaches it one kind of problem, in the form of the three examples before each "
        + "question. It is no calculator: other numbers, other words or two steps, and it is wrong again."
    )
  }

  /// The recipe of a task.
  ///
  /// - Parameters:
  ///   - task: What the model is aligned to.
  ///   - sampler: Which numbers answers are drawn with, in every stage that draws some.
  public static func settings(_ task: Task, sampler: Sampler = .same) -> RLHFSettings {
    var settings = task.labeller == nil ? RLHFSettings.checkedQuickstart : .quickstart
    if let labeller = task.labeller { settings.label.labeller = labeller }
    settings.setSampling(sampler: sampler)
    return settings
  }

  private static func row(_ prompt: String) -> PromptRow {
    PromptRow(.messages([Message(role: "user", content: prompt)]))
  }

  /// The seed and folder of a run: those asked for, else the first seed whose run is not finished,
  /// so that the command again runs the job again, and an unfinished run goes on.
  ///
  /// - Parameters:
  ///   - task: What the model is aligned to.
  ///   - parent: The folder of all runs.
  ///   - seed: The seed asked for.
  /// - Returns: The seed, and the run's own folder, named by it and, other than the default, by the task.
  public static func place(
    _ task: Task, in parent: URL, seed: UInt64?
  ) -> (seed: UInt64, folder: URL) {
    let name = task == .standard ? "quickstart" : "quickstart-\(task.rawValue)"
    func folder(_ seed: UInt64) -> URL {
      parent.appending(path: "\(name)-\(seed)", directoryHint: .isDirectory)
    }
    if let seed { return (seed, folder(seed)) }
    var next: UInt64 = 1
    while FileManager.default.fileExists(
      atPath: folder(next).appending(path: "report.json").path)
    { next += 1 }
    return (next, folder(next))
  }
}
