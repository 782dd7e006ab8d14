// SPDX-License-Identifier: Apache-2.0

/// Which numbers answers are drawn with.
public enum Sampler: String, Codable, Sendable, CaseIterable {
  /// Those that the model is scored and trained with.
  case same
  /// Weights in 8-bit codes, and what they are multiplied with brought to 8 bits on the way: faster,
  /// and a distribution that is a little off the model's. A sample's log-probabilities are those of
  /// the distribution that drew it.
  case int8
}

extension Engine {
  /// Whether samples are drawn with the numbers that models are scored with, but for rounding in
  /// float32. Of passes in bfloat16 that does not hold: a sum in another order is rounded to another
  /// number now and then.
  public func samplesAsItScores(_ sampler: Sampler) -> Bool {
    sampler == .same && record.precision != .bf16
  }
}

/// How answers are drawn.
///
/// Filters apply in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p.
public struct SamplingSettings: Codable, Sendable, Equatable {
  /// What logits are divided by; 0 takes the most probable token.
  public var temperature = 1.0
  /// How many of the most probable tokens are kept; 0 keeps all.
  public var topK = 0
  /// The smallest set of most probable tokens that holds this probability is kept; 1 keeps all.
  public var topP = 1.0
  /// Tokens with less than this share of the greatest probability are dropped.
  public var minP = 0.0
  /// Logits of tokens of the prompt and the answer so far are divided (multiplied, where negative)
  /// by this (Keskar et al. 2019); 1 changes nothing.
  public var repetitionPenalty = 1.0
  /// Most tokens of an answer.
  public var maxTokens = 64
  /// How many answers each prompt gets.
  public var samplesPerPrompt = 1
  /// Decides all random numbers, together with a sample's stream and position.
  public var seed: UInt64 = 0
  /// Ids that end an answer; nil: the model's end of sequence.
  public var stopIds: [Int32]?
  /// How many answers are decoded together. Changes speed and memory, not the answers.
  public var batch = 32
  /// Which numbers they are drawn with.
  public var sampler = Sampler.same

  /// Default settings.
  public init() {}

  /// Whether samples come from the sampler's own distribution at the temperature, so that their
  /// log-probabilities are those of the proposal that drew them.
  public var isExact: Bool {
    temperature > 0 && topK == 0 && topP == 1 && minP == 0 && repetitionPenalty == 1
  }

  /// Refuses settings that mean nothing.
  ///
  /// - Throws: `EngineError` that names the setting.
  public func validate() throws {
    func demand(_ holds: Bool, _ message: String) throws {
      if !holds { throw EngineError(.badRequest, message) }
    }
    try demand(
      temperature >= 0 && temperature.isFinite,
      "temperature \(temperature): must be 0 (greedy) or above")
    try demand(topK >= 0, "top-k \(topK): must be 0 (off) or above")
    try demand(topP > 0 && topP <= 1, "top-p \(topP): must be above 0 and at most 1 (off)")
    try demand(minP >= 0 && minP <= 1, "min-p \(minP): must be between 0 (off) and 1")
    try demand(
      repetitionPenalty > 0 && repetitionPenalty.isFinite,
      "repetition penalty \(repetitionPenalty): must be above 0 (1 is off)")
    try demand(maxTokens >= 1, "max tokens \(maxTokens): must be at least 1")
    try demand(samplesPerPrompt >= 1, "samples per prompt \(samplesPerPrompt): must be at least 1")
    try demand(batch >= 1, "batch \(batch): must be at least 1")
  }
}

/// One answer.
public struct Sample: Sendable, Equatable, Codable {
  /// Why an answer ended.
  public enum FinishReason: String, Codable, Sendable {
    /// By a stop id, which is its last token.
    case stop
    /// At the most tokens allowed, or at the end of the model's context.
    case length
    /// Because the caller asked for it.
    case cancelled
  }

  /// Token ids, with the stop id if the answer ended by itself.
  public var ids: [Int32]
  /// For each token its log-probability at the sampling temperature (1 where that is 0) over the
  /// full vocabulary, before any filter or penalty.
  public var logProbability: [Double]
  /// Why it ended.
  public var finishReason: FinishReason

  /// Makes an answer.
  ///
  /// - Parameters:
  ///   - ids: Token ids.
  ///   - logProbability: One number a token.
  ///   - finishReason: Why it ended.
  public init(ids: [Int32], logProbability: [Double], finishReason: FinishReason) {
    self.ids = ids
    self.logProbability = logProbability
    self.finishReason = finishReason
  }
}

/// A token that was just drawn.
public struct SampleEvent: Sendable, Equatable {
  /// Index of the prompt.
  public var prompt: Int
  /// Index of the answer among those of its prompt.
  public var sample: Int
  /// Index of the token in the answer.
  public var position: Int
  /// The token.
  public var id: Int32
  /// Its log-probability, as in `Sample`.
  public var logProbability: Double

  /// Makes an event.
  ///
  /// - Parameters:
  ///   - prompt: Index of the prompt.
  ///   - sample: Index of the answer among those of its prompt.
  ///   - position: Index of the token in the answer.
  ///   - id: The token.
  ///   - logProbability: As in `Sample`.
  public init(prompt: Int, sample: Int, position: Int, id: Int32, logProbability: Double) {
    self.prompt = prompt
    self.sample = sample
    self.position = position
    self.id = id
    self.logProbability = logProbability
  }
}
