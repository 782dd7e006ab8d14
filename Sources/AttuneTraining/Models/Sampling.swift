// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
public import AttuneData
public import AttuneEngine
import AttuneFiles
import Foundation

/// The knobs of sampling: of `attune sample`, `generate` and `chat`.
public struct SampleSettings: Settings {
  /// Answers to each prompt.
  public var n = 4
  /// What logits are divided by; 0 takes the most probable token.
  public var temperature = 1.0
  /// How many of the most probable tokens are kept; 0 keeps all.
  public var topK = 0
  /// The smallest set of most probable tokens that holds this probability is kept; 1 keeps all.
  public var topP = 1.0
  /// Tokens with less than this share of the greatest probability are dropped.
  public var minP = 0.0
  /// Logits of tokens that came before are divided by this; 1 changes nothing.
  public var repetitionPenalty = 1.0
  /// Most tokens of an answer.
  public var maxTokens = 64
  /// Texts that end an answer, which keeps what came before them.
  public var stop: [String] = []
  /// Answers that are decoded together: speed and memory, not what is drawn.
  public var batch = 32
  /// Which numbers answers are drawn with.
  public var sampler = Sampler.same
  /// The seed of all draws.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    guard temperature == 0 else { return [] }
    return ["top_k", "top_p", "min_p"].map { ($0, "temperature is 0, which is greedy") }
  }

  /// The knobs as the engine takes them.
  func engine(end: [Int32]) -> SamplingSettings {
    var settings = SamplingSettings()
    settings.temperature = temperature
    settings.topK = topK
    settings.topP = topP
    settings.minP = minP
    settings.repetitionPenalty = repetitionPenalty
    settings.maxTokens = maxTokens
    settings.samplesPerPrompt = n
    settings.seed = seed
    settings.batch = batch
    settings.sampler = sampler
    settings.stopIds = end
    return settings
  }
}

/// An answer with its numbers.
public struct SampledAnswer: Sendable, Equatable, Codable {
  /// Ids, text, and whether it ended by itself.
  public var completion: Completion
  /// For each token its log-probability at the sampling temperature over the full vocabulary.
  public var logProbabilities: [Double]

  /// Makes an answer.
  ///
  /// - Parameters:
  ///   - completion: Ids, text, and whether it ended by itself.
  ///   - logProbabilities: One number a token.
  public init(completion: Completion, logProbabilities: [Double]) {
    self.completion = completion
    self.logProbabilities = logProbabilities
  }

  /// An answer from a file of samples, of whose log-probabilities only the sum is known.
  ///
  /// - Throws: `TrainingError` for one without token ids, which a server gave.
  package init(_ row: SampleRow.Completion) throws {
    guard let ids = row.ids, let logProbability = row.logProbability else {
      throw TrainingError(
        .badData, "a sampled answer has no ids and logprob: sample with a local model")
    }
    completion = Completion(
      ids: ids, text: row.text, endedByItself: row.finishReason == .stop)
    logProbabilities = [logProbability]
  }

  /// Its row in a file of samples.
  package var row: SampleRow.Completion {
    SampleRow.Completion(
      text: completion.text, ids: completion.ids,
      logProbability: logProbabilities.reduce(0, +),
      finishReason: completion.endedByItself ? .stop : .length)
  }
}

/// Samples answers, with texts that stop them.
public enum Sampling {
  /// Samples answers to prompts.
  ///
  /// - Parameters:
  ///   - loaded: The model.
  ///   - prompts: Token ids, at least one each.
  ///   - settings: The knobs.
  ///   - streams: For each prompt the stream of random numbers of its first answer; unless given,
  ///     answers are numbered through all prompts.
  ///   - label: What the progress is called; nil shows none.
  ///   - style: Where progress goes.
  ///   - onText: Given each answer's text as it comes: prompt, answer, more text.
  /// - Returns: For each prompt its answers.
  /// - Throws: An error that names a setting or prompt at fault; `interrupted` after Ctrl-C.
  public static func answers(
    _ loaded: LoadedModel, prompts: [[Int32]], settings: SampleSettings, streams: [UInt64]? = nil,
    label: String? = nil, style: ProgressLine.Style = .automatic,
    onText: ((Int, Int, String) throws -> Void)? = nil
  ) throws -> [[SampledAnswer]] {
    try settings.validate()
    // Each rank of a run answers a block of the prompts.
    let ranks = Collective.current
    let block = ranks.share(of: prompts.count)
    let streams =
      streams
      ?? (ranks.isAlone ? nil : prompts.indices.map { UInt64($0) * UInt64(settings.n) })
    return try ranks.gather {
      guard !block.isEmpty else { return [] }
      return try ownAnswers(
        loaded, prompts: Array(prompts[block]), settings: settings,
        streams: streams.map { Array($0[block]) }, label: label, style: style,
        onText: onText.map { onText in { try onText($0 + block.lowerBound, $1, $2) } })
    }
  }

  private static func ownAnswers(
    _ loaded: LoadedModel, prompts: [[Int32]], settings: SampleSettings, streams: [UInt64]?,
    label: String?, style: ProgressLine.Style, onText: ((Int, Int, String) throws -> Void)?
  ) throws -> [[SampledAnswer]] {
    let endings = try TextEncoder(loaded).endings
    let ends = Set(endings)
    var watches: [Int: StopWatch] = [:]
    var progress = ProgressLine(
      label ?? "", total: prompts.count * settings.n, unit: "answers",
      style: label == nil ? .silent : style)
    var done = 0
    let isWatched = !settings.stop.isEmpty || onText != nil
    let samples = try loaded.model.sample(
      prompts, settings.engine(end: endings), streams: streams
    ) { event in
      if Interrupt.isRequested { throw TrainingError(.interrupted, "stopped while sampling") }
      let isEnd = ends.contains(event.id)
      var goesOn = true
      if isWatched {
        let key = event.prompt * settings.n + event.sample
        var watch = watches[key] ?? StopWatch(loaded.tokenizer, stops: settings.stop)
        let text = isEnd ? watch.finish() : watch.append(event.id)
        goesOn = !watch.isStopped
        watches[key] = watch
        if !text.isEmpty { try onText?(event.prompt, event.sample, text) }
      }
      if isEnd || !goesOn || event.position + 1 >= settings.maxTokens {
        done += 1
        progress.update(done)
      }
      return goesOn
    }
    return try samples.enumerated().map { prompt, samples in
      try samples.enumerated().map { index, sample in
        let key = prompt * settings.n + index
        var text = loaded.tokenizer.decode(sample.ids)
        var stopped = false
        if isWatched, var watch = watches[key] {
          // What was held back because a stop text might have begun there.
          let rest = watch.finish()
          if !rest.isEmpty { try onText?(prompt, index, rest) }
          stopped = watch.isStopped
          if stopped { text = watch.text }
        }
        return SampledAnswer(
          completion: Completion(
            ids: sample.ids, text: text,
            endedByItself: sample.finishReason == .stop || stopped),
          logProbabilities: sample.logProbability)
      }
    }
  }
}

/// The text of an answer as it grows, up to the first stop text.
package struct StopWatch {
  private var decoder: StreamingDecoder
  private let stops: [String]
  /// What has been given out.
  package private(set) var text = ""
  private var held = ""
  /// Whether a stop text came.
  package private(set) var isStopped = false

  /// - Parameters:
  ///   - tokenizer: Whose ids will come.
  ///   - stops: Texts that end the answer.
  package init(_ tokenizer: Tokenizer, stops: [String]) {
    decoder = StreamingDecoder(tokenizer)
    self.stops = stops
  }

  /// Adds a token.
  ///
  /// - Returns: Text that is sure by now: nothing that may turn out to begin a stop text.
  package mutating func append(_ id: Int32) -> String { take(decoder.append(id), isLast: false) }

  /// Gives out what is left.
  package mutating func finish() -> String { take(decoder.finish(), isLast: true) }

  private mutating func take(_ more: String, isLast: Bool) -> String {
    guard !isStopped else { return "" }
    held += more
    if let first = stops.compactMap({ held.range(of: $0)?.lowerBound }).min() {
      isStopped = true
      return give(String(held[..<first]))
    }
    if isLast { return give(held) }
    var keep = 0
    for stop in stops {
      for length in stride(from: min(stop.count - 1, held.count), to: keep, by: -1)
      where held.hasSuffix(stop.prefix(length)) {
        keep = length
        break
      }
    }
    return give(String(held.dropLast(keep)))
  }

  private mutating func give(_ part: String) -> String {
    held = isStopped ? "" : String(held.dropFirst(part.count))
    text += part
    return part
  }
}

extension SampleSettings {
  /// The knobs as they are written beside samples.
  public var json: JSONValue {
    get throws {
      try JSONDecoder().decode(
        JSONValue.self, from: Data(try JSONText.line(self).utf8))
    }
  }
}

extension Sampling {
  /// Samples answers to some prompts of many: each prompt's answers are what they would be if all
  /// were sampled at once.
  ///
  /// - Parameters:
  ///   - loaded: The model.
  ///   - prompts: The prompts.
  ///   - numbers: The place of each among all.
  ///   - settings: The knobs.
  /// - Returns: A row for each prompt.
  /// - Throws: An error that names a setting or prompt at fault; `interrupted` after Ctrl-C.
  public static func rows(
    _ loaded: LoadedModel, prompts: [Content], numbers: [Int], settings: SampleSettings
  ) throws -> [SampleRow] {
    let encoder = try TextEncoder(loaded)
    let sampling = try settings.json
    let answers = try answers(
      loaded, prompts: try prompts.map { try encoder.prompt($0) }, settings: settings,
      streams: numbers.map { UInt64($0) * UInt64(settings.n) })
    return zip(prompts, answers).map { prompt, answers in
      SampleRow(
        prompt: prompt, completions: answers.map(\.row),
        model: .init(name: loaded.name, fingerprint: loaded.fingerprint), sampling: sampling)
    }
  }
}

extension SampleSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("n", "Answers to each prompt.", .whole(1...Knob.mostAnswers)),
    Knob(
      "temperature", "What logits are divided by; 0 takes the most probable token.",
      .number(.atLeast(0))),
    Knob(
      "top_k", "How many of the most probable tokens are kept; 0 keeps all.", .whole(atLeast: 0)),
    Knob(
      "top_p",
      "The smallest set of most probable tokens that holds this probability is kept; 1 keeps all.",
      .number(.above(0, atMost: 1))),
    Knob(
      "min_p", "Tokens with less than this share of the greatest probability are dropped.",
      .number(.from(0, to: 1))),
    Knob(
      "repetition_penalty",
      "Logits of tokens that came before are divided by this; 1 changes nothing.",
      .number(.above(0))),
    Knob("max_tokens", "Most tokens of an answer.", .whole(atLeast: 1)),
    Knob("stop", "Texts that end an answer, which keeps what came before them.", .texts),
    Knob(
      "batch", "Answers that are decoded together: speed and memory, not what is drawn.",
      .whole(atLeast: 1)),
    .sampler,
    Knob.seed("all draws"),
  ]
}
