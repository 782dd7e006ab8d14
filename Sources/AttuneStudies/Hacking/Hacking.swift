// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneRewards
import AttuneTraining
public import Foundation

/// Reward hacking, shown: a policy that climbs a learned reward at β = 0 until the gold one falls, the
/// law of that (Gao et al. 2023), what an ensemble changes (Coste et al. 2024, arXiv:2310.02743), and
/// which alarm would have stopped it when.
public enum Hacking {
  /// Trains every policy, or those that are left, and reports.
  ///
  /// - Parameters:
  ///   - task: Start, prompts, preferences and labeller.
  ///   - engine: What computes models.
  ///   - settings: Method, budget, and the rules of ensembles.
  ///   - output: The folder.
  ///   - options: How it is watched.
  /// - Returns: The report, which is also in the folder as `hacking.html` and `hacking.json`.
  /// - Throws: An error that names what is at fault; `interrupted` after Ctrl-C with all that is done
  ///   kept.
  public static func run(
    _ task: AlignmentTask, on engine: any Engine, settings: HackingSettings, output: URL,
    options: Frontier.Options = .init()
  ) throws -> HackingReport {
    try settings.validate()
    let knobs = settings.point
    let gold = try task.gold()
    let trained = try task.promptCount
    guard let plan = try knobs.plans(prompts: trained).first else {
      throw TrainingError(.badSetting, "method: there is none")
    }
    try require(
      knobs.round <= task.settings.rounds, "policy.round",
      "at most that of the run (\(task.settings.rounds))")
    try AtomicFile.makeFolder(output)
    let lock = try FolderLock(output)
    defer { withExtendedLifetime(lock) {} }
    let start = try task.openStart(on: engine)
    let learned = try task.reward(ofRound: knobs.round, beside: start)

    var members = [learned]
    if !settings.rules.isEmpty {
      for number in 2...settings.members {
        members.append(
          try member(number, task: task, settings: settings, start: start, in: output, options))
      }
    }
    let rewards: [(name: String, folder: String, source: any RewardSource, digest: String)] =
      [("one reward model", "one", learned, learned.fingerprint)]
      + (try settings.rules.compactMap { rule in
        guard let parsed = EnsembleReward.Rule(rule) else { return nil }
        let source = try EnsembleReward(members, rule: parsed, name: "ensemble:\(rule)")
        return ("ensemble of \(members.count), \(rule)", rule, source, source.fingerprint)
      })
    let points = try rewards.map { reward in
      let folder = output.appending(path: "points/\(reward.folder)")
      let sources = try RewardSources(weighted: [(reward.source, 1)], fingerprint: reward.digest)
        .keeping(
          plan.settings.policyKnobs.constraints, on: start.engine, beside: start,
          answers: folder.appending(path: RewardSources.answersFile))
      return PolicyPoint(
        name: reward.name, settings: plan.settings,
        task: PolicyTask(
          start: start, prompts: task.prompts, rewards: sources.weighted,
          rewardFingerprint: sources.fingerprint, gold: gold,
          preferences: task.preferences(ofRound: knobs.round), heldOutPreferences: nil,
          output: PolicyPoint.policyFolder(in: folder), options: options.run),
        learned: learned, gold: gold, heldOutPrompts: task.heldOutPrompts,
        evaluation: knobs.evaluated, folder: folder)
    }
    for point in points { _ = try point.log(restart: options.restart) }

    options.say("the start's answers …")
    let answers = try StartAnswers(
      of: start, heldOut: task.heldOutPrompts, count: knobs.startAnswers, gold: gold,
      learned: learned, settings: knobs.evaluated, in: output, style: options.run.progress)
    var report = HackingReport(
      version: attuneVersion, date: ReportFiles.now(), run: task.folder.path, model: task.model,
      gold: gold.name, seed: settings.seed, method: plan.method.name, rollouts: knobs.rollouts,
      answersPerRollout: knobs.promptsPerRollout * knobs.samplesPerPrompt,
      maxTokens: knobs.maxTokens, prompts: answers.prompts.count,
      samplesPerPrompt: knobs.evaluation.n, confidence: knobs.evaluation.confidence,
      start: answers.model, arms: [])
    for (i, point) in points.enumerated() {
      let log = try point.run(against: answers, restart: options.restart) {
        options.say("[\(i + 1)/\(points.count)] \($0)")
      }
      let metrics = point.task.output.appending(path: "metrics.jsonl")
      // Training that failed in its first rollout has written none.
      let curve = (try? ReportFiles.points(of: [metrics])) ?? []
      report.arms.append(
        HackingReport.Arm(
          name: point.name, curve: curve, maximumLength: knobs.maxTokens, found: log.found,
          failure: log.failure))
      try report.write(to: output)
    }
    return report
  }

  /// A further reward model of the ensemble: as the run's own, with another seed and rows drawn anew.
  private static func member(
    _ number: Int, task: AlignmentTask, settings: HackingSettings, start: LoadedModel,
    in output: URL,
    _ options: Frontier.Options
  ) throws -> ModelReward {
    struct Note: Codable { var record: RunRecord }
    var knobs = task.settings.seeded.reward
    knobs.seed = knobs.seed &+ UInt64(number) &* 7919
    // How good each is by itself is not the matter here.
    knobs.evaluationGroups = 4
    let preferences =
      settings.bootstrap
      ? try drawn(
        from: task.preferences(ofRound: settings.policy.round), seed: knobs.seed,
        to: output.appending(path: "reward-\(number)-preferences.jsonl"))
      : task.preferences(ofRound: settings.policy.round)
    let record = try RunRecord(
      stage: "member", settings: knobs, model: start,
      inputs: [
        ("model", start.fingerprint), ("preferences", try Fingerprint.of(file: preferences)),
      ])
    let folder = output.appending(path: "reward-\(number)")
    let note = output.appending(path: "reward-\(number).json")
    let saved = try? JSONDecoder().decode(Note.self, from: try Data(contentsOf: note))
    if saved?.record != record {
      options.say("reward model \(number) of the ensemble …")
      var run = options.run
      run.restart = false
      _ = try run.inPart {
        try RewardModel.train(
          copy start, data: try DataFile.read(preferences),
          heldOut: try DataFile.read(task.heldOutPreferences), settings: knobs, output: folder,
          options: $0)
      }
      try AtomicFile.write(try JSONText.pretty(Note(record: record)), to: note)
    }
    return try ModelReward(
      try LoadedModel.open(folder.path, beside: start, rewardModels: true),
      name: "model:reward-\(number)")
  }

  /// As many rows as a file has, drawn from it with replacement.
  private static func drawn(from file: URL, seed: UInt64, to output: URL) throws -> URL {
    let rows = try DataFile.read(file).rows.map(\.json.text)
    let random = CounterRandom(seed: seed, 0xB007)
    let text = rows.indices.map { rows[random.below(rows.count, UInt64($0))] + "\n" }.joined()
    try AtomicFile.write(text, to: output)
    return output
  }
}
