// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneTraining

/// One answer to one prompt: the object of `generate --json`.
public struct Generation: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The answer.
  public var text: String
  /// Its ids, with the end-of-sequence token if it ended by itself.
  public var ids: [Int32]
  /// The prompt's ids, chat template included.
  public var promptIds: [Int32]
  /// Why it ended.
  public var finishReason: SampleRow.FinishReason
  /// For each id its log-probability at the sampling temperature (1 where that is 0).
  public var logprobs: [Double]
  /// Seconds.
  public var seconds: Double
  /// Tokens a second.
  public var tokensPerSecond: Double
}

/// Answers prompts one at a time.
public enum Generating {
  /// The defaults of `generate` and `chat`: one answer, longer than a rollout's.
  public static var defaults: SampleSettings {
    var settings = SampleSettings()
    settings.n = 1
    settings.maxTokens = 256
    settings.temperature = 0.7
    return settings
  }

  /// The content of a prompt given on the command line.
  ///
  /// - Parameters:
  ///   - prompt: What is asked.
  ///   - system: What a system message says; nil for the template's own.
  ///   - raw: Whether the prompt is used as it is, without chat template.
  /// - Throws: `TrainingError.badSetting` for a system message without template.
  public static func content(prompt: String, system: String?, raw: Bool) throws -> Content {
    guard !raw else {
      guard system == nil else {
        throw TrainingError(.badSetting, "--system goes through the chat template; leave out --raw")
      }
      return .text(prompt)
    }
    let before = system.map { [Message(role: "system", content: $0)] } ?? []
    return .messages(before + [Message(role: "user", content: prompt)])
  }

  /// Answers a prompt.
  ///
  /// - Parameters:
  ///   - loaded: The model.
  ///   - content: The prompt.
  ///   - settings: The knobs; one answer is given.
  ///   - onText: Given the answer as it comes.
  /// - Returns: The answer.
  /// - Throws: An error that names the setting at fault; `interrupted` after Ctrl-C.
  public static func run(
    _ loaded: LoadedModel, content: Content, settings: SampleSettings,
    onText: ((String) throws -> Void)? = nil
  ) throws -> Generation {
    try require(settings.n == 1, "n", "1: for more answers there is attune sample")
    if content.isConversational, loaded.chatTemplate == nil {
      throw TrainingError(
        .badModel, "\(loaded.name): has no chat template; use --raw to continue the prompt as it is"
      )
    }
    let ids = try TextEncoder(loaded).prompt(content)
    let began = ContinuousClock.now
    let answers = try Sampling.answers(
      loaded, prompts: [ids], settings: settings,
      onText: onText.map { onText in { _, _, text in try onText(text) } })
    let elapsed = seconds(ContinuousClock.now - began)
    let answer = answers[0][0]
    return Generation(
      text: answer.completion.text, ids: answer.completion.ids, promptIds: ids,
      finishReason: answer.completion.endedByItself ? .stop : .length,
      logprobs: answer.logProbabilities, seconds: elapsed,
      tokensPerSecond: Double(answer.completion.ids.count) / max(elapsed, 1e-9))
  }
}

/// A conversation with a model: the object of `chat --json`.
public struct Conversation: Codable, Sendable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// Every turn.
  public private(set) var messages: [Message] = []

  /// Begins.
  ///
  /// - Parameter system: What a system message says; nil for the template's own.
  public init(system: String?) {
    if let system { messages.append(Message(role: "system", content: system)) }
  }

  /// Lets the model answer a turn of the user.
  ///
  /// - Throws: As `Generating.run`; the turn is then as if it had not been.
  public mutating func ask(
    _ text: String, of loaded: LoadedModel, settings: SampleSettings,
    onText: (String) throws -> Void
  ) throws {
    let turns = messages + [Message(role: "user", content: text)]
    let answer = try withoutActuallyEscaping(onText) {
      try Generating.run(loaded, content: .messages(turns), settings: settings, onText: $0)
    }
    messages = turns + [Message(role: "assistant", content: answer.text)]
  }

  /// Forgets all turns but a system message.
  public mutating func reset() { messages.removeAll { $0.role != "system" } }
}
