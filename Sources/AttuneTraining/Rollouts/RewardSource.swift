// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneObjectives

/// An answer as a reward source sees it.
public struct Completion: Sendable, Equatable, Codable {
  /// The tokens as sampled, with the end-of-sequence token if it ended by itself.
  public var ids: [Int32]
  /// Its text, without special tokens.
  public var text: String
  /// Whether it ended by itself, and was not cut at the token limit.
  public var endedByItself: Bool
  /// Its turns, where a data file holds it as messages; `text` is then what the assistant says last.
  public var messages: [Message]?

  /// Makes an answer.
  ///
  /// - Parameters:
  ///   - ids: The tokens as sampled; empty where only the text is known.
  ///   - text: Its text.
  ///   - endedByItself: Whether it ended by itself.
  ///   - messages: Its turns, where it is more than a text.
  public init(ids: [Int32], text: String, endedByItself: Bool, messages: [Message]? = nil) {
    self.ids = ids
    self.text = text
    self.endedByItself = endedByItself
    self.messages = messages
  }
}

/// Where rewards come from: a reward model, a labeller, a rule, a program.
public protocol RewardSource {
  /// What it is called in reports: `model:runs/reward`, `labeller:concise`.
  var name: String { get }

  /// How many of its lower layers are those of the model with this fingerprint: a trunk of so many
  /// layers at most serves it too. Nil where it is no such model.
  func sharedLayers(with origin: String) -> Int?

  /// Mean and deviation of its rewards on answers of the start, if it knows them.
  var scale: RewardScale? { get }

  /// Whether it reads more of a prompt's row than the prompt: rows of one prompt that differ elsewhere
  /// are then prompts of their own.
  var readsRows: Bool { get }

  /// Whether a reward of 1 says that an answer is right, and less that it is not: what accuracy is of.
  var isChecked: Bool { get }

  /// Whether a reward compares an answer with the others to its prompt, and so says nothing across prompts
  /// or of another model's answers.
  var isRelative: Bool { get }

  /// What asking a judge has cost since this was last read; nil where nobody is asked.
  func takeCost() -> RewardCost?

  /// Whether it says something of an answer's steps, so that its reward comes in parts.
  var hasParts: Bool { get }

  /// Whether these parts always add up to 0, so that it says which steps were good, and nothing of an answer:
  /// potential-based shaping (Ng et al. 1999).
  var isShaping: Bool { get }

  /// Every reward in parts at tokens inside its answer, which add up to it.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt, with the row that it stands in.
  ///   - completions: The answers, as sampled.
  ///   - shared: The same as tokens with shared hidden states.
  /// - Returns: Of each answer a number a token; nil where it has none (`hasParts`).
  func parts(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [[Double]]?

  /// What ends a step of an answer, where it says of every step how likely it is right; else nil.
  var stepSeparator: String? { get }

  /// How likely each step of every answer is right, from 0 to 1; nil where it says nothing of steps.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt.
  ///   - completions: The answers.
  func steps(prompts: [DataPrompt], completions: [Completion]) throws -> [[Double]]?

  /// What of an answer it holds against the right one, in a form in which equal answers are equal; nil
  /// where there is none, or where it checks nothing.
  func given(in completion: Completion) -> String?

  /// Refuses a row whose answers it could not reward, before any is sampled.
  ///
  /// - Parameters:
  ///   - row: The row.
  ///   - place: Where it stands.
  /// - Throws: An error that names place and column.
  func check(_ row: DataRow, at place: DataPlace) throws

  /// The reward of every answer, higher is better.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt, with the row that it stands in.
  ///   - completions: The answers.
  ///   - shared: The same as tokens with shared hidden states; a source that doesn't need them, or
  ///     whose tokenizer or weights are others, takes the texts.
  /// - Returns: One finite number an answer.
  /// - Throws: An error that names the source; `AnswerFault` if it is one answer's.
  func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double]
}

/// What a reward's judge took.
public struct RewardCost: Codable, Sendable, Equatable {
  /// Requests that a server answered, or questions that a model read.
  public var calls: Int
  /// Questions whose answers were known.
  public var remembered: Int
  /// Tokens read and written, as far as a server tells them.
  public var tokens: Int
  /// Seconds that it was waited for.
  public var seconds: Double

  /// Makes a cost.
  public init(calls: Int, remembered: Int, tokens: Int, seconds: Double) {
    self.calls = calls
    self.remembered = remembered
    self.tokens = tokens
    self.seconds = seconds
  }

  /// One line for people.
  package var words: String {
    "\(calls) questions asked, \(remembered) answered before, \(tokens) tokens, "
      + "\(readable(seconds, digits: 1)) s"
  }

  /// What came after.
  public static func - (now: RewardCost, before: RewardCost) -> RewardCost {
    RewardCost(
      calls: now.calls - before.calls, remembered: now.remembered - before.remembered,
      tokens: now.tokens - before.tokens, seconds: now.seconds - before.seconds)
  }
}

extension RewardSource {
  /// Nil: it starts from the texts.
  public func sharedLayers(with origin: String) -> Int? { nil }

  /// Nil: they are taken from the first answers.
  public var scale: RewardScale? { nil }

  /// False: prompt and answer are enough.
  public var readsRows: Bool { false }

  /// False: there is better and worse, but no right.
  public var isChecked: Bool { false }

  /// False: a reward is of the answer alone.
  public var isRelative: Bool { false }

  /// False: it is said of the whole answer.
  public var hasParts: Bool { false }

  /// False: it says something of an answer.
  public var isShaping: Bool { false }

  /// Nil: it is said of the whole answer.
  public func parts(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [[Double]]? { nil }

  /// Nil: it is said of the whole answer.
  public var stepSeparator: String? { nil }

  /// Nil: it is said of the whole answer.
  public func steps(prompts: [DataPrompt], completions: [Completion]) throws -> [[Double]]? { nil }

  /// Nil: nobody is asked.
  public func takeCost() -> RewardCost? { nil }

  /// Nil: nothing of it is held against anything.
  public func given(in completion: Completion) -> String? { nil }

  /// Every row will do.
  public func check(_ row: DataRow, at place: DataPlace) throws {}
}

extension DataFile {
  /// Refuses rows whose answers a source could not reward.
  ///
  /// - Throws: An error that names file, line and column.
  package func check(for sources: [any RewardSource]) throws {
    for source in sources where source.readsRows {
      for row in rows { try source.check(row, at: DataPlace(url, line: row.line)) }
    }
  }
}

extension MetricTotals {
  /// Adds what asking judges has cost since it was last added.
  package mutating func add(costOf sources: [any RewardSource]) {
    for cost in sources.compactMap({ $0.takeCost() }) {
      add(.judgeCalls, Double(cost.calls))
      add(.judgeRemembered, Double(cost.remembered))
      add(.judgeTokens, Double(cost.tokens))
      add(.judgeSeconds, cost.seconds)
    }
  }
}

extension RewardSource {
  /// The reward of every answer, held to what `scores` promises.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt, with the row that it stands in.
  ///   - completions: The answers.
  ///   - shared: The same as tokens with shared hidden states.
  /// - Throws: What the source throws; an error that names it if a reward is missing or no finite
  ///   number.
  public func checkedScores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    do {
      return try promisedScores(prompts: prompts, completions: completions, shared: shared)
    } catch var fault as AnswerFault {
      fault.line = prompts[fault.answer].row?.line
      throw fault
    }
  }

  private func promisedScores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    let scores = try scores(prompts: prompts, completions: completions, shared: shared)
    guard scores.count == completions.count else {
      throw TrainingError(
        .badData, "\(name): gave \(scores.count) rewards for \(completions.count) answers")
    }
    if let fault = scores.firstIndex(where: { !$0.isFinite }) {
      throw AnswerFault(
        source: name, answer: fault,
        message: "got \(scores[fault]), no finite number, for “\(completions[fault].excerpt)”")
    }
    return scores
  }
}

/// What is wrong with one of the answers that a reward source was given, or with what it says of it.
public struct AnswerFault: Error, Sendable, CustomStringConvertible {
  /// The source.
  public var source: String
  /// Which answer, from 0.
  public var answer: Int
  /// What is wrong, without source and answer.
  public var message: String
  /// The line of the data file that holds its prompt, if it stands in one.
  public var line: Int?

  /// Makes a fault.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - answer: Which answer, from 0.
  ///   - message: What is wrong.
  public init(source: String, answer: Int, message: String) {
    self.source = source
    self.answer = answer
    self.message = message
  }

  /// Source, answer, line of the prompt and message.
  public var description: String {
    "\(source): answer \(answer + 1)\(line.map { ", to the prompt of line \($0)" } ?? ""): \(message)"
  }
}

extension Completion {
  /// Its beginning on one line, for messages.
  package var excerpt: String {
    let line = text.replacing("\n", with: " ")
    return line.count <= 60 ? line : line.prefix(59) + "…"
  }
}
