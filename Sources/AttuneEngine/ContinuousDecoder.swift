// SPDX-License-Identifier: Apache-2.0

/// Decodes texts that come and go: a new one is taken in while others are under way, and each leaves when it
/// is done (continuous batching; Yu et al. 2022, Orca).
///
/// What every engine guarantees: what a request is given depends on the model and the request alone, to the
/// last bit, not on the texts beside it, on when it came or on what was kept of earlier ones. It is what
/// `LanguageModel.sample` draws for the prompt, settings, seed and stream.
///
/// It belongs to its model's owner, on the same thread, and none of its steps overlaps a pass. The model must
/// not be trained while it is used.
public protocol ContinuousDecoder: AnyObject {
  /// How it was made, sizes settled.
  var settings: DecoderSettings { get }
  /// Requests that have not ended.
  var count: Int { get }

  /// Takes a request in; its prompt is read when there is room.
  ///
  /// - Parameter request: What is to be decoded.
  /// - Returns: The number under which events speak of it.
  /// - Throws: `EngineError` if it does not fit the model or the decoder; others are not touched.
  func begin(_ request: DecoderRequest) throws -> Int

  /// Ends a request; nothing more is heard of it. Of one that has ended nothing comes.
  ///
  /// - Parameter number: What `begin` gave.
  func cancel(_ number: Int)

  /// Reads a piece of the prompts that wait, and draws a token of each text whose prompt has been read.
  ///
  /// - Returns: What came of it; nothing where nothing is under way.
  /// - Throws: `EngineError` if logits are not finite; `CancellationError` in a task that was cancelled.
  func step() throws -> [DecoderEvent]
}

/// How much a decoder does at once.
public struct DecoderSettings: Sendable, Equatable {
  /// Texts that are decoded side by side.
  public var sequences = 32
  /// Texts that ended whose keys and values are kept, so that a prompt that goes on from one, or begins as
  /// it does, is read from there on.
  public var kept = 16
  /// Most tokens of a prompt and its answer; nil: what the model reads, halved until there is memory for it.
  public var context: Int?
  /// Which numbers are drawn with.
  public var sampler = Sampler.same

  /// The defaults.
  public init() {}
}

/// A prompt to be answered.
public struct DecoderRequest: Sendable, Equatable {
  /// Token ids, at least one.
  public var prompt: [Int32]
  /// How its answer is drawn. `samplesPerPrompt` is 1, and `batch` and `sampler` are the decoder's own.
  public var settings: SamplingSettings
  /// Its stream of random numbers.
  public var stream: UInt64
  /// How many of the likeliest tokens are told at each place beside the one that was drawn.
  public var listed: Int
  /// Whether the prompt's own tokens are scored.
  public var scoresPrompt: Bool

  /// Makes a request.
  ///
  /// - Parameters:
  ///   - prompt: Token ids.
  ///   - settings: How its answer is drawn.
  ///   - stream: Its stream of random numbers.
  ///   - listed: How many of the likeliest tokens are told at each place.
  ///   - scoresPrompt: Whether the prompt's own tokens are scored.
  public init(
    prompt: [Int32], settings: SamplingSettings, stream: UInt64 = 0, listed: Int = 0,
    scoresPrompt: Bool = false
  ) {
    self.prompt = prompt
    self.settings = settings
    self.stream = stream
    self.listed = listed
    self.scoresPrompt = scoresPrompt
  }
}

/// A token and how likely it was.
public struct ScoredToken: Sendable, Equatable {
  /// A token of the vocabulary with its log-probability.
  public struct Listed: Sendable, Equatable {
    /// The token.
    public var id: Int32
    /// In nats.
    public var logProbability: Double

    /// Makes an entry.
    public init(id: Int32, logProbability: Double) {
      self.id = id
      self.logProbability = logProbability
    }
  }

  /// The token.
  public var id: Int32
  /// Its log-probability in nats by the model itself: at temperature 1, before any filter or penalty.
  public var logProbability: Double
  /// The likeliest tokens of that place, the likeliest first; as many as were asked for.
  public var listed: [Listed]

  /// Makes a token.
  public init(id: Int32, logProbability: Double, listed: [Listed] = []) {
    self.id = id
    self.logProbability = logProbability
    self.listed = listed
  }
}

/// What a step of a decoder came to.
public enum DecoderEvent: Sendable, Equatable {
  /// The prompt of a request was read that asked for its scores: those of its tokens but the first.
  case prompt(Int, [ScoredToken])
  /// A token was drawn; where it ended the text, why.
  case token(Int, ScoredToken, Sample.FinishReason?)
}

extension LanguageModel {
  /// None: an engine need not have one.
  public func decoder(_ settings: DecoderSettings) throws -> any ContinuousDecoder {
    throw EngineError(
      .unavailable, "\(engine.record.library): this engine answers no requests that come one by one"
    )
  }
}
