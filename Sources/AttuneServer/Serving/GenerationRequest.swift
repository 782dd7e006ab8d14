// SPDX-License-Identifier: Apache-2.0

public import AttuneData

/// What somebody wants of a model, by whichever of the two interfaces it came.
public struct GenerationRequest: Sendable {
  /// A prompt.
  public enum Input: Sendable {
    /// A text, or turns of a conversation.
    case content(Content)
    /// Token ids.
    case ids([Int32])
  }

  /// The model, by one of the names that it is served under.
  public var model: String
  /// The prompts.
  public var inputs: [Input]
  /// Answers to each.
  public var n = 1
  /// Most tokens of an answer; nil: as many as there is room for.
  public var maxTokens: Int?
  /// What logits are divided by; 0 takes the most probable token.
  public var temperature = 1.0
  /// The smallest set of most probable tokens that holds this probability is kept.
  public var topP = 1.0
  /// How many of the most probable tokens are kept; 0 keeps all.
  public var topK = 0
  /// Tokens with less than this share of the greatest probability are dropped.
  public var minP = 0.0
  /// Logits of tokens that came before are divided by this.
  public var repetitionPenalty = 1.0
  /// Decides all draws; each answer has a stream of its own.
  public var seed: UInt64
  /// Texts that end an answer.
  public var stop: [String] = []
  /// How many of the likeliest tokens are told at each place; nil: no log-probabilities are.
  public var listed: Int?
  /// Whether the prompt stands before the answer, with its tokens' log-probabilities if there are any.
  public var echo = false
  /// Whether the answers are drafts to choose from: of the policy that answers and the one before it,
  /// where policies are trained.
  public var compares = false

  /// Makes a request.
  public init(model: String, inputs: [Input], seed: UInt64) {
    self.model = model
    self.inputs = inputs
    self.seed = seed
  }

  /// How many answers it asks for.
  public var count: Int { inputs.count * n }
}

/// A token as clients are told of it.
public struct TokenScore: Sendable, Equatable {
  /// A token with its log-probability.
  public struct Entry: Sendable, Equatable {
    /// Its text; bytes that are no whole character as `\xE2`.
    public var text: String
    /// Its bytes.
    public var bytes: [UInt8]
    /// In nats, by the model itself: at temperature 1, before any filter or penalty.
    public var logProbability: Double

    /// Makes an entry.
    public init(text: String, bytes: [UInt8], logProbability: Double) {
      self.text = text
      self.bytes = bytes
      self.logProbability = logProbability
    }
  }

  /// The token that is there. The first of a text has no log-probability.
  public var entry: Entry
  /// Whether nothing stands before it that could make it likely.
  public var isFirst: Bool
  /// The likeliest tokens of that place.
  public var listed: [Entry]

  /// Makes a token.
  public init(_ entry: Entry, isFirst: Bool = false, listed: [Entry] = []) {
    self.entry = entry
    self.isFirst = isFirst
    self.listed = listed
  }
}

/// Why a request can't be answered.
public struct GenerationFailure: Error, Sendable, Equatable {
  /// Whose fault it is.
  public enum Kind: Sendable, Equatable {
    /// The request's: the field at fault.
    case badRequest(field: String)
    /// The request's: there is no such model.
    case noModel
    /// The server's.
    case server
  }

  /// Whose fault it is.
  public var kind: Kind
  /// In words.
  public var message: String

  /// Makes a failure.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}

/// What comes of a request, in the order in which it comes.
public enum GenerationEvent: Sendable {
  /// It is taken up: by which model, and how many tokens its prompts have. The first event, unless it failed.
  case began(model: String, fingerprint: String, promptTokens: Int)
  /// More of an answer: text that is sure by now, and the tokens that were drawn for it or for what is yet
  /// held back. With `echo` the prompt comes first.
  case part(choice: Int, text: String, tokens: [TokenScore])
  /// An answer's end.
  case ended(choice: Int, GenerationEnd)
  /// It failed; the last event.
  case failed(GenerationFailure)
  /// All answers have ended; the last event.
  case done
}

/// How an answer ended.
public struct GenerationEnd: Sendable {
  /// Why.
  public var reason: SampleRow.FinishReason
  /// Its tokens, with one that ended it.
  public var tokens: Int
  /// The answer alone.
  public var text: String
  /// Who gave it.
  public var model: SampleRow.Model
  /// What was answered; nil where that was given as ids.
  public var prompt: Content?
  /// How it was drawn.
  public var sampling: JSONValue

  /// Makes an end.
  public init(
    reason: SampleRow.FinishReason, tokens: Int, text: String, model: SampleRow.Model,
    prompt: Content?, sampling: JSONValue
  ) {
    self.reason = reason
    self.tokens = tokens
    self.text = text
    self.model = model
    self.prompt = prompt
    self.sampling = sampling
  }
}
