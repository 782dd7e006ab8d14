// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneRewards
public import AttuneTraining
public import Foundation

/// The reward–KL frontier: several methods from one start on one task at several β, as in the paper of
/// DPO (Rafailov et al. 2023, section 6.1), with best-of-n beside them.
public enum Frontier {
  /// How a frontier is watched.
  public struct Options: Sendable {
    /// Whether points that failed, or were made with other settings, are made anew.
    public var restart = false
    /// How trainers are watched and stopped.
    public var run = RunOptions()
    /// Told what is going on, a line at a time.
    public var say: @Sendable (String) -> Void = { _ in }

    /// The defaults.
    public init() {}
  }

  /// Makes every point, or those that are left. The report is written anew after each.
  ///
  /// - Parameters:
  ///   - task: Start, prompts, rewards and collected answers.
  ///   - engine: What computes models.
  ///   - settings: Methods, β, budget, and the knobs of each method.
  ///   - output: The frontier's folder.
  ///   - options: How it is watched.
  /// - Returns: The report, which is also in the folder as `frontier.html` and `frontier.json`.
  /// - Throws: An error that names what is at fault; `interrupted` after Ctrl-C with all that is done
  ///   kept. Training that diverges is a failed point, and the others are made.
  public static func run(
    _ task: AlignmentTask, on engine: any Engine, settings: FrontierSettings, output: URL,
    options: Options = Options()
  ) throws -> FrontierReport {
    try settings.validate()
    let gold = try task.gold()
    let collected = try task.collectedAnswers
    let trained = try task.promptCount
    let plans = try settings.plans(prompts: trained)
    try require(
      settings.round <= task.settings.rounds, "round",
      "at most that of the run (\(task.settings.rounds))")
    try AtomicFile.makeFolder(output)
    let lock = try FolderLock(output)
    defer { withExtendedLifetime(lock) {} }
    let start = try task.openStart(on: engine)
    let learned = try task.reward(ofRound: settings.round, beside: start)

    let pairs = output.appending(path: "pairs.jsonl")
    var pairCount: Int?
    if plans.contains(where: { $0.method.method.readsPreferences }) {
      pairCount = try Labelling.run(
        DataFile.read(task.startSamples, expecting: [.samples]),
        settings: task.pairSettings(perPrompt: settings.pairsPerPrompt), output: pairs
      ).summary.pairs
    }
    let points = try plans.map { plan in
      let folder = output.appending(path: "points/\(plan.folder)")
      let sources = try RewardSources(weighted: [(learned, 1)], fingerprint: learned.fingerprint)
        .keeping(
          plan.settings.policyKnobs.constraints, on: start.engine, beside: start,
          answers: folder.appending(path: RewardSources.answersFile))
      return PolicyPoint(
        name: plan.name, settings: plan.settings,
        task: PolicyTask(
          start: start, prompts: task.prompts, rewards: sources.weighted,
          rewardFingerprint: sources.fingerprint, gold: gold, preferences: pairs,
          heldOutPreferences: nil, output: PolicyPoint.policyFolder(in: folder),
          options: options.run),
        learned: learned, gold: gold, heldOutPrompts: task.heldOutPrompts,
        evaluation: settings.evaluated, folder: folder)
    }
    // What was made otherwise is told before anything is computed.
    for point in points { _ = try point.log(restart: options.restart) }
    for plan in plans where plan.beta == nil {
      options.say("\(plan.name) reads no β: it has one point")
    }
    if !settings.rewards.constraints.isEmpty {
      for plan in plans where plan.settings.policyKnobs.constraints.isEmpty {
        options.say("warning: \(plan.name) keeps to no constraint: it climbs no reward in rollouts")
      }
    }

    options.say("the start's answers …")
    let answers = try StartAnswers(
      of: start, heldOut: task.heldOutPrompts, count: settings.startAnswers, gold: gold,
      learned: learned, settings: settings.evaluated, in: output, style: options.run.progress)
    let answersPerRollout = settings.promptsPerRollout * settings.samplesPerPrompt
    var report = FrontierReport(
      version: attuneVersion, date: ReportFiles.now(), run: task.folder.path, model: task.model,
      gold: gold.name, seed: settings.seed,
      budget: .init(
        rollouts: settings.rollouts, answersPerRollout: answersPerRollout,
        answers: settings.budget(prompts: trained).answers, maxTokens: settings.maxTokens,
        collectedAnswers: collected.answers, pairs: pairCount),
      prompts: answers.prompts.count, samplesPerPrompt: settings.evaluation.n,
      confidence: settings.evaluation.confidence, start: answers.model,
      bestOfN: answers.bestOfN(
        confidence: settings.evaluation.confidence, seed: settings.evaluated.seed),
      points: [], missing: plans.map(\.name))
    for (i, (plan, point)) in zip(plans, points).enumerated() {
      let log = try point.run(against: answers, restart: options.restart) {
        options.say("[\(i + 1)/\(plans.count)] \($0)")
      }
      report.points.append(
        FrontierReport.Point(
          method: plan.method.name, beta: plan.beta, folder: "points/\(plan.folder)",
          found: log.found, failure: log.failure, answers: plan.settings.policyKnobs.sampledAnswers)
      )
      report.missing.removeFirst()
      report.markUndominated()
      try report.write(to: output)
    }
    return report
  }
}
