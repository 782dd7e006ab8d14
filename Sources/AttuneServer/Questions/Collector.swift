// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
public import AttuneStore
import Dispatch
public import Foundation
import Synchronization

/// Asks people and stores what they say: the queue of questions before a store of feedback.
///
/// Safe to use from any thread; new answers may be added while people work.
public final class Collector: Sendable {
  /// The knobs.
  public let settings: CollectSettings
  let store: FeedbackStore
  /// Keeps others from asking out of the same store; nil when it is given up.
  private let lock: Mutex<FileLock?>
  /// Who is who.
  let names: NameBook
  let queue: Mutex<QuestionQueue>
  /// Annotators whose judgement is being written: one at a time each.
  private let busy = Mutex<Set<String>>([])
  /// Whether further questions may still come.
  private let isGrowing = Mutex(false)
  /// Whether somebody had to wait for a question since that was last looked at.
  private let hasWaited = Mutex(false)
  /// When a page last asked for something to do, by the server's clock.
  let lastTurn = Mutex(0.0)
  /// The policies that are trained while people label.
  let policies = Mutex<PolicyProgress?>(nil)
  /// Whether nobody is asked any more.
  private let isClosed = Mutex(false)
  /// What `attune reward --json` said, for the progress view.
  let curve: URL?
  /// The accuracy whose need of labels the progress view tells.
  let wantedAccuracy: Double?
  /// What annotators are to go by, as safe HTML; nil for nothing.
  let guidelines: String?
  /// What reward models said of answers.
  let scores = Mutex(Scores())
  let progressQueue = DispatchQueue(label: "attune.progress")
  let lastProgress = Mutex<(time: ContinuousClock.Instant, json: JSONValue)?>(nil)

  /// Makes a collector without questions.
  ///
  /// - Parameters:
  ///   - settings: The knobs.
  ///   - store: Where judgements go.
  ///   - curve: What `attune reward --json` said, for the progress view; read whenever it is shown.
  ///   - accuracy: An accuracy whose need of labels the progress view tells by that curve.
  ///   - guidelines: A Markdown file that stands beside the question.
  /// - Throws: ``ServerError`` if a knob is out of its range, `StoreError` if another process asks people
  ///   out of this store, or if it can't be read.
  public init(
    _ settings: CollectSettings, store: FeedbackStore, curve: URL? = nil, accuracy: Double? = nil,
    guidelines: URL? = nil
  ) throws {
    try settings.validate()
    self.guidelines = try guidelines.map(Self.guidelines)
    try OpenFiles.require(connections: settings.connections)
    // Before anything is read of what was said: nobody else adds to it from here on.
    lock = Mutex(try store.lock())
    names = NameBook(AnnotatorNames(try store.annotators()))
    self.settings = settings
    self.store = store
    self.curve = curve
    wantedAccuracy = accuracy
    queue = Mutex(QuestionQueue(settings))
  }

  /// Adds questions about the answers of files of samples, and the answers to the store.
  ///
  /// - Throws: `DataError`, `StoreError`, and ``ServerError`` if the files hold nothing to ask about.
  public func addSamples(_ files: [URL]) throws {
    var sets: [AnswerSet] = []
    for file in files {
      let samples = try Self.samples(of: file)
      _ = try store.importFile(file)
      sets += try store.add(samples)
    }
    let made = QuestionMaker(settings).questions(sets)
    guard !made.isEmpty else { throw Self.nothingToAsk(files, settings) }
    try add(made)
  }

  /// A file of guidelines as safe HTML.
  private static func guidelines(_ file: URL) throws -> String {
    let data: Data
    do { data = try Data(contentsOf: file) } catch {
      throw ServerError(
        .badData,
        "\(file.relativePath): the guidelines can't be read: \((error as NSError).localizedDescription)"
      )
    }
    guard data.count <= 1 << 20 else {
      throw ServerError(
        .badData, "\(file.relativePath): guidelines of more than 1 MiB; shorten them")
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw ServerError(.badData, "\(file.relativePath): the guidelines are no UTF-8 text")
    }
    guard !text.allSatisfy(\.isWhitespace) else {
      throw ServerError(.badData, "\(file.relativePath): the guidelines are empty")
    }
    return Markdown.html(text, upTo: 1 << 20)
  }

  /// The rows of a file of samples.
  static func samples(of file: URL) throws -> [SampleRow] {
    try DataFile.read(file, expecting: [.samples]).rows.compactMap { row in
      guard case .samples(let samples) = row.example else { return nil }
      return samples
    }
  }

  static func nothingToAsk(_ files: [URL], _ settings: CollectSettings) -> ServerError {
    let wanted = settings.shape == .thumbs ? "an answer" : "two different answers to a prompt"
    return ServerError(
      .badData,
      "\(files.map(\.relativePath).joined(separator: ", ")): nowhere is there \(wanted)")
  }

  /// Adds gold questions, to which the right answer is known.
  ///
  /// - Parameter file: Preference or ranking rows.
  /// - Returns: Which columns are not used, in one line for people; nil where all are.
  /// - Throws: `DataError`, `StoreError`, and ``ServerError`` if people are asked something else.
  public func addGold(_ file: URL) throws -> String? {
    guard settings.shape != .thumbs else {
      throw ServerError(.badSetting, "gold questions are comparisons: they need pairs or rankings")
    }
    let (sets, warning) = try store.addKey(file)
    let most = settings.shape == .pairs ? 2 : 9
    for set in sets where set.answers.count > most {
      throw ServerError(
        .badData,
        "\(file.relativePath): a gold question compares \(set.answers.count) answers; with "
          + "\(settings.shape.rawValue) it may be \(most)")
    }
    try add(
      sets.map {
        Question(prompt: $0.prompt, content: $0.content, answers: $0.answers, isGold: true)
      })
    return warning
  }

  /// Adds questions; judgements of them that the store has count.
  func add(_ questions: [Question]) throws {
    let judgements = try store.standingJudgements()
    let skips = try store.standingSkips()
    queue.withLock { queue in
      for question in questions { queue.add(question) }
      // Undo takes a judgement back before a skip of an earlier run.
      for var skip in skips {
        skip.annotator = spelling(of: skip.annotator)
        queue.restore(skip)
      }
      for judgement in judgements where judgement.isThumb == (settings.shape == .thumbs) {
        queue.restore(
          judgement.number, of: judgement.answers, by: spelling(of: judgement.annotator))
      }
    }
  }

  /// Lets others ask people out of the store. Only for a collector that asks nobody any more.
  package func release() { lock.withLock { $0 = nil } }

  /// The name under which somebody's judgements are stored: the first spelling of it that there was.
  func spelling(of name: String) -> String { names.spelling(of: name) }

  /// The same for a name that is only asked about.
  func known(_ name: String) -> String { names.known(name) }

  /// Says whether further questions may come: people then wait for them where there are none.
  public func setGrowing(_ isGrowing: Bool) { self.isGrowing.withLock { $0 = isGrowing } }

  /// Comparisons with a winner in the store, by people, that hold.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func decided() throws -> Int { try store.decidedCount() }

  /// Everything compared so far, as lines of preference rows to train on.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func preferences() throws -> String {
    try store.preferences().map { $0.text + "\n" }.joined()
  }

  /// Whether somebody had to wait for a question since this was last asked.
  public func takeWaiting() -> Bool {
    hasWaited.withLock { waited in
      defer { waited = false }
      return waited
    }
  }

  /// Asks nothing more: pages say that all is done. A label that is on its way is taken.
  public func close() { isClosed.withLock { $0 = true } }

  // MARK: What the page asks for

  /// What somebody is to do next.
  enum Turn: Sendable {
    /// To answer a question.
    case question(Question)
    /// To wait: questions may come.
    case waiting
    /// Nothing: all is answered.
    case done
  }

  /// How far it has come.
  struct Counts: Sendable, Equatable {
    /// This annotator's judgements that hold.
    var yours: Int
    /// Questions with all judgements asked for.
    var finished: Int
    /// All questions.
    var all: Int
  }

  /// A judgement as the page sends it.
  struct Judgement: Sendable {
    var key: String
    var question: String
    /// A rank for each answer in the order in which they were shown.
    var verdict: Submission.Verdict
    var reason: String
    var milliseconds: Int?
  }

  /// Why a judgement is not taken.
  enum Refusal: Error {
    /// There is no such question, or it cannot be judged in this way.
    case bad(String)
    /// Another judgement of the same annotator is being written.
    case busy
  }

  /// The question before somebody, or the next one.
  func turn(of annotator: String, at time: Double) -> Turn {
    lastTurn.withLock { $0 = max($0, time) }
    guard !isClosed.withLock({ $0 }) else { return .done }
    let isGrowing = isGrowing.withLock { $0 }
    let turn = queue.withLock { queue -> Turn in
      if let place = queue.next(for: annotator, at: time) {
        return .question(queue.questions[place])
      }
      return isGrowing || queue.mayComeBack(to: annotator, at: time) ? .waiting : .done
    }
    if case .waiting = turn { hasWaited.withLock { $0 = true } }
    return turn
  }

  /// How far it has come.
  func counts(for annotator: String) -> Counts {
    queue.withLock {
      Counts(yours: $0.judgements(of: annotator), finished: $0.finished, all: $0.count)
    }
  }

  /// Stores a judgement: when this returns it is on the disk.
  func judge(_ judgement: Judgement, by annotator: String, at time: Double) async throws {
    let found = queue.withLock { queue -> (Int, Question, Int64?)? in
      guard let place = queue.place(of: judgement.question) else { return nil }
      return (place, queue.questions[place], queue.judgement(at: place, by: annotator))
    }
    guard let (place, question, earlier) = found else { throw Refusal.bad("no such question") }
    if case .comparison(_, let ranks, _) = judgement.verdict,
      ranks.count != question.answers.count
    {
      throw Refusal.bad("the question has \(question.answers.count) answers")
    }
    let number = try await alone(annotator) {
      try await self.store.submit(
        Submission(
          key: judgement.key, annotator: annotator, prompt: question.prompt,
          answers: question.shown(to: annotator, seed: self.settings.seed).map(\.number),
          verdict: judgement.verdict, reason: judgement.reason, time: self.wallTime,
          milliseconds: judgement.milliseconds, supersedes: earlier)
      ).number
    }
    queue.withLock { $0.record(number, at: place, by: annotator) }
  }

  /// Passes a question over: when this returns it is on the disk.
  func skip(_ key: String, by annotator: String) async throws {
    guard let place = queue.withLock({ $0.place(of: key) }) else {
      throw Refusal.bad("no such question")
    }
    try await alone(annotator) {
      try await self.store.add(
        StandingSkip(annotator: annotator, question: key), time: self.wallTime)
    }
    queue.withLock { $0.skip(place, by: annotator) }
  }

  /// Takes back what somebody did last: a judgement by a row that says so.
  ///
  /// - Returns: False if there is nothing to take back.
  func undo(by annotator: String, key: String, at time: Double) async throws -> Bool {
    guard let step = queue.withLock({ $0.lastStep(of: annotator) }) else { return false }
    switch step {
    case .skipped(let place):
      let question = queue.withLock { $0.questions[place].key }
      try await alone(annotator) {
        try await self.store.add(
          StandingSkip(annotator: annotator, question: question), isWithdrawn: true,
          time: self.wallTime)
      }
    case .judged(_, let number):
      let isNew = try await alone(annotator) {
        try await self.store.withdraw(
          number, isThumb: self.settings.shape == .thumbs, annotator: annotator, key: key,
          time: self.wallTime
        ).isNew
      }
      // Sent again because the answer was lost: the step that it meant is undone already.
      guard isNew else { return true }
    }
    queue.withLock { $0.undo(step, by: annotator, at: time) }
    return true
  }

  private var wallTime: Double { Date().timeIntervalSince1970 }

  /// Runs a writing of an annotator's while there is no other one.
  private func alone<Value: Sendable>(
    _ annotator: String, _ body: @Sendable () async throws -> Value
  ) async throws -> Value {
    guard busy.withLock({ $0.insert(annotator).inserted }) else { throw Refusal.busy }
    defer { busy.withLock { _ = $0.remove(annotator) } }
    return try await body()
  }
}
