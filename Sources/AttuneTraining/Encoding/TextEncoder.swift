// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine

/// The one way from text to tokens: for training, scoring and sampling alike.
///
/// Strings are tokenised apart and joined as they are, an answer that is whole ends in the
/// end-of-sequence token, and conversations go through the model's chat template. What a text holds
/// never becomes a control token. Masks come from lengths, never from token ids.
public struct TextEncoder: Sendable {
  /// The tokenizer.
  public let tokenizer: Tokenizer
  /// The chat template, if the model has one.
  public let chatTemplate: ChatTemplate?
  /// The longest text, prompt and answer together.
  public let maximumLength: Int
  /// What becomes of longer ones.
  public let tooLong: TooLong
  /// What ends an answer.
  public let endOfSequence: Int32
  /// What an empty prompt begins with.
  public let beginOfSequence: Int32?
  /// The tokens that end an answer while it is sampled.
  public let endings: [Int32]

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - model: The model that reads the tokens.
  ///   - maximumLength: The longest text; 0 or more than the model reads: the model's own limit.
  ///   - tooLong: What becomes of longer ones.
  /// - Throws: `TrainingError` if the model has no end-of-sequence token.
  public init(
    _ model: LoadedModel, maximumLength: Int = 0, tooLong: TooLong = .cut
  ) throws {
    let limit = model.model.spec.maximumPositions
    guard let end = model.tokenizer.endOfSequence ?? model.model.spec.endOfSequence.first else {
      throw TrainingError(
        .badModel,
        "\(model.name): neither tokenizer nor configuration name an end-of-sequence token")
    }
    tokenizer = model.tokenizer
    chatTemplate = model.chatTemplate
    self.maximumLength = maximumLength > 0 ? min(maximumLength, limit) : limit
    self.tooLong = tooLong
    endOfSequence = end
    endings = [end] + model.model.spec.endOfSequence.filter { $0 != end }
    beginOfSequence = model.tokenizer.beginOfSequence ?? model.model.spec.beginOfSequence
  }

  /// A prompt as a model is given it: a string as its tokenizer reads texts, a conversation up to
  /// where the assistant speaks, or goes on to speak.
  ///
  /// - Throws: `TrainingError` for an empty prompt where the model has no beginning-of-sequence
  ///   token, or a conversation where it has no chat template.
  public func prompt(_ content: Content) throws -> [Int32] {
    switch content {
    case .text(let text):
      let ids = begun(text)
      if !ids.isEmpty { return ids }
      guard let beginOfSequence else {
        throw TrainingError(
          .badData, "the prompt is empty, and the model has no beginning-of-sequence token")
      }
      return [beginOfSequence]
    case .messages(let messages):
      let template = try template()
      try template.requireWritten(messages, answersFrom: messages.count)
      return tokenizer.encode(try template.prompt(messages))
    }
  }

  /// A text behind the tokens that the tokenizer puts before one (Llama 3's beginning of text); a text
  /// that begins with their words has them once.
  private func begun(_ text: String) -> [Int32] {
    tokenizer.sequencePrefix + tokenizer.encode(withoutPrefix(text))
  }

  private func withoutPrefix(_ text: String) -> String {
    let words = tokenizer.decode(tokenizer.sequencePrefix, skippingSpecialTokens: false)
    return !words.isEmpty && text.hasPrefix(words) ? String(text.dropFirst(words.count)) : text
  }

  /// A whole text, its first token behind what it begins with.
  ///
  /// - Throws: ``PassedOver`` for one without a word.
  func whole(_ text: String, line: Int) throws -> EncodedGroup {
    // The first token has nothing before it that could predict it, unless texts begin with a token of
    // their own: where the tokenizer puts one there, and where that token is the end of the text
    // before (GPT-2's way).
    var begin = tokenizer.sequencePrefix
    if begin.isEmpty, let beginOfSequence, beginOfSequence == endOfSequence {
      begin = [beginOfSequence]
    }
    let ids = tokenizer.encode(withoutPrefix(text)) + [endOfSequence]
    let scored = (begin.isEmpty ? 1 : 0)..<ids.count
    guard ids.count > 1 else { throw PassedOver(line, "the text is empty") }
    return try fitted(
      EncodedGroup(
        line: line, prompt: begin, promptCut: 0,
        answers: [EncodedAnswer(ids: ids, scored: [scored], isCut: false)]))
  }

  func template() throws -> ChatTemplate {
    if var chatTemplate {
      // A run that goes on may have set the clock since this was made.
      chatTemplate.now = TemplateClock.now
      return chatTemplate
    }
    throw TrainingError(
      .badData,
      "the row is a conversation, and the model has no chat template: use strings, or a model "
        + "with a template")
  }

  // MARK: - Length

  /// What a prompt that is cut keeps at least: a quarter of the longest length.
  static func leastPrompt(_ maximumLength: Int) -> Int { max(1, maximumLength / 4) }

  /// A group that is no longer than the longest length, by the rule that ``tooLong`` names.
  ///
  /// - Throws: ``PassedOver`` for one that is too long where such rows are dropped, and for one of
  ///   whose answers nothing that carries a loss is left.
  func fitted(_ group: EncodedGroup) throws -> EncodedGroup {
    let longest = group.answers.map(\.ids.count).max() ?? 0
    guard group.prompt.count + longest > maximumLength else { return group }
    guard tooLong == .cut else {
      throw PassedOver(group.line, "longer than max_length \(maximumLength)")
    }
    let fitted = cut(group)
    func says(_ answer: EncodedAnswer) -> Bool { !answer.scored.allSatisfy(\.isEmpty) }
    guard zip(group.answers, fitted.answers).allSatisfy({ !says($0) || says($1) }) else {
      throw PassedOver(
        group.line, "no token that carries a loss is within max_length \(maximumLength)")
    }
    return fitted
  }

  /// The prompt loses its start, so that every answer fits, but keeps a quarter of the longest length
  /// and the tokens that begin a text; an answer that is too long beside that loses its end.
  package func cut(_ group: EncodedGroup) -> EncodedGroup {
    var group = group
    let longest = group.answers.map(\.ids.count).max() ?? 0
    guard group.prompt.count + longest > maximumLength else { return group }
    let room = max(Self.leastPrompt(maximumLength), maximumLength - longest)
    let before = group.prompt.count
    group.prompt = end(of: group.prompt, room)
    group.promptCut = before - group.prompt.count
    let left = maximumLength - group.prompt.count
    for i in group.answers.indices where group.answers[i].ids.count > left {
      group.answers[i].ids.removeLast(group.answers[i].ids.count - left)
      group.answers[i].scored = group.answers[i].scored.compactMap {
        $0.lowerBound < left ? $0.lowerBound..<min($0.upperBound, left) : nil
      }
      group.answers[i].isCut = true
    }
    return group
  }

  /// The last tokens of a prompt behind those that begin a text.
  package func end(of prompt: [Int32], _ room: Int) -> [Int32] {
    guard prompt.count > room else { return prompt }
    let prefix = tokenizer.sequencePrefix
    guard !prefix.isEmpty, prompt.starts(with: prefix), prefix.count < room else {
      return Array(prompt.suffix(room))
    }
    return prefix + prompt.suffix(room - prefix.count)
  }

  /// Passes over a pair of which both answers are the same tokens: it prefers nothing to anything.
  ///
  /// - Throws: ``PassedOver``.
  package func requireDifferent(_ pair: EncodedGroup) throws {
    guard pair.answers.count > 1, pair.answers[0].ids == pair.answers[1].ids else { return }
    throw PassedOver(
      pair.line,
      "chosen and rejected are the same"
        + (pair.answers[0].isCut ? " within max_length \(maximumLength)" : ""))
  }
}
