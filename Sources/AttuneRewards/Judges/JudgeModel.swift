// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneTraining

/// What a judge says to a question.
public struct JudgeChoice: Sendable, Equatable, Codable {
  /// The probability of each option, normalised over the options; nil if the judge named none of
  /// them. An answer that is no option is never taken for one.
  public var probabilities: [Double]?
  /// Where log-probabilities are known: how much of the judge's probability the options have
  /// together. Little of it means that the judge did not understand what was asked.
  public var mass: Double?
  /// Where no option could be read: what was said instead, or why nothing was.
  public var unread: String?

  /// Makes a choice.
  ///
  /// - Parameters:
  ///   - probabilities: One an option, or nil.
  ///   - mass: The probability of all options together.
  ///   - unread: What was said instead, where no option could be read.
  public init(probabilities: [Double]?, mass: Double? = nil, unread: String? = nil) {
    self.probabilities = probabilities
    self.mass = mass
    self.unread = unread
  }
}

/// A language model that judges: one of the engine's, or one behind a server.
public protocol JudgeModel {
  /// What it is called in reports.
  var name: String { get }
  /// What tells its answers from those of any other: weights, address, ways of asking.
  var identity: String { get }

  /// Whether the ranks of a run share the work among them; if not, the first one alone is to ask.
  var dealsOut: Bool { get }

  /// Chooses between the options of questions.
  ///
  /// - Parameters:
  ///   - questions: The questions, in any number.
  ///   - told: Given each answer as it comes, with its question's place.
  /// - Throws: An error that says what to do; `interrupted` after Ctrl-C. What was told stays told.
  func choose(_ questions: [JudgeQuestion], told: (Int, JudgeChoice) throws -> Void) throws

  /// Continues conversations.
  ///
  /// - Parameters:
  ///   - conversations: Each ends in a turn of the user.
  ///   - maxTokens: Most tokens of an answer.
  ///   - told: Given each answer as it comes, with its conversation's place.
  /// - Throws: As `choose`.
  func write(
    _ conversations: [[Message]], maxTokens: Int, told: (Int, String) throws -> Void) throws
}

extension JudgeModel {
  /// False: a server answers whoever asks.
  public var dealsOut: Bool { false }
}

/// Opens judges.
enum JudgeModels {
  /// Opens a judge by what the command line calls it.
  ///
  /// - Parameters:
  ///   - name: A model as `LoadedModel.open` takes it, or the URL of an OpenAI-compatible server.
  ///   - settings: The knobs.
  ///   - engine: What computes models.
  ///   - neighbour: A model that is open already.
  static func open(
    _ name: String, settings: JudgeSettings, on engine: any Engine, beside neighbour: LoadedModel?
  ) throws -> any JudgeModel {
    if name.hasPrefix("http://") || name.hasPrefix("https://") {
      return try ServerJudge(ChatServer(name, settings: settings), settings: settings)
    }
    return try LocalJudge(
      try LoadedModel.open(name, on: engine, beside: neighbour), pieceTokens: settings.pieceTokens)
  }
}
