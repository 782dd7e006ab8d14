// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneObjectives
public import AttuneTraining
public import Foundation

/// The knobs of `attune tasks`.
public struct TaskSettings: Settings {
  /// What a row's prompt is made of.
  public enum Form: String, CaseIterable, Codable, Sendable {
    /// Turns of a conversation, for models with a chat template.
    case chat
    /// A text, `Q: …` and `A:`, for models without.
    case text
  }

  /// Problems to train on.
  public var count = 256
  /// Problems that are held out.
  public var heldOut = 64
  /// How hard they are, from 1 to 5.
  public var difficulty = 1
  /// Problems with their answers that stand before each question.
  public var shots = 0
  /// What a prompt is.
  public var form = Form.chat
  /// What the problems follow from.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}
}

/// What writing a task came to: the object of `tasks --json`.
public struct TaskReport: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The task.
  public var task: String
  /// The file of problems to train on.
  public var output: String
  /// The file of held-out ones.
  public var heldOut: String?
  /// Problems to train on.
  public var rows: Int
  /// Problems held out.
  public var heldOutRows: Int
  /// The reward that knows the right answers.
  public var reward: String
}

/// Writes procedural tasks: what `attune tasks` does.
public enum TaskFile {
  /// Writes problems with their answers, each once, and others held out.
  ///
  /// No problem of one file is in the other, nor among the shots, also not in another order of its
  /// terms. The same seed gives the same problems; more of them begin with those.
  ///
  /// - Parameters:
  ///   - task: The task.
  ///   - settings: The knobs.
  ///   - output: The file of problems to train on.
  ///   - heldOut: The file of those held out; nil: none are.
  /// - Returns: What it came to.
  /// - Throws: `TrainingError` where there are not so many problems, or files are one.
  public static func write(
    _ task: ProceduralTask, settings: TaskSettings, to output: URL, heldOut: URL? = nil
  ) throws -> TaskReport {
    try settings.validate()
    guard heldOut?.standardizedFileURL != output.standardizedFileURL else {
      throw TrainingError(
        .badSetting, "\(output.path): problems and held-out problems can't be one file")
    }
    var settings = settings
    if heldOut == nil { settings.heldOut = 0 }
    let rows = try rows(task, settings: settings)
    func write(_ rows: [PromptRow], _ url: URL) throws {
      try AtomicFile.write(rows.map { $0.json.text + "\n" }.joined(), to: url)
    }
    try write(rows.training, output)
    if let heldOut { try write(rows.heldOut, heldOut) }
    return TaskReport(
      task: task.rawValue, output: output.path, heldOut: heldOut?.path, rows: rows.training.count,
      heldOutRows: rows.heldOut.count, reward: task.reward)
  }

  /// The problems, each with its answer in the column `answer`.
  ///
  /// - Throws: `TrainingError` where there are not so many.
  static func rows(
    _ task: ProceduralTask, settings: TaskSettings
  ) throws -> (training: [PromptRow], heldOut: [PromptRow]) {
    // Shots come first and held-out problems next, so that both stay what they are when count grows.
    let problems = try problems(
      task, settings.shots + settings.heldOut + settings.count, settings: settings)
    let shots = problems.prefix(settings.shots)
    func rows(_ problems: ArraySlice<ProceduralTask.Problem>) -> [PromptRow] {
      problems.map { row($0, behind: shots, task, settings) }
    }
    return (
      rows(problems.dropFirst(settings.shots + settings.heldOut)),
      rows(problems.dropFirst(settings.shots).prefix(settings.heldOut))
    )
  }

  /// Different problems.
  private static func problems(
    _ task: ProceduralTask, _ count: Int, settings: TaskSettings
  ) throws -> [ProceduralTask.Problem] {
    var (seen, problems) = (Set<String>(), [ProceduralTask.Problem]())
    var (draws, misses) = (UInt64(0), 0)
    while problems.count < count {
      var draw = TaskDraw(CounterRandom(seed: settings.seed, draws, UInt64(settings.difficulty)))
      draws += 1
      let problem = task.problem(settings.difficulty, &draw)
      if seen.insert(problem.key).inserted {
        problems.append(problem)
        misses = 0
        continue
      }
      misses += 1
      guard misses < 20_000 else {
        throw TrainingError(
          .badSetting,
          "\(task.rawValue) of difficulty \(settings.difficulty) has about \(problems.count) different "
            + "problems, and \(count) are asked for; lower count or held_out, or raise difficulty")
      }
    }
    return problems
  }

  private static func row(
    _ problem: ProceduralTask.Problem, behind shots: ArraySlice<ProceduralTask.Problem>,
    _ task: ProceduralTask, _ settings: TaskSettings
  ) -> PromptRow {
    let prompt: Content
    switch settings.form {
    case .chat:
      prompt = .messages(
        shots.flatMap {
          [
            Message(role: "user", content: $0.question),
            Message(role: "assistant", content: $0.answer),
          ]
        } + [Message(role: "user", content: problem.question)])
    case .text:
      prompt = .text(
        shots.map { "Q: \($0.question)\nA: \($0.answer)\n\n" }.joined()
          + "Q: \(problem.question)\nA:")
    }
    return PromptRow(
      prompt,
      fields: [
        .init("answer", .string(problem.answer)), .init("task", .string(task.rawValue)),
        .init("difficulty", .int(settings.difficulty)),
      ])
  }
}
