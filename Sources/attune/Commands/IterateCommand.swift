// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

extension IterateSettings.Pairs: ExpressibleByArgument {}

struct IterateCommand: TakesKnobs {
  static let knobDefaults = IterateSettings()
  static let configuration = CommandConfiguration(
    commandName: "iterate",
    abstract: "Aligns a policy on pairs of its own answers, in rounds or online (iterative DPO).",
    discussion: """
      A round samples answers from the policy as it is, ranks them by rewards or by a judge, and trains \
      on the pairs with any loss of attune dpo. Each round's pairs are kept in round-N/pairs.jsonl with \
      the model, scores and seed that they come from. With --online a round is one optimiser step. The \
      knobs of the loss are dpo.NAME, those of the judge judge.NAME; dpo.xpo_alpha adds XPO's bonus.

      Example: attune iterate --model smollm2 --data prompts.jsonl --reward labeller:concise \
      --rounds 3 --output runs/iterate
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var rewards: RewardOptions
  @OptionGroup var judge: JudgeOptions
  @OptionGroup var data: RowsOption

  @Option(help: ArgumentHelp("How often answers are sampled (default: 3).", valueName: "n"))
  var rounds: Int?

  @Flag(help: "A round is one optimiser step on a batch of fresh pairs.")
  var online = false

  @Option(help: ArgumentHelp("The loss of attune dpo (default: dpo).", valueName: "name"))
  var loss: PreferenceLoss?

  @Option(help: ArgumentHelp("What a nat of log-ratio is worth.", valueName: "x"))
  var beta: Double?

  @Option(help: ArgumentHelp("Answers to each prompt (default: 4).", valueName: "k"))
  var n: Int?

  @Option(help: ArgumentHelp("Most tokens of an answer (default: 48).", valueName: "n"))
  var maxTokens: Int?

  @Option(help: "Which pairs are made of ranked answers (default: best_worst).")
  var pairs: IterateSettings.Pairs?

  @Flag(help: "Each round's reference is the policy that it begins with.")
  var moveReference = false

  @Option(
    help: ArgumentHelp(
      "Take that share of each round's pairs from a fixed file of preferences.",
      valueName: "file@share"))
  var mix: String?

  @Option(help: ArgumentHelp("A source that is measured, not climbed.", valueName: "source"))
  var watch: String?

  @OptionGroup var sampler: SamplerOption
  @OptionGroup var output: TrainerOutputOptions
  @OptionGroup var training: TrainingOptions
  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard rewards.sources.isEmpty != judge.judges.isEmpty else {
      throw ValidationError("Give --reward or --judge: one of them ranks the answers.")
    }
    _ = try judge.settings(seed: nil)
    _ = try mixed
  }

  /// File and share of `--mix`.
  private var mixed: (file: String, share: Double)? {
    get throws {
      guard let mix else { return nil }
      guard let at = mix.lastIndex(of: "@"), at > mix.startIndex,
        let share = Double(mix[mix.index(after: at)...]), share > 0, share < 1
      else {
        throw ValidationError(
          "--mix \(mix): write FILE@SHARE with a share above 0 and below 1.")
      }
      return (String(mix[..<at]), share)
    }
  }

  func run() throws {
    let mixed = try mixed
    let settings = try settings(
      judge.knobs(in: "judge."),
      [
        "rounds": rounds, "online": online ? true : nil, "dpo.loss": loss, "dpo.beta": beta,
        KnobOption("samples_per_prompt", as: "--n"): n, "max_tokens": maxTokens, "pairs": pairs,
        "move_reference": moveReference ? true : nil,
        KnobOption("mix_share", as: "--mix"): mixed?.share,
        "seed": shared.seed, "sampler": sampler.sampler,
      ], training.knobs(in: "dpo."))
    let specifications = judge.judges.isEmpty ? try rewards.specifications : []
    let watched = try watch.map { try RewardSpecification($0).measured(by: "--watch") }
    let file = try data.read(carriesRows: true)
    Output.note(file.summary)
    let fixed = try mixed.map { try data.read($0.file, expecting: [.preference]) }
    let start = try model.open(shared)
    let answers = output.url.appending(path: RewardSources.answersFile)
    let sources = try RewardSources(
      specifications, on: start.engine, beside: start, answers: answers)
    let report = try Iterate.train(
      start, data: file, rewards: sources.weighted, rewardFingerprint: sources.fingerprint,
      watched: try watched.map {
        try RewardSources([$0], on: start.engine, beside: start, answers: answers).weighted[0]
          .source
      },
      mixed: fixed, settings: settings, output: output.url, options: output.options)
    if shared.json { try Output.json(report) } else { try Output.line(report.model) }
  }
}
