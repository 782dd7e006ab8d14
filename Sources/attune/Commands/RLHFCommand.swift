// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

extension RLHF.Step: ExpressibleByArgument {
  /// Reads `policy` or `policy-2`.
  public init?(argument: String) { self.init(name: argument) }
  /// The stages of the first round.
  public static var allValueStrings: [String] { RLHF.Stage.allCases.map(\.rawValue) }
}

/// What the whole job prints when it is done, and which stages are redone.
struct JobOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Redo this stage and all after it; of a later round with its number: policy-2.",
      valueName: "stage"))
  var from: RLHF.Step?

  var options: RLHF.Options {
    var options = RLHF.Options()
    options.from = from
    options.say = Output.note
    return options
  }

  func show(_ report: Report, in folder: URL, _ shared: SharedOptions) throws {
    if shared.json { return try Output.json(report) }
    try Output.line("")
    try Output.line(report.terminalSummary)
    try Output.line("")
    try Output.line("Report: \(folder.appending(path: "report.html").path)")
  }
}

extension RLHF.Method: ExpressibleByArgument {}

extension SamplerOption {
  /// It as the knobs of every stage that samples.
  ///
  /// - Parameters:
  ///   - method: How the policy is trained; what learns from pairs alone samples nothing.
  ///   - grader: What checks answers; then none are drawn to be preferred.
  func knobs(_ method: RLHF.Method, grader: String?) -> KnobFlags {
    let samples = method.samples ? sampler : nil
    return [
      KnobOption("sample.sampler", as: "--sampler"): (grader ?? "").isEmpty ? sampler : nil,
      KnobOption("\(method.rawValue).sampler", as: "--sampler"): samples,
      KnobOption("evaluation.sampler", as: "--sampler"): sampler,
    ]
  }
}

struct RLHFCommand: TakesKnobs {
  static let knobDefaults = RLHFSettings()
  static let configuration = CommandConfiguration(
    commandName: "rlhf",
    abstract: "Samples, collects preferences, trains a reward model and the policy, and reports.",
    discussion: """
      Stages: \(RLHF.Stage.allCases.map(\.rawValue).joined(separator: ", ")). One that is done is \
      not done again; one that was made with other settings stops the command, which names them, \
      unless --from redoes it. Settings of a stage go by its name: --set ppo.rollouts=32. Every stage \
      samples at temperature \(RLHFSettings.temperature) (sample.temperature, METHOD.temperature, \
      evaluation.temperature), and log-probabilities and KL are taken at it.

      Methods:
      \(RLHF.Method.allCases.map { "\($0.rawValue): \($0.summary)" }.joined(separator: "\n"))

      With --grader a program checks answers: there are no preferences and no reward model, and --method is \
      one that samples.

      With --labeller judge an AI judge prefers (RLAIF) and decides the win rate.

      With --labeller human people do: the page of attune collect is served until enough comparisons \
      have a winner, in every round; then the run goes on. What was said is in the run's feedback.db, \
      and Ctrl-C and the same command go on from there.

      Example: attune rlhf --model smollm2 --data prompts.jsonl --output runs/mine
      With people: attune rlhf --model smollm2 --data prompts.jsonl --output runs/ours --labeller human
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: RowsOption

  @Option(
    help: ArgumentHelp("Prompts held out (default: a share of --data).", valueName: "file"),
    completion: .file())
  var evalData: String?

  @Option(
    help: ArgumentHelp(
      "Who prefers: \(Labeller.allCases.map(\.rawValue).joined(separator: ", ")) (default: concise), "
        + "judge: RLAIF with --judge, or human: people on a page.", valueName: "name"))
  var labeller: String?

  @Option(
    help: ArgumentHelp(
      "Comparisons with a winner that --labeller human waits for (default: 64).", valueName: "n"))
  var labels: Int?

  @OptionGroup var judge: JudgeOptions

  @Option(
    help: ArgumentHelp(
      "A reward that checks answers, as answer:number, in place of preferences and a reward model.",
      valueName: "source"))
  var grader: String?

  @Option(help: ArgumentHelp("How the policy is trained (default: ppo).", valueName: "name"))
  var method: RLHF.Method?

  @Option(help: ArgumentHelp("The run's folder.", valueName: "dir"), completion: .directory)
  var output: String

  @Flag(
    help:
      "Say what the stages that train would take, memory by part and time, and end: nothing is written."
  )
  var dryRun = false

  @OptionGroup var sampler: SamplerOption
  @OptionGroup var job: JobOptions
  #if Server
    @OptionGroup(title: "The page of --labeller human") var server: ServerOptions
  #endif
  @OptionGroup var shared: SharedOptions

  private static let human = "human"

  func validate() throws {
    guard labels == nil || labeller == Self.human else {
      throw ValidationError("--labels is of no use without --labeller human.")
    }
    #if Server
      guard !server.isGiven || labeller == Self.human else {
        throw ValidationError(
          "--port, --host, --token, --annotator and --guidelines are of no use without --labeller human."
        )
      }
    #endif
    guard (labeller == "judge") == !judge.judges.isEmpty else {
      throw ValidationError("--labeller judge and --judge go together.")
    }
    guard grader == nil || labeller == nil else {
      throw ValidationError("--grader checks answers: --labeller is of no use beside it.")
    }
    guard let labeller, ![Self.human, "judge"].contains(labeller),
      Labeller(rawValue: labeller) == nil
    else { return }
    let names = Labeller.allCases.map(\.rawValue) + ["judge", Self.human]
    throw ValidationError(
      "--labeller \(labeller): there is none of that name (\(names.joined(separator: ", "))).")
  }

  func run() throws {
    let isHuman = labeller == Self.human
    let settings = try settings(
      over: RLHFSettings.defaults(method ?? .ppo, judged: !judge.judges.isEmpty, people: isHuman),
      [
        "method": method,
        "label.labeller": judge.judges.isEmpty && !isHuman ? labeller : nil,
        "people.labels": labels, "grader": grader,
        "seed": shared.seed,
      ], judge.knobs(in: "judge."), sampler.knobs(method ?? .ppo, grader: grader))
    guard isHuman == settings.hasPeople else {
      throw ValidationError("--labeller human and people.labels above 0 go together.")
    }
    var options = job.options
    options.run.isDryRun = dryRun
    #if Server
      if isHuman {
        let page = PeoplePage(address: try server.address(), guidelines: server.guidelinesFile)
        options.people = { try page.ask($0) }
      }
    #else
      if isHuman { throw TrainingError.noPage }
    #endif
    let inputs = RLHF.Inputs(
      model: model.model, prompts: try data.read(takesPrompts: true).promptRows,
      heldOut: try evalData.map { try data.read($0, takesPrompts: true).promptRows })
    let engine = try shared.engine()
    let folder = URL(filePath: output, directoryHint: .isDirectory)
    let report = try RLHF.run(
      inputs, on: engine, settings: settings, output: folder, options: options)
    try job.show(report, in: folder, shared)
  }
}
