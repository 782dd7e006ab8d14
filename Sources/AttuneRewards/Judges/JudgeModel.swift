// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneTraining

/// What a judge says to a question.
public struct JudgeChoice: Sendable, Equatable, Codable {
  /// The probability of each option, normalised over the options; nil if the judge named none of
  /// them. An answer that is no option is never taken for one.
  public var probabilities: [Double]?
  /// The same of each of the things that a question for several is about; nil of one thing, and where
  /// one of them could not be read.
  public var each: [[Double]]?
  /// Where log-probabilities are known: how much of the judge's probability the options have
  /// together. Little of it means that the judge did not understand what was asked.
  public var mass: Double?
  /// Where no option could be read: what was said instead, or why nothing was.
  public var unread: String?

  /// Makes a choice.
  ///
  /// - Parameters:
  ///   - probabilities: One an option, or nil.
  ///   - each: Those of each thing that is asked about, or nil.
  ///   - mass: The probability of all options together.
  ///   - unread: What was said instead, where no option could be read.
  public init(
    probabilities: [Double]?, each: [[Double]]? = nil, mass: Double? = nil, unread: String? = nil
  ) {
    self.probabilities = probabilities
    self.each = each
    self.mass = mass
    self.unread = unread
  }

  /// Makes a choice of the shares of each thing that was asked about.
  init(_ shares: [[Double]], mass: Double?) {
    let isOne = shares.count == 1
    self.init(probabilities: isOne ? shares[0] : nil, each: isOne ? nil : shares, mass: mass)
  }

  /// Whether options could be read.
  var isRead: Bool { probabilities != nil || each != nil }
}

/// A language model that judges: one of the engine's, or one behind a server.
public protocol JudgeModel {
  /// What it is called in reports.
  var name: String { get }
  /// What tells its answers from those of any other: weights, address, ways of asking.
  var identity: String { get }

  /// Whether the ranks of a run share the work among them; if not, the first one alone is to ask.
  var dealsOut: Bool { get }
  /// Whether its answer can be made to begin with a question's lead, so that it can't be of another form.
  var readsLead: Bool { get }
  /// What it was asked so far: requests that a server answered, or questions that a model read, and
  /// tokens that were read and written, as far as a server tells them.
  var work: JudgeWork { get }

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
  ///   - subjects: What each is about, for errors; empty where nothing is said of it.
  ///   - maxTokens: Most tokens of an answer.
  ///   - told: Given each answer as it comes, with its conversation's place.
  /// - Throws: As `choose`.
  func write(
    _ conversations: [[Message]], about subjects: [String?], maxTokens: Int,
    told: (Int, String) throws -> Void) throws
}

extension JudgeModel {
  /// False: a server answers whoever asks.
  public var dealsOut: Bool { false }

  /// False: a server says what it likes.
  public var readsLead: Bool { false }
}

/// What a judge did.
public struct JudgeWork: Sendable, Equatable {
  /// Requests that a server answered, or questions that a model read.
  public var calls = 0
  /// Tokens read and written.
  public var tokens = 0

  /// Nothing yet.
  public init() {}
}

/// Opens judges.
enum JudgeModels {
  /// Whether a judge's name is the address of a server.
  static func isServer(_ name: String) -> Bool {
    name.hasPrefix("http://") || name.hasPrefix("https://")
  }

  /// Opens a judge by what the command line calls it.
  ///
  /// - Parameters:
  ///   - name: A model as `LoadedModel.open` takes it, or the URL of an OpenAI-compatible server.
  ///   - settings: The knobs.
  ///   - engine: What computes models.
  ///   - neighbour: A model that is open already.
  ///   - isSource: Whether knobs are written behind the name of a reward source, for errors.
  static func open(
    _ name: String, settings: JudgeSettings, on engine: any Engine, beside neighbour: LoadedModel?,
    isSource: Bool = false
  ) throws -> any JudgeModel {
    if isServer(name) {
      let server =
        isSource
        ? try ChatServer(
          name, settings: settings, modelOption: "server_model=NAME behind a comma",
          timeoutOption: "timeout=SECONDS behind a comma")
        : try ChatServer(name, settings: settings)
      return ServerJudge(
        server, settings: settings,
        votesOption: isSource ? "reading=votes behind a comma" : "--set reading=votes")
    }
    return try LocalJudge(
      try LoadedModel.open(name, on: engine, beside: neighbour), pieceTokens: settings.pieceTokens)
  }
}
