// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneData
  import AttuneEngine
  import AttuneServer
  import AttuneTraining
  import Foundation

  /// Answers the requests of a service by models, a token of every answer at a time, all on one thread.
  final class ModelWorker {
    /// A model under a name, with what decodes it once it is asked for.
    private final class Served {
      let name: String
      let loaded: LoadedModel
      let encoder: TextEncoder
      var decoder: (any ContinuousDecoder)?
      /// What it is decoding, by the decoder's numbers.
      var answers: [Int: Answer] = [:]
      var lastUse = ContinuousClock.now

      init(_ name: String, _ loaded: LoadedModel) throws {
        self.name = name
        self.loaded = loaded
        encoder = try TextEncoder(loaded)
      }
    }

    /// A request under way.
    private final class Request {
      let job: GenerationJob
      /// Answers that have not ended.
      var left: Int

      init(_ job: GenerationJob) {
        self.job = job
        left = job.request.count
      }
    }

    /// An answer under way.
    private struct Answer {
      let request: Request
      let choice: Int
      let prompt: [Int32]
      let content: Content?
      var watch: StopWatch
      var tokens = 0
    }

    /// Decoders that are kept; each has keys and values of its own.
    private static let mostDecoders = 3

    /// Longest time that a trainer waits for requests between two steps.
    private static let longestPause = Duration.seconds(5)

    /// What came of all requests.
    private(set) var totals = (requests: 0, answers: 0, tokens: 0)
    private let service: ModelService
    private let sampler: Sampler
    private var served: [String: Served] = [:]
    /// Finds a model that has not been asked for.
    private let open: (String) throws -> LoadedModel?
    /// Which models give the drafts of a request for that name that compares; nil: the one of that name.
    private let compared: (String) -> [String]?
    /// The full name of the model that answers under a name.
    private let resolve: (String) -> String
    private var under = 0

    /// Makes a worker.
    ///
    /// - Parameters:
    ///   - service: Whose requests are answered.
    ///   - sampler: Which numbers answers are drawn with.
    ///   - resolve: The full name of the model that answers under a name.
    ///   - compared: Which models give the drafts of a request that compares.
    ///   - open: The model of a full name; nil if there is none.
    init(
      _ service: ModelService, sampler: Sampler, resolve: @escaping (String) -> String,
      compared: @escaping (String) -> [String]?, open: @escaping (String) throws -> LoadedModel?
    ) {
      self.service = service
      self.sampler = sampler
      self.resolve = resolve
      self.compared = compared
      self.open = open
    }

    /// How long a prompt and its answer may be by that model.
    func context(_ name: String) throws -> Int? {
      guard let served = try model(name) else { return nil }
      return try decoder(of: served).settings.context
    }

    /// Does one piece of the work.
    ///
    /// - Returns: False if there was nothing to do.
    /// - Throws: `CancellationError`.
    func step() throws -> Bool {
      while under < service.settings.sequences, let job = service.queue.take() { begin(job) }
      var worked = false
      for served in Array(served.values) where !served.answers.isEmpty {
        worked = true
        for (number, answer) in served.answers where answer.request.job.isCancelled {
          served.decoder?.cancel(number)
          served.answers[number] = nil
          under -= 1
        }
        served.lastUse = .now
        do {
          for event in try served.decoder?.step() ?? [] { take(event, of: served) }
        } catch let error as EngineError {
          fail(served, error.message)
        }
      }
      service.queue.setRunning(under)
      return worked
    }

    /// What a trainer asks between its steps: meanwhile requests are answered, for so long that those that
    /// come without end don't keep it from the next step.
    func servesBetweenSteps() -> @Sendable () -> Bool {
      // Asked on the thread that this worker is used on, which trains.
      nonisolated(unsafe) let worker = self
      return {
        let end = ContinuousClock.now + Self.longestPause
        while !Interrupt.isRequested, ContinuousClock.now < end {
          guard (try? worker.step()) == true else { break }
        }
        return Interrupt.isRequested
      }
    }

    /// Ends all that is under way.
    func close() {
      for each in served.values { fail(each, "the server is being stopped") }
    }

    // MARK: Beginning

    private func begin(_ job: GenerationJob) {
      totals.requests += 1
      do {
        try start(job)
      } catch let failure as GenerationFailure {
        job.tell(.failed(failure))
      } catch {
        job.tell(.failed(.init(.server, "\(error)")))
      }
    }

    private func start(_ job: GenerationJob) throws {
      let request = job.request
      let names =
        (request.compares ? compared(request.model) : nil) ?? [resolve(request.model)]
      let models = try names.map { name -> Served in
        guard let found = try model(name) else {
          throw GenerationFailure(
            .noModel, "there is no model \(request.model): /v1/models names those that there are")
        }
        return found
      }
      let field =
        request.inputs.contains { if case .content(.messages) = $0 { true } else { false } }
        ? "messages" : "prompt"
      func bad(_ message: String) -> GenerationFailure {
        GenerationFailure(.badRequest(field: field), message)
      }
      // Policies have their start's tokenizer and template.
      let prompts = try request.inputs.map { input in
        switch input {
        case .ids(let ids): return ids
        case .content(let content):
          do { return try models[0].encoder.prompt(content) } catch {
            throw bad("\(error)".replacing("the row", with: "the request"))
          }
        }
      }
      let decoders = try models.map { try decoder(of: $0) }
      var begun: [(Served, Int, Answer)] = []
      let running = Request(job)
      do {
        for choice in 0..<request.count {
          let place = choice / request.n
          let at = choice % models.count
          let number = try decoders[at].begin(
            DecoderRequest(
              prompt: prompts[place], settings: settings(request, models[at], decoders[at]),
              stream: UInt64(choice), listed: request.listed ?? 0,
              scoresPrompt: request.echo && request.listed != nil))
          var content: Content?
          if case .content(let given) = request.inputs[place] { content = given }
          begun.append(
            (
              models[at], number,
              Answer(
                request: running, choice: choice, prompt: prompts[place], content: content,
                watch: StopWatch(models[at].loaded.tokenizer, stops: request.stop))
            ))
        }
      } catch let error as EngineError {
        for (served, number, _) in begun { served.decoder?.cancel(number) }
        throw bad(error.message)
      }
      // Who gave which draft is not told before one is chosen.
      job.tell(
        .began(
          model: request.compares ? request.model : models[0].name,
          fingerprint: request.compares ? "" : "fp_" + models[0].loaded.fingerprint.prefix(12),
          promptTokens: prompts.reduce(0) { $0 + $1.count }))
      for (served, number, answer) in begun {
        served.answers[number] = answer
        under += 1
        if request.echo, request.listed == nil {
          let text = served.loaded.tokenizer.decode(answer.prompt)
          job.tell(.part(choice: answer.choice, text: text, tokens: []))
        }
      }
    }

    private func settings(
      _ request: GenerationRequest, _ served: Served, _ decoder: any ContinuousDecoder
    ) -> SamplingSettings {
      var settings = SamplingSettings()
      settings.temperature = request.temperature
      settings.topK = request.topK
      settings.topP = request.topP
      settings.minP = request.minP
      settings.repetitionPenalty = request.repetitionPenalty
      settings.maxTokens = request.maxTokens ?? served.loaded.model.spec.maximumPositions
      settings.seed = request.seed
      settings.sampler = decoder.settings.sampler
      settings.stopIds = served.encoder.endings
      return settings
    }

    private func model(_ name: String) throws -> Served? {
      if let known = served[name] { return known }
      guard let loaded = try open(name) else { return nil }
      let found = try Served(name, loaded)
      served[name] = found
      return found
    }

    private func decoder(of wanted: Served) throws -> any ContinuousDecoder {
      wanted.lastUse = .now
      if let decoder = wanted.decoder { return decoder }
      // The one that was used longest ago makes room.
      let idle = served.values.filter { $0.decoder != nil && $0.answers.isEmpty }
      if idle.count >= Self.mostDecoders - 1, let oldest = idle.min(by: { $0.lastUse < $1.lastUse })
      {
        oldest.decoder = nil
      }
      var settings = DecoderSettings()
      settings.sequences = service.settings.sequences
      settings.kept = service.settings.kept
      settings.context = service.settings.context > 0 ? service.settings.context : nil
      settings.sampler = sampler
      let decoder = try wanted.loaded.model.decoder(settings)
      wanted.decoder = decoder
      return decoder
    }

    // MARK: What was drawn

    private func take(_ event: DecoderEvent, of served: Served) {
      switch event {
      case .prompt(let number, let scores):
        guard let answer = served.answers[number], let first = answer.prompt.first else { return }
        let begin = TokenScore(entry(first, 0, served), isFirst: true)
        answer.request.job.tell(
          .part(
            choice: answer.choice, text: served.loaded.tokenizer.decode(answer.prompt),
            tokens: [begin] + scores.map { score($0, served) }))
      case .token(let number, let token, let finish):
        guard var answer = served.answers[number] else { return }
        answer.tokens += 1
        totals.tokens += 1
        var text = served.encoder.endings.contains(token.id) ? "" : answer.watch.append(token.id)
        let isStopped = answer.watch.isStopped
        if finish != nil { text += answer.watch.finish() }
        let job = answer.request.job
        let tokens = job.request.listed == nil ? [] : [score(token, served)]
        if !text.isEmpty || !tokens.isEmpty {
          job.tell(.part(choice: answer.choice, text: text, tokens: tokens))
        }
        guard isStopped || finish != nil else {
          served.answers[number] = answer
          return
        }
        if finish == nil { served.decoder?.cancel(number) }
        served.answers[number] = nil
        under -= 1
        end(answer, isStopped || finish == .stop, served)
      }
    }

    private func end(_ answer: Answer, _ byItself: Bool, _ served: Served) {
      let (request, running) = (answer.request.job.request, answer.request)
      totals.answers += 1
      running.job.tell(
        .ended(
          choice: answer.choice,
          GenerationEnd(
            reason: byItself ? .stop : .length, tokens: answer.tokens, text: answer.watch.text,
            model: .init(name: served.name, fingerprint: served.loaded.fingerprint),
            prompt: answer.content, sampling: Self.sampling(request))))
      running.left -= 1
      if running.left == 0 { running.job.tell(.done) }
    }

    /// Ends all that a model was answering.
    private func fail(_ served: Served, _ message: String) {
      for (number, answer) in served.answers {
        served.decoder?.cancel(number)
        answer.request.job.tell(.failed(.init(.server, message)))
        under -= 1
      }
      served.answers = [:]
    }

    private func entry(_ id: Int32, _ value: Double, _ served: Served) -> TokenScore.Entry {
      let tokenizer = served.loaded.tokenizer
      return .init(
        text: tokenizer.text(of: id), bytes: tokenizer.bytes(of: id), logProbability: value)
    }

    private func score(_ token: ScoredToken, _ served: Served) -> TokenScore {
      TokenScore(
        entry(token.id, token.logProbability, served),
        listed: token.listed.map { entry($0.id, $0.logProbability, served) })
    }

    /// How an answer was drawn, by the names of `attune sample`.
    private static func sampling(_ request: GenerationRequest) -> JSONValue {
      .object([
        .init("temperature", .double(request.temperature)), .init("top_k", .int(request.topK)),
        .init("top_p", .double(request.topP)), .init("min_p", .double(request.minP)),
        .init("repetition_penalty", .double(request.repetitionPenalty)),
        .init("stop", .array(request.stop.map { .string($0) })),
        .init("seed", .number(String(request.seed))),
      ])
    }
  }
#endif
