// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining

extension ReinforceSettings.Baseline: ExpressibleByArgument {}
extension ReinforceSettings.KLPlace: ExpressibleByArgument {}

struct ReinforceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reinforce",
    abstract: "Aligns a policy with a reward by the policy gradient itself (REINFORCE).",
    discussion: """
      A rollout is one optimiser step. A return is held against a baseline:
      \(ReinforceSettings.Baseline.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      --kl reward puts the KL term in each token's reward, which reaches the optimum of \
      E r − β·KL(π‖ρ); --kl loss puts it in the loss. \(KLTermOptions.table)

      \(OnlineOptions.sources)

      Example: attune reinforce --model smollm2 --reward labeller:concise --data prompts.jsonl \
      --output runs/reinforce
      """)

  @OptionGroup var online: OnlineOptions

  @Option(help: ArgumentHelp("Default: running_mean.", valueName: "name"))
  var baseline: ReinforceSettings.Baseline?

  @Option(help: ArgumentHelp("Where the KL term is (default: reward).", valueName: "place"))
  var kl: ReinforceSettings.KLPlace?

  @OptionGroup var term: KLTermOptions

  func run() throws {
    let settings = try online.settings(
      ReinforceSettings(),
      [
        "baseline": baseline, "kl": kl, "kl_estimator": term.klEstimator,
        "kl_per_sequence": term.klPerSequence,
        "kl_ratio_weighted": term.klRatioWeighted ? true : nil,
      ])
    let opened = try online.open()
    let report = try Reinforce.train(
      opened.start, data: opened.data, rewards: opened.rewards.weighted,
      rewardFingerprint: opened.rewards.fingerprint, watched: opened.watched, settings: settings,
      output: online.output.url, options: online.output.options)
    try online.show(report)
  }
}
