// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneStudies
import AttuneTraining
import Foundation

struct HackingCommand: TakesKnobs {
  static let knobDefaults = HackingSettings()
  static let configuration = CommandConfiguration(
    commandName: "hacking",
    abstract:
      "Shows reward hacking: a learned reward climbed at β = 0 while the gold one is measured.",
    discussion: """
      Start, prompts, reward model, preferences and labeller are those of a finished run. One policy \
      climbs its reward model, others an ensemble of several by a rule (min, mean, mean-1std), whose \
      further members are trained here with other seeds. For each: both rewards over training and over \
      √KL, the law R(d) = d·(α − γ·log d) fitted to them with its errors, and the first rollout at which \
      each alarm was raised. Documentation/RewardHacking.md says more.

      Alarms, which every trainer that samples raises as warnings:
      \(RolloutAlarm.allCases.map { "  \($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      Settings of the policies go by their path: --set policy.rloo.learning_rate=5e-4.

      Example: attune hacking --run runs/quickstart-1 --output runs/hacking
      """)

  @OptionGroup var task: TaskOptions

  @Option(
    help: ArgumentHelp("A method that samples in rollouts (default: rloo).", valueName: "name"))
  var method: String?

  @Option(help: ArgumentHelp("Rollouts of each policy (default: 30).", valueName: "n"))
  var rollouts: Int?

  @Option(
    help: ArgumentHelp(
      "Rules of ensembles, commas between; none for none (default: min,mean-1std).",
      valueName: "list"))
  var rules: String?

  @Option(help: ArgumentHelp("Reward models of an ensemble (default: 3).", valueName: "n"))
  var members: Int?

  @OptionGroup var shared: SharedOptions

  func run() throws {
    let opened = try task.task()
    let settings = try settings(
      over: HackingSettings.defaults(opened),
      [
        "method": method, "policy.rollouts": rollouts,
        "rules": rules.map { $0 == "none" ? [] : list($0) }, "members": members,
        "seed": shared.seed,
      ])
    let report = try Hacking.run(
      opened, on: shared.engine(), settings: settings, output: task.folder, options: task.options)
    if shared.json { return try Output.json(report) }
    try Output.write(report.text)
    try Output.line("Page: \(task.folder.appending(path: "hacking.html").path)")
  }
}
