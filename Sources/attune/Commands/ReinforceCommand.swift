// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining

extension ReinforceSettings.Baseline: ExpressibleByArgument {}
extension ReinforceSettings.KLPlace: ExpressibleByArgument {}

struct ReinforceCommand: OnlineCommand {
  static let configuration = CommandConfiguration(
    commandName: "reinforce",
    abstract: "Aligns a policy with a reward by the policy gradient itself (REINFORCE).",
    discussion: """
      A rollout is one optimiser step. A return is held against a baseline:
      \(ReinforceSettings.Baseline.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      --kl reward puts the KL term in each token's reward, which reaches the optimum of \
      E r − β·KL(π‖ρ); --kl loss puts it in the loss. \(KLTermOptions.table)

      \(RewardOptions.note)

      Example: attune reinforce --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/reinforce
      """)

  @OptionGroup var online: OnlineOptions<Reinforce>

  @Option(help: ArgumentHelp("Default: running_mean.", valueName: "name"))
  var baseline: ReinforceSettings.Baseline?

  @Option(help: ArgumentHelp("Where the KL term is (default: reward).", valueName: "place"))
  var kl: ReinforceSettings.KLPlace?

  @OptionGroup var term: KLTermOptions

  func run() throws {
    try train(["baseline": baseline, "kl": kl], term.knobs)
  }
}
