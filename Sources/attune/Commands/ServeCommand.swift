// SPDX-License-Identifier: Apache-2.0

#if Server
  import ArgumentParser
  import AttuneData
  import AttuneEngine
  import AttuneObjectives
  import AttuneServer
  import AttuneStore
  import AttuneStudies
  import AttuneTraining
  import Foundation

  /// What serving came to: the object of `serve --json`.
  struct ServeReport: Encodable {
    var formatVersion = 1
    /// Requests for completions.
    var requests: Int
    /// Answers that ended.
    var answers: Int
    /// Tokens that were drawn.
    var tokens: Int
    /// What aligning came to; nil where nothing was aligned.
    var align: PolicyProgress?

    /// The report for people.
    var text: String {
      "\(requests) requests, \(answers) answers, \(tokens) tokens"
        + (align.map { $0.text.isEmpty ? "" : "\n\($0.text)" } ?? "")
    }
  }

  struct ServeCommand: TakesKnobs {
    static let knobDefaults = ServeRecipe()
    static let configuration = CommandConfiguration(
      commandName: "serve",
      abstract: "Serves a model to its users: OpenAI's interface, a chat page, and feedback.",
      discussion: """
        /v1/chat/completions, /v1/completions, /v1/models and /health as OpenAI's clients know them, at \
        http://127.0.0.1:8000/v1; a chat page at http://127.0.0.1:8000/. Many requests are answered side by \
        side. A field that is not honoured is an error that names it. Documentation/Serving.md has the fields.

        With --store answers are kept, and what users say of them: by the page (thumbs, a reason, the \
        better of two drafts, an edited answer) or by POST /v1/feedback with the id that a response \
        carried. collect, feedback export, rlhf and dpo go on from the store.

        With --align a policy is trained from the model whenever users have made --align-every further \
        choices; it then answers, and M@K is policy K by name (0: the model). --policy K goes back to an \
        earlier one. Between training steps requests are answered.

        It serves this machine alone. With --host others need the key (--api-key, else a random one that is \
        printed). Ctrl-C ends it.

        Examples: attune serve --model smollm2
          attune serve --model smollm2 --adapter polite=runs/polite --store feedback.db --align dpo
        """)

    @Option(
      help: ArgumentHelp(
        "A directory, a .gguf file, or a pulled name; NAME=M serves it under a name.",
        valueName: "m"),
      completion: .directory)
    var model: String

    @Option(
      name: .customLong("adapter"),
      help: ArgumentHelp(
        "An adapter, or a model trained from it, beside it; requests choose it by NAME (default: the "
          + "folder's); repeatable.", valueName: "name=dir"),
      completion: .directory)
    var adapters: [String] = []

    @Option(
      help: ArgumentHelp("Keep answers and feedback here (SQLite).", valueName: "file"),
      completion: .file())
    var store: String?

    @OptionGroup var place: AddressOptions

    @Option(
      help: ArgumentHelp(
        "The key that requests have to show, 16 characters or more.", valueName: "key"))
    var apiKey: String?

    @Option(
      help: ArgumentHelp(
        "An origin whose pages may ask (https://example.org; * is any); repeatable (default: none).",
        valueName: "origin"))
    var cors: [String] = []

    @Option(help: ArgumentHelp("Answers decoded side by side (default: 32).", valueName: "n"))
    var sequences: Int?

    @Option(
      help: ArgumentHelp(
        "Most tokens of a prompt and its answer (default: what the model reads and fits).",
        valueName: "n"
      ))
    var context: Int?

    @Option(help: ArgumentHelp("Requests that may wait (default: 128).", valueName: "n"))
    var queue: Int?

    @OptionGroup var sampler: SamplerOption

    @OptionGroup var align: AlignOptions

    @OptionGroup var shared: SharedOptions

    func validate() throws {
      guard align.loss == nil || store != nil else {
        throw ValidationError("--align learns from a store: give --store.")
      }
      if let apiKey, apiKey.utf8.count < 16 || apiKey.utf8.count > 256 {
        throw ValidationError("--api-key: give 16 to 256 bytes.")
      }
      for origin in cors where origin != "*" {
        guard let url = URL(string: origin), url.scheme != nil, url.host() != nil,
          url.path().isEmpty
        else {
          throw ValidationError("--cors \(origin): give an origin, as https://example.org, or *.")
        }
      }
      let names = Self.names(model, adapters)
      if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
        throw ValidationError("Two models are called \(twice): give NAME=DIR.")
      }
      if let bad = names.first(where: { $0.isEmpty || $0.contains("@") }) {
        throw ValidationError("\"\(bad)\" is no name for a model: give NAME=DIR, without @.")
      }
    }

    func run() throws {
      let own: KnobFlags = ["sequences": sequences, "context": context, "queue": queue]
      var recipe = ServeRecipe()
      if align.loss != nil {
        recipe = try settings(
          own, align.flags, [KnobOption("align.dpo.seed", as: "--seed"): shared.seed])
      } else {
        recipe.serve = try settings(over: ServeSettings(), own)
      }
      let address = try place.address(port: 8000, token: apiKey)
      let service = try ModelService(
        recipe.serve, store: try store.map { try FeedbackStore(URL(filePath: $0)) })
      let engine = try shared.engine()
      let start = try LoadedModel.open(Self.place(model), on: engine)
      let names = Self.names(model, adapters)
      let beside = try adapters.map {
        try LoadedModel.open(Self.place($0), on: engine, beside: start)
      }
      var rounds: PolicyRounds?
      if align.loss != nil, let feedback = service.store, let store {
        let series = try PolicySeries(
          start, settings: recipe.align, in: align.folder(store: store), policy: align.policy,
          labels: try feedback.decidedCount())
        rounds = try PolicyRounds(
          series, count: { try feedback.decidedCount() },
          rows: { try feedback.preferences().map { $0.text + "\n" }.joined() },
          tell: { service.setPolicies($0) })
      }
      let served = ServedPolicies(
        Array(zip(names, [start] + beside)).map { (name: $0.0, loaded: $0.1) },
        series: rounds?.series)
      let worker = ModelWorker(
        service, sampler: sampler.sampler ?? .same, resolve: served.resolve,
        compared: served.compared, open: served.open)
      // Before anybody asks: the memory is there, or the command says that it is not.
      let room = try worker.context(served.resolve(names[0]))
      service.setModels(served.list(context: room))
      try PageServer.serve(service, at: address, origins: Set(cors)) { server in
        defer { worker.close() }
        Output.note(
          "Serving \(names.joined(separator: ", ")), \(room ?? 0) tokens a text. The interface: "
            + "\(server.url)v1")
        if let key = address.token, apiKey == nil { Output.note("The key: \(key)") }
        Output.note("The chat page:")
        server.showLinks()
        do {
          while !Interrupt.isRequested {
            if try rounds?.isDue() ?? false {
              if try rounds?.train(shouldStop: worker.servesBetweenSteps()) == .trained {
                service.setModels(served.list(context: room))
              }
            } else if try !worker.step() {
              service.queue.wait(seconds: 0.05)
            }
          }
        } catch let error as TrainingError where error.code == .interrupted {}
      }
      let report = ServeReport(
        requests: worker.totals.requests, answers: worker.totals.answers,
        tokens: worker.totals.tokens, align: try service.alignment())
      if shared.json { try Output.json(report) } else { try Output.line(report.text) }
    }

    /// The names that requests know models by.
    private static func names(_ model: String, _ adapters: [String]) -> [String] {
      ([model] + adapters).map { given in
        if let mark = given.firstIndex(of: "="), !FileManager.default.fileExists(atPath: given) {
          return String(given[..<mark])
        }
        return URL(filePath: given).lastPathComponent
      }
    }

    /// What a name stands before.
    private static func place(_ given: String) -> String {
      guard let mark = given.firstIndex(of: "="), !FileManager.default.fileExists(atPath: given)
      else { return given }
      return String(given[given.index(after: mark)...])
    }
  }
#else
  import ArgumentParser
  import AttuneTraining

  /// What stands for the server in a build without the trait `Server`.
  struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "serve", abstract: "Not in this build; make build brings it.")

    @Argument(parsing: .captureForPassthrough)
    var rest: [String] = []

    func run() throws { throw TrainingError.noPage }
  }
#endif
