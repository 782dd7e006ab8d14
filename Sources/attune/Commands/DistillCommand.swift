// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneObjectives
import AttuneStudies
import AttuneTraining

extension DistillationLoss: ExpressibleByArgument {}
extension DistillSettings.Tokens: ExpressibleByArgument {}

struct DistillCommand: OnlineCommand {
  static let climbsReward = false
  static let configuration = CommandConfiguration(
    commandName: "distill",
    abstract:
      "Brings a policy to a teacher's distribution: another model, or itself under other words.",
    discussion: """
      \(DistillationLoss.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      The teacher's tokens must be the policy's. With --teacher same --teacher-system TEXT the policy \
      learns to answer as it would under TEXT, without it. FILE holds prompts, or samples (attune sample), \
      whose answers then take the place of the policy's own, in gkd and sequence of the teacher's. Rows of \
      --eval-data are answered on the way, and the KL from the teacher is taken on those answers.

      A --reward is measured, not climbed; without one the reward of an answer is log T/π_ref.

      Example: attune distill --model smollm2 --teacher same --teacher-system "Answer in one short sentence." \
      --data prompts.jsonl --eval-data heldout.jsonl --output runs/distill
      """)

  @OptionGroup var online: OnlineOptions<Distill>

  @Option(
    help: ArgumentHelp("A model, or same: the one that the policy starts from.", valueName: "m"),
    completion: .directory)
  var teacher: String?

  @Option(help: ArgumentHelp("What the teacher alone is told.", valueName: "text"))
  var teacherSystem: String?

  @Option(help: ArgumentHelp("The method (default: reverse_kl).", valueName: "name"))
  var method: DistillationLoss?

  @Option(
    help: ArgumentHelp("Tokens of reverse_kl: all, or sampled (default: all).", valueName: "name"))
  var tokens: DistillSettings.Tokens?

  @Option(help: ArgumentHelp("Answers to each prompt.", valueName: "n"))
  var samplesPerPrompt: Int?

  func run() throws {
    try train([
      "teacher": teacher, "teacher_system": teacherSystem, "method": method, "tokens": tokens,
      "samples_per_prompt": samplesPerPrompt,
    ])
  }
}
