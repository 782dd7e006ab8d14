// SPDX-License-Identifier: Apache-2.0

/// What a file of examples holds; one kind to a file.
public enum DataKind: String, Codable, Sendable, CaseIterable {
  /// Whole texts or conversations.
  case languageModelling = "language modelling"
  /// Prompts alone.
  case promptOnly = "prompt-only"
  /// Prompts with one answer.
  case promptCompletion = "prompt–completion"
  /// Prompts with a better and a worse answer.
  case preference
  /// Prompts with one answer that is good or bad.
  case unpaired = "unpaired preference"
  /// Prompts with several answers, scored.
  case ranking
  /// Prompts with a model's answers (`attune sample`).
  case samples
  /// Prompts with an answer in steps that are right or wrong.
  case stepwise
}

/// One example.
public enum Example: Sendable, Hashable {
  /// A whole text or conversation.
  case text(Content)
  /// A prompt alone.
  case prompt(Content)
  /// A prompt and its answer.
  case completion(prompt: Content, completion: Content)
  /// Two answers compared.
  case preference(Preference)
  /// An answer that is good (true) or bad.
  case unpaired(prompt: Content, completion: Content, label: Bool)
  /// Several answers scored.
  case ranking(RankingRow)
  /// A model's answers.
  case samples(SampleRow)
  /// An answer in steps, each right or wrong.
  case stepwise(StepwiseRow)

  /// The kind of data.
  public var kind: DataKind {
    switch self {
    case .text: .languageModelling
    case .prompt: .promptOnly
    case .completion: .promptCompletion
    case .preference: .preference
    case .unpaired: .unpaired
    case .ranking: .ranking
    case .samples: .samples
    case .stepwise: .stepwise
    }
  }

  /// What a model would be given: the prompt, or a conversation up to its last answer. Nil for a
  /// plain text and for a conversation that holds nothing but an answer.
  public var prompt: Content? {
    switch self {
    case .text(.text): return nil
    case .text(.messages(let messages)):
      let end = messages.last?.role == "assistant" ? messages.count - 1 : messages.count
      return end == 0 ? nil : .messages(Array(messages[..<end]))
    case .prompt(let prompt), .completion(let prompt, _), .unpaired(let prompt, _, _):
      return prompt
    case .preference(let pair): return pair.prompt
    case .ranking(let row): return row.prompt
    case .samples(let row): return row.prompt
    case .stepwise(let row): return row.prompt
    }
  }

  /// Whether it is made of turns.
  public var isConversational: Bool {
    switch self {
    case .text(let content): content.isConversational
    default: prompt?.isConversational ?? false
    }
  }

  /// The row that says it, in Attune's own format.
  public var json: JSONValue {
    switch self {
    case .text(let content):
      .object([.init(content.isConversational ? "messages" : "text", content.json)])
    case .prompt(let prompt): .object([.init("prompt", prompt.json)])
    case .completion(let prompt, let completion):
      .object([.init("prompt", prompt.json), .init("completion", completion.json)])
    case .preference(let pair): pair.json
    case .unpaired(let prompt, let completion, let label):
      .object([
        .init("prompt", prompt.json), .init("completion", completion.json),
        .init("label", .bool(label)),
      ])
    case .ranking(let row): row.json
    case .samples(let row): row.json
    case .stepwise(let row): row.json
    }
  }
}
