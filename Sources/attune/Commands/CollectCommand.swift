// SPDX-License-Identifier: Apache-2.0

#if Server
  import ArgumentParser
  import AttuneData
  import AttuneObjectives
  import AttuneServer
  import AttuneStore
  import AttuneRewards
  import AttuneStudies
  import AttuneTraining
  import Foundation

  extension CollectSettings.Shape: ExpressibleByArgument {}

  struct CollectCommand: TakesKnobs {
    static let knobDefaults = CollectRecipe()
    static let configuration = CommandConfiguration(
      commandName: "collect",
      abstract: "Serves a web page on which people give preferences.",
      discussion: """
        Two answers side by side, without the models' names and in random order: ← → for the better \
        one, ↓ for a tie, x if both are bad, u to undo, s to skip. An answer is on the disk before \
        the page says so. People can look through what they said and change it; --guidelines stands \
        beside the question. Ctrl-C ends it; the same command goes on where it was. One process at a \
        time asks out of a store.

        It serves this machine alone, at http://127.0.0.1:8642/. With --host it serves others too, \
        who need the link that is printed: it holds the token.

        With --model and --prompts answers are sampled ahead while people work; those that the store \
        has are not sampled again. With --reward what a reward model is least sure of is asked first, \
        with several what they disagree on.

        With --align a policy is trained whenever there are --align-every further comparisons with a \
        winner: in the background, from the model, on everything compared so far. It then answers, and \
        on a share of the prompts people compare it with the one before, blind; the progress page tells \
        its win rate. Policies are in --policies; the same command goes on with the latest, --policy K \
        goes back to an earlier one (0: the model). Any knob of a round by its name: \
        --set align.dpo.epochs=2.

        Examples: attune collect --samples samples.jsonl --store feedback.db
          attune collect --model smollm2 --prompts prompts.jsonl --store feedback.db --align dpo
        """)

    @Option(
      help: ArgumentHelp("Answers to ask about (attune sample); repeatable.", valueName: "file"),
      completion: .file())
    var samples: [String] = []

    @Option(
      name: .customLong("model"),
      help: ArgumentHelp(
        "A model that answers --prompts while people work; repeatable.", valueName: "m"),
      completion: .directory)
    var models: [String] = []

    @Option(
      help: ArgumentHelp("Any data file with prompts, for the models.", valueName: "file"),
      completion: .file())
    var prompts: String?

    @OptionGroup var columns: ColumnOptions

    @Option(
      help: ArgumentHelp(
        "Answers of each model to a prompt (default: as many as a question needs).", valueName: "k")
    )
    var n: Int?

    @Option(help: ArgumentHelp("Most tokens of a model's answer (default: 256).", valueName: "n"))
    var maxTokens: Int?

    @Option(
      help: ArgumentHelp(
        "0 takes the most probable token (default: \(RLHFSettings.temperature)).", valueName: "t"))
    var temperature: Double?

    @Option(help: ArgumentHelp("Questions kept ahead of people (default: 32).", valueName: "n"))
    var ahead: Int?

    @Option(
      name: .customLong("reward"),
      help: ArgumentHelp(
        "Ask first what it is least sure of: model:DIR or labeller:NAME; repeatable.",
        valueName: "source"))
    var rewards: [String] = []

    @OptionGroup var store: StoreOption

    @Option(name: .customLong("as"), help: "What people are asked (default: pairs).")
    var shape: CollectSettings.Shape?

    @Option(help: ArgumentHelp("People that each question goes to (default: 1).", valueName: "n"))
    var votes: Int?

    @Option(
      help: ArgumentHelp("Comparisons with a known answer, mixed in.", valueName: "file"),
      completion: .file())
    var gold: String?

    @Option(help: ArgumentHelp("Share of gold questions (default: 0.1).", valueName: "x"))
    var goldShare: Double?

    @Option(help: ArgumentHelp("Pairs of each prompt (default: all).", valueName: "n"))
    var pairsPerPrompt: Int?

    @Option(
      help: ArgumentHelp(
        "Ask by a second key how much better, in n steps (default: do not ask).", valueName: "n"))
    var strengths: Int?

    @OptionGroup var align: AlignOptions

    @OptionGroup var server: ServerOptions

    @Option(
      help: ArgumentHelp(
        "What attune reward --json said: the progress page shows its curve.", valueName: "file"),
      completion: .file(extensions: ["json"]))
    var curve: String?

    @Option(help: ArgumentHelp("Estimate how many labels it needs.", valueName: "x"))
    var accuracy: Double?

    @OptionGroup var shared: SharedOptions

    func validate() throws {
      if let accuracy, !(accuracy > 0 && accuracy < 1) {
        throw ValidationError("--accuracy \(accuracy): give a share above 0 and below 1.")
      }
      guard !samples.isEmpty || !models.isEmpty else {
        throw ValidationError("Give --samples, or --model with --prompts.")
      }
      guard models.isEmpty == (prompts == nil) else {
        throw ValidationError("--model and --prompts go together.")
      }
      if models.isEmpty {
        guard n == nil, maxTokens == nil, temperature == nil, ahead == nil else {
          throw ValidationError(
            "--n, --max-tokens, --temperature and --ahead are of no use without --model.")
        }
      }
      if align.loss != nil {
        guard models.count == 1, samples.isEmpty else {
          throw ValidationError("--align needs one --model with --prompts, and no --samples.")
        }
        guard shape != .thumbs else {
          throw ValidationError(
            "--align learns from comparisons: --as pairs or rankings. For thumbs there is attune kto, "
              + "after attune feedback export --format unpaired.")
        }
      }
      if let ahead, ahead < 1 { throw ValidationError("--ahead \(ahead): give at least 1.") }
      guard curve != nil || accuracy == nil else {
        throw ValidationError("--accuracy is of no use without --curve.")
      }
      guard gold != nil || goldShare == nil else {
        throw ValidationError("--gold-share is of no use without --gold.")
      }
    }

    func run() throws {
      let own: KnobFlags = [
        KnobOption("shape", as: "--as"): shape, "votes": votes, "gold_share": goldShare,
        "pairs_per_prompt": pairsPerPrompt, "strengths": strengths, "seed": shared.seed,
      ]
      var recipe = CollectRecipe()
      if align.loss != nil {
        recipe = try settings(own, align.flags)
      } else {
        recipe.collect = try settings(over: CollectSettings(), own)
      }
      let settings = recipe.collect
      let address = try server.address()
      let collector = try Collector(
        settings, store: try FeedbackStore(store.url), curve: curve.map { URL(filePath: $0) },
        accuracy: accuracy, guidelines: server.guidelinesFile)
      if !samples.isEmpty { try collector.addSamples(samples.map { URL(filePath: $0) }) }
      if let gold, let warning = try collector.addGold(URL(filePath: gold)) {
        Output.note("warning: \(warning)")
      }
      let step = try worker(collector, recipe)
      try PageServer.serve(collector, at: address) { server in
        server.showLinks()
        // Models work on this thread; the server has threads of its own.
        do {
          while !Interrupt.isRequested {
            if try !step() { Thread.sleep(forTimeInterval: 0.05) }
          }
        } catch let error as TrainingError where error.code == .interrupted {}
      }
      var report = collector.report()
      report.align = try collector.alignment()
      if shared.json { try Output.json(report) } else { try Output.line(report.text) }
    }

    /// What keeps the page in questions: models that answer, reward models that say what to ask.
    ///
    /// - Returns: Does one piece of the work; says whether there was any.
    private func worker(
      _ collector: Collector, _ recipe: CollectRecipe
    ) throws -> () throws -> Bool {
      var questions: [Content] = []
      var opened: [LoadedModel] = []
      var sampling = SampleSettings()
      if let prompts {
        questions = try columns.read([prompts], use: ColumnUse(carriesRows: true)).prompts
        sampling.n = n ?? collector.settings.answersOfEach(models.count)
        sampling.maxTokens = maxTokens ?? 256
        sampling.temperature = temperature ?? RLHFSettings.temperature
        sampling.seed = shared.seed ?? 0
        try sampling.validate()
        let engine = try shared.engine()
        opened = try models.map { try LoadedModel.open($0, on: engine) }
      }
      let specifications = try rewards.map { try RewardSpecification($0) }
      let scorer =
        specifications.isEmpty
        ? nil
        : try RewardScorer(
          try RewardSources(
            specifications, on: shared.engine(), beside: opened.first,
            answers: URL(filePath: store.store + ".judged")),
          files: (samples + (prompts.map { [$0] } ?? [])).map { URL(filePath: $0) })
      if align.loss != nil {
        var settings = recipe.align
        settings.dpo.seed = shared.seed ?? 0
        var aligner = try Aligner(
          collector,
          try PolicySeries(
            opened[0], settings: settings, in: align.folder(store: store.store),
            policy: align.policy, labels: try collector.decided()),
          prompts: questions, sampling: sampling, n: n, scorer: scorer, ahead: ahead ?? 32)
        return { try aligner.step() }
      }
      var feed = try Feed(
        collector, prompts: questions,
        answerer: opened.isEmpty ? nil : try ModelAnswerer(opened, sampling), scorer: scorer,
        ahead: ahead ?? 32)
      return { try feed.step() }
    }
  }
#else
  import ArgumentParser
  import AttuneRewards
  import AttuneStudies
  import AttuneTraining

  /// What stands for the page in a build without the trait `Server`.
  struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "collect", abstract: "Not in this build; make build brings it.")

    @Argument(parsing: .captureForPassthrough)
    var rest: [String] = []

    func run() throws { throw TrainingError.noPage }
  }
#endif
