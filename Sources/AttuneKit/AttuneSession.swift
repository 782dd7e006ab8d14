// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneNative
import AttuneStudies
public import AttuneTraining
public import Foundation

/// A language model that answers, scores and learns inside an app.
///
/// ```swift
/// let session = try await AttuneSession.open("models/SmolLM2-135M-Instruct")
/// let question = await session.prompt("Why is the sky blue?")
/// let answer = try await session.answer(question)
/// let thumbs = [Example.unpaired(prompt: question, completion: .text(answer.text), label: true)]
/// try await session.train(thumbs, with: KTOSettings())
/// ```
///
/// All methods run on one thread of their own, in the order in which they are called, for all sessions
/// of a process: neither the main actor nor Swift's pool of threads waits for them. Cancelling the task
/// that calls one ends it at the next piece of work with ``AttuneError/Code-swift.enum/cancelled``;
/// training saves where it stood first, and the same call goes on from there.
///
/// What the session was opened with is the ``SessionModels/start``: what is trained begins there, each
/// time anew, and is held against it as its reference. So what a session has learned follows from the
/// rows and settings of the last call alone.
public actor AttuneSession {
  /// The thread of all sessions.
  public nonisolated var unownedExecutor: UnownedSerialExecutor {
    ComputeThread.shared.asUnownedSerialExecutor()
  }

  var models: SessionModels
  let runs: SessionFolder

  /// Opens a model with the CPU engine.
  ///
  /// - Parameters:
  ///   - name: A folder in Hugging Face's layout, a folder with an adapter, a `.gguf` file, or the name
  ///     of something pulled.
  ///   - runs: A folder in which training keeps what it needs to go on, should the app be killed; nil: a
  ///     temporary one that goes with the session.
  ///   - threads: How many threads compute; 0 takes one a core. It holds for all sessions.
  ///   - precision: How matrix products are computed.
  ///   - basePrecision: How the model's frozen matrices are kept.
  /// - Throws: ``AttuneError`` that names what is missing or damaged.
  public static func open(
    _ name: String, runs: URL? = nil, threads: Int = 0, precision: Precision = .float32,
    basePrecision: BasePrecision = .asIs
  ) async throws(AttuneError) -> AttuneSession {
    let models = try await SessionOpening().models(
      name, threads: threads, precision: precision, basePrecision: basePrecision)
    return AttuneSession(models, SessionFolder(runs))
  }

  private init(_ models: sending SessionModels, _ runs: SessionFolder) {
    self.models = models
    self.runs = runs
  }

  /// What the session was opened with: its path or pulled name.
  public var name: String { models.start.name }

  /// Whether conversations can be put into words.
  public var hasChatTemplate: Bool { models.start.chatTemplate != nil }

  /// How many numbers the model has.
  public var parameterCount: Int { models.start.model.parameterCount }

  /// A text as this model is asked it: what a user says where it has a chat template, else the text that
  /// it goes on from.
  public func prompt(_ text: String) -> Content { hasChatTemplate ? .user(text) : .text(text) }

  // MARK: - Answers

  /// Samples answers.
  ///
  /// - Parameters:
  ///   - prompts: What is answered.
  ///   - settings: How answers are drawn.
  ///   - onText: Is given each answer's text as it comes: prompt, answer, more text.
  /// - Returns: For each prompt its answers, with the log-probability of each token.
  /// - Throws: ``AttuneError`` that names a setting or prompt at fault.
  public func answers(
    to prompts: [Content], _ settings: SampleSettings = SampleSettings(),
    onText: (@Sendable (_ prompt: Int, _ answer: Int, _ text: String) -> Void)? = nil
  ) throws(AttuneError) -> [[SampledAnswer]] {
    try translated {
      let encoder = try TextEncoder(models.policy)
      return try Sampling.answers(
        models.policy, prompts: try prompts.map { try encoder.prompt($0) }, settings: settings,
        onText: onText)
    }
  }

  /// Samples one answer.
  ///
  /// - Parameters:
  ///   - prompt: What is answered.
  ///   - settings: How it is drawn; `n` is 1 here whatever it says.
  ///   - onText: Is given the text as it comes.
  /// - Returns: The answer.
  /// - Throws: ``AttuneError`` that names a setting or the prompt at fault.
  public func answer(
    _ prompt: Content, _ settings: SampleSettings = SampleSettings(),
    onText: (@Sendable (_ text: String) -> Void)? = nil
  ) throws(AttuneError) -> SampledAnswer {
    var settings = settings
    settings.n = 1
    return try answers(to: [prompt], settings, onText: { onText?($2) })[0][0]
  }

  /// An answer's text as it comes; who stops listening stops the answer. In a task that is cancelled it
  /// ends without an error, as streams do.
  ///
  /// - Parameters:
  ///   - prompt: What is answered.
  ///   - settings: How it is drawn; `n` is 1 here whatever it says.
  /// - Returns: Pieces of text; ``AttuneError`` where there is none.
  public nonisolated func text(
    of prompt: Content, _ settings: SampleSettings = SampleSettings()
  ) -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { pieces in
      let task = Task {
        do {
          _ = try await answer(prompt, settings) { pieces.yield($0) }
          pieces.finish()
        } catch {
          pieces.finish(throwing: error)
        }
      }
      pieces.onTermination = { _ in task.cancel() }
    }
  }

  // MARK: - Scores

  /// How probable the answers of rows are, before and after training.
  ///
  /// - Parameter rows: Answers to prompts: pairs, thumbs, rankings, prompt–completion rows.
  /// - Returns: For each row its answers, in the row's order (of a pair chosen, then rejected).
  /// - Throws: ``AttuneError`` that names the row at fault.
  public func score(_ rows: [Example]) throws(AttuneError) -> [[AnswerScore]] {
    try translated {
      let encoder = try TextEncoder(models.start)
      let groups = try DataFile.rows(rows).rows.map { try encoder.group($0) }
      func sums(_ model: any LanguageModel) throws -> [[(sum: Double, tokens: Int)]] {
        try SequenceScores.tokens(model, groups, temperature: 1, pieceTokens: 2048).map { answers in
          answers.map { ($0.logProbabilities.reduce(0, +), $0.logProbabilities.count) }
        }
      }
      let reference = try sums(models.start.model)
      let policy = models.isTrained ? try sums(models.policy.model) : reference
      return zip(policy, reference).map { policy, reference in
        zip(policy, reference).map {
          AnswerScore(logProbability: $0.sum, reference: $1.sum, tokens: $0.tokens)
        }
      }
    }
  }

  /// What rewards say of the answers of rows.
  ///
  /// - Parameters:
  ///   - rows: Answers to prompts: pairs, thumbs, rankings, prompt–completion rows.
  ///   - reward: Where rewards come from.
  /// - Returns: For each row a number for each answer, in the row's order.
  /// - Throws: ``AttuneError`` that names the row or the reward at fault.
  public func rewards(
    of rows: [Example], by reward: SessionReward = .trained()
  ) throws(AttuneError) -> [[Double]] {
    try translated {
      let source = try RewardSources([reward], models).weighted[0].source
      let rows = try DataFile.rows(rows).rows
      let answers = try rows.map { try Scoring.answers(of: $0) }
      let scores = try Scoring.scores(of: answers, rows, by: [source]) { _ in
        try Task.checkCancellation()
      }[0]
      var first = 0
      return answers.map { answer in
        defer { first += answer.completions.count }
        return Array(scores[first..<first + answer.completions.count])
      }
    }
  }

  // MARK: - Models

  /// Forgets what was trained: the start answers again.
  public func reset() { models.forget() }

  /// Writes the policy as a folder that Attune and transformers load.
  ///
  /// - Parameters:
  ///   - folder: A folder that is not there or is empty.
  ///   - merging: Whether adapters are merged into the weights; else they are written in PEFT's format,
  ///     to be used with the start.
  /// - Throws: ``AttuneError`` if the folder holds something, or can't be written.
  public func save(to folder: URL, merging: Bool = false) throws(AttuneError) {
    try translated {
      let there = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
      guard there.isEmpty else {
        throw TrainingError(.badOutput, "\(folder.path): is not empty; give a new folder")
      }
      try models.start.write(models.policy.model, to: folder, merging: merging)
    }
  }

  /// Runs code of the app's own on the models: a training loop, another measurement.
  ///
  /// - Parameter body: Runs on the sessions' thread; passes of the models end it with
  ///   `CancellationError` once the calling task is cancelled.
  /// - Returns: What `body` returns.
  /// - Throws: ``AttuneError``, of code ``AttuneError/Code-swift.enum/own`` where the app's own code threw.
  public func perform<Result: Sendable>(
    _ body: @Sendable (inout SessionModels) throws -> Result
  ) throws(AttuneError) -> Result {
    try translated { try body(&models) }
  }
}

/// The models of a session, for code that runs within ``AttuneSession/perform(_:)``.
public struct SessionModels {
  /// What the session was opened with: where training begins, and its reference π_ref.
  public let start: LoadedModel
  /// What answers: the start until something was trained.
  public private(set) var policy: LoadedModel
  /// The reward model, once one was trained.
  public internal(set) var reward: LoadedModel?
  /// Whether something was trained.
  public private(set) var isTrained = false

  init(start: LoadedModel) {
    self.start = start
    policy = start
  }

  /// Lets a trained model answer from now on.
  ///
  /// - Parameter trained: A copy of the start's model.
  public mutating func answer(with trained: any LanguageModel) {
    answer(with: start.holding(trained))
  }

  mutating func answer(with trained: LoadedModel) {
    policy = trained
    isTrained = true
  }

  mutating func forget() {
    policy = start
    reward = nil
    isTrained = false
  }
}

/// How probable an answer is.
public struct AnswerScore: Sendable, Equatable {
  /// log π(answer | prompt), in nats, summed over its tokens.
  public let logProbability: Double
  /// The same under the session's start, π_ref.
  public let reference: Double
  /// Its tokens that carry a loss.
  public let tokens: Int

  /// log π − log π_ref: times β, the reward that a contrastively trained policy stands for (Rafailov et
  /// al. 2023, arXiv:2305.18290).
  public var logRatio: Double { logProbability - reference }
}

extension Content {
  /// What a user says to a chat model.
  public static func user(_ text: String) -> Content {
    .messages([Message(role: "user", content: text)])
  }
}

extension SampledAnswer {
  /// Its text.
  public var text: String { completion.text }
}

/// Runs a method's body, and gives its errors as one type.
func translated<Result>(_ body: () throws -> Result) throws(AttuneError) -> Result {
  do {
    return try body()
  } catch {
    throw AttuneError(error)
  }
}

/// Opens models on the sessions' thread, before there is a session.
private actor SessionOpening {
  nonisolated var unownedExecutor: UnownedSerialExecutor {
    ComputeThread.shared.asUnownedSerialExecutor()
  }

  func models(
    _ name: String, threads: Int, precision: Precision, basePrecision: BasePrecision
  ) throws(AttuneError) -> sending SessionModels {
    try translated {
      try Task.checkCancellation()
      guard threads >= 0 else {
        throw TrainingError(.badSetting, "threads must be at least 0 (it is \(threads))")
      }
      let engine = try NativeEngine(
        threads: threads, precision: precision, basePrecision: basePrecision)
      return SessionModels(start: try LoadedModel.open(name, on: engine))
    }
  }
}
