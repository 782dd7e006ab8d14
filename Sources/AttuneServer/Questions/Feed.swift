// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneStore

/// Models that answer prompts while people work.
///
/// Used on one thread. What it is made of may change between two calls: a policy that was trained
/// meanwhile then answers from there on.
public protocol Answerer {
  /// The models that answer now, each with what tells its weights from others.
  var models: [SampleRow.Model] { get }
  /// How answers are sampled, as it is stored with each of them.
  var sampling: JSONValue { get }
  /// Answers that each model gives to a prompt.
  var answersOfEach: Int { get }

  /// Answers of one model.
  ///
  /// - Parameters:
  ///   - model: Its place in ``models``.
  ///   - prompts: The prompts.
  ///   - numbers: For each prompt a number that is its own in this run, for the random numbers.
  /// - Returns: A row for each prompt.
  func answers(of model: Int, to prompts: [Content], numbers: [Int]) throws -> [SampleRow]
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
  private let answerer: (any Answerer)?
  private let scorer: (any AnswerScorer)?
  /// Questions that wait untouched before no further prompts are answered.
  private let ahead: Int
  /// Prompts that are answered, and questions that are scored, at a time.
  private let batch: Int
  private var next = 0

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
    collector.setGrowing(answerer != nil && !prompts.isEmpty)
    if let scorer { collector.setScorers(scorer.names) }
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
    guard let answerer, next < prompts.count else { return false }
    let range = next..<min(next + batch, prompts.count)
    var sets: [AnswerSet] = []
    for (place, model) in answerer.models.enumerated() {
      var missing: [Int] = []
      for number in range {
        let known = try collector.store.answers(
          to: prompts[number], by: model, sampling: answerer.sampling)
        if let known, known.answers.count >= answerer.answersOfEach {
          sets.append(known)
        } else {
          missing.append(number)
        }
      }
      guard !missing.isEmpty else { continue }
      let rows = try answerer.answers(
        of: place, to: missing.map { prompts[$0] }, numbers: missing)
      sets += try collector.store.add(rows)
    }
    try collector.add(QuestionMaker(collector.settings).questions(sets))
    next = range.upperBound
    if next == prompts.count { collector.setGrowing(false) }
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
