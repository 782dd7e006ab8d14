// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneStore

/// A model's part in answering a prompt.
public struct AnswerTurn: Sendable, Hashable {
  /// The model, with what tells its weights from others.
  public var model: SampleRow.Model
  /// How its answers are sampled, as it is stored with each of them.
  public var sampling: JSONValue
  /// Answers that it gives.
  public var count: Int

  /// Makes a turn.
  public init(model: SampleRow.Model, sampling: JSONValue, count: Int) {
    self.model = model
    self.sampling = sampling
    self.count = count
  }
}

/// Models that answer prompts while people work.
///
/// Used on one thread. Others may take its place between two steps of a feed (``Feed/renew(_:)``).
public protocol Answerer {
  /// Who answers a prompt by now, and how.
  ///
  /// - Parameter number: The prompt's place among all.
  func turns(of number: Int) -> [AnswerTurn]

  /// Answers of one model.
  ///
  /// - Parameters:
  ///   - turn: One of those that ``turns(of:)`` gave.
  ///   - prompts: The prompts.
  ///   - numbers: For each prompt its place among all, for the random numbers.
  /// - Returns: A row for each prompt.
  func answers(_ turn: AnswerTurn, to prompts: [Content], numbers: [Int]) throws -> [SampleRow]
}

/// Reward models that say how sure they are of what people will say. Used on one thread.
public protocol AnswerScorer {
  /// The name of each.
  var names: [String] { get }

  /// Scores answers to a prompt.
  ///
  /// - Returns: For each reward model a score for each answer.
  func scores(prompt: Content, answers: [Content]) throws -> [[Double]]
}

/// Keeps a collector in questions: has prompts answered ahead of the people, and questions scored,
/// so that the most uncertain ones are asked first. Works on the thread that calls it.
public struct Feed {
  private let collector: Collector
  private let prompts: [Content]
  private var answerer: (any Answerer)?
  private let scorer: (any AnswerScorer)?
  /// Questions that wait untouched before no further prompts are answered.
  private let ahead: Int
  /// Prompts that are answered, and questions that are scored, at a time.
  private let batch: Int
  private var next = 0
  /// Prompts that those who answer now have not answered.
  private var left: Int

  /// Makes a feed.
  ///
  /// - Parameters:
  ///   - collector: What is fed.
  ///   - prompts: What is answered, one after the other.
  ///   - answerer: Who answers; nil where all answers are there.
  ///   - scorer: Who says what is uncertain; nil for a random order.
  ///   - ahead: Questions that may wait untouched.
  ///   - batch: Prompts answered at a time.
  /// - Throws: ``ServerError`` if a number is out of its range.
  public init(
    _ collector: Collector, prompts: [Content] = [], answerer: (any Answerer)? = nil,
    scorer: (any AnswerScorer)? = nil, ahead: Int = 32, batch: Int = 4
  ) throws {
    guard ahead > 0 else { throw ServerError(.badSetting, "ahead must be at least 1") }
    guard batch > 0 else { throw ServerError(.badSetting, "batch must be at least 1") }
    self.collector = collector
    self.prompts = prompts
    self.answerer = answerer
    self.scorer = scorer
    self.ahead = ahead
    self.batch = batch
    left = answerer == nil ? 0 : prompts.count
    collector.setGrowing(answerer != nil && !prompts.isEmpty)
    if let scorer { collector.setScorers(scorer.names) }
  }

  /// Whether prompts are left to be answered.
  public var canAnswer: Bool { left > 0 }

  /// Has others answer from now on: every prompt is theirs to answer, from the next one on, and
  /// questions that nobody has seen yet are not asked any more.
  public mutating func renew(_ answerer: any Answerer) {
    self.answerer = answerer
    collector.dropUntouched()
    left = prompts.count
    collector.setGrowing(left > 0)
  }

  /// Does one piece of the work.
  ///
  /// - Returns: False if there was nothing to do now.
  /// - Throws: What the models throw.
  public mutating func step() throws -> Bool {
    let untouched = collector.untouched
    if untouched == 0, try answer() { return true }
    if try score() { return true }
    return untouched < ahead ? try answer() : false
  }

  /// Has the next prompts answered, those whose answers the store has from an earlier run left out.
  private mutating func answer() throws -> Bool {
    guard let answerer, left > 0 else { return false }
    let numbers = (0..<min(batch, left)).map { (next + $0) % prompts.count }
    var turns: [(turn: AnswerTurn, numbers: [Int])] = []
    for number in numbers {
      for turn in answerer.turns(of: number) {
        if let place = turns.firstIndex(where: { $0.turn == turn }) {
          turns[place].numbers.append(number)
        } else {
          turns.append((turn, [number]))
        }
      }
    }
    var sets: [AnswerSet] = []
    for (turn, numbers) in turns {
      var missing: [Int] = []
      for number in numbers {
        let known = try collector.store.answers(
          to: prompts[number], by: turn.model, sampling: turn.sampling)
        if let known, known.answers.count >= turn.count {
          sets.append(known)
        } else {
          missing.append(number)
        }
      }
      guard !missing.isEmpty else { continue }
      let rows = try answerer.answers(turn, to: missing.map { prompts[$0] }, numbers: missing)
      sets += try collector.store.add(rows)
    }
    try collector.add(QuestionMaker(collector.settings).questions(sets))
    left -= numbers.count
    next = (next + numbers.count) % prompts.count
    if left == 0 { collector.setGrowing(false) }
    return true
  }

  /// Scores questions that nobody has scored.
  private func score() throws -> Bool {
    guard let scorer else { return false }
    let questions = collector.unscored(batch)
    for question in questions {
      let scores = try scorer.scores(
        prompt: question.content, answers: question.answers.map(\.content))
      collector.setScores(scores, of: question)
    }
    return !questions.isEmpty
  }
}
