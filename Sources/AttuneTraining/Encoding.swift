// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import Foundation

/// A prompt and its answers as tokens.
public struct EncodedGroup: Sendable, Hashable {
  /// An answer's tokens.
  public struct Answer: Sendable, Hashable {
    /// The tokens that follow the prompt's, the end of sequence among them where it has one.
    public var ids: [Int32]
    /// The tokens that carry a loss: all of a plain answer, the assistant's turns of a conversation.
    public var scored: [Range<Int>]
    /// Whether its end was cut off at the longest length.
    public var isCut: Bool
  }

  /// The line of the data file.
  public var line: Int
  /// The tokens that all answers continue; may be empty for whole texts.
  public var prompt: [Int32]
  /// How many tokens the prompt lost at its start.
  public var promptCut: Int
  /// The answers.
  public var answers: [Answer]

  /// Tokens of the prompt and of all answers.
  public var tokens: Int { answers.reduce(prompt.count) { $0 + $1.ids.count } }

  /// The group as segments: the prompt, then the answers that continue it.
  ///
  /// - Parameters:
  ///   - start: The index that the first segment will have.
  ///   - scored: Whether log-probabilities of the answers' scored tokens are wanted.
  ///   - scoringPrompt: Whether those of the prompt are wanted too, but for its first token.
  ///   - scalars: For an answer of n tokens, after which of them the scalar head is read.
  /// - Returns: The segments, and the index of each answer's.
  public func segments(
    from start: Int, scored: Bool = true, scoringPrompt: Bool = false,
    scalars: (Int) -> [Int] = { _ in [] }
  ) -> (segments: [Segment], answers: [Int]) {
    var segments: [Segment] =
      prompt.isEmpty
      ? [] : [Segment(prompt, scored: scoringPrompt && prompt.count > 1 ? [1..<prompt.count] : [])]
    let parent = prompt.isEmpty ? nil : start
    var indices: [Int] = []
    for answer in answers {
      indices.append(start + segments.count)
      segments.append(
        Segment(
          answer.ids, parent: parent, scored: scored ? answer.scored : [],
          scalarsAfter: scalars(answer.ids.count)))
    }
    return (segments, indices)
  }
}

/// What was cut while a data set was encoded.
public struct CutCounts: Sendable, Equatable, Codable {
  /// Prompts that lost their start.
  public var prompts = 0
  /// Answers that lost their end.
  public var completions = 0
  /// Answers in all.
  public var answers = 0

  /// One line for people; nil if nothing was cut.
  public func summary(maximumLength: Int) -> String? {
    guard prompts + completions > 0 else { return nil }
    return "max_length \(maximumLength): of \(answers) texts \(prompts) lost the start of their "
      + "prompt and \(completions) the end of their answer"
  }
}

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
  /// The longest text, prompt and answer together: longer prompts lose their start, so that the
  /// answer fits; an answer that is too long by itself loses its end.
  public let maximumLength: Int
  /// What ends an answer.
  public let endOfSequence: Int32
  /// What an empty prompt begins with.
  public let beginOfSequence: Int32?
  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - model: The model that reads the tokens.
  ///   - maximumLength: The longest text; 0 or more than the model reads: the model's own limit.
  /// - Throws: `TrainingError` if the model has no end-of-sequence token.
  public init(_ model: LoadedModel, maximumLength: Int = 0) throws {
    let limit = model.model.spec.maximumPositions
    guard let end = model.tokenizer.endOfSequence ?? model.model.spec.endOfSequence.first else {
      throw TrainingError(
        .badModel,
        "\(model.name): neither tokenizer nor configuration name an end-of-sequence token")
    }
    tokenizer = model.tokenizer
    chatTemplate = model.chatTemplate
    self.maximumLength = maximumLength > 0 ? min(maximumLength, limit) : limit
    endOfSequence = end
    endings = [end] + model.model.spec.endOfSequence.filter { $0 != end }
    beginOfSequence = model.tokenizer.beginOfSequence ?? model.model.spec.beginOfSequence
  }

  /// A prompt as a model is given it: a string as it is, a conversation up to where the assistant
  /// speaks.
  ///
  /// - Throws: `TrainingError` for an empty prompt where the model has no beginning-of-sequence
  ///   token, or a conversation where it has no chat template.
  public func prompt(_ content: Content) throws -> [Int32] {
    switch content {
    case .text(let text):
      let ids = tokenizer.encode(text)
      if !ids.isEmpty { return ids }
      guard let beginOfSequence else {
        throw TrainingError(
          .badData, "the prompt is empty, and the model has no beginning-of-sequence token")
      }
      return [beginOfSequence]
    case .messages(let messages):
      return tokenizer.encode(try template().pieces(messages, addGenerationPrompt: true))
    }
  }

  /// A prompt and its answers, cut to the longest length.
  ///
  /// - Parameters:
  ///   - prompt: The prompt.
  ///   - answers: The answers, and whether each ended by itself.
  ///   - sampled: For each answer its tokens as a model sampled them, where they are known: those that
  ///     say its text in this tokenizer stay as they are, for a text can be cut in more ways than one.
  ///   - line: The line of the data file.
  /// - Throws: `TrainingError` that names the line.
  public func group(
    prompt: Content, answers: [(content: Content, ended: Bool)], sampled: [[Int32]?] = [], line: Int
  ) throws -> EncodedGroup {
    try named(line) {
      let promptIds = try self.prompt(prompt)
      let encoded = try answers.enumerated().map { i, answer in
        if i < sampled.count, let ids = sampled[i], !ids.isEmpty,
          tokenizer.decode(ids) == answer.content.lastText
        {
          return EncodedGroup.Answer(ids: ids, scored: [0..<ids.count], isCut: false)
        }
        return try self.answer(
          answer.content, to: prompt, promptIds: promptIds, ended: answer.ended)
      }
      return cut(EncodedGroup(line: line, prompt: promptIds, promptCut: 0, answers: encoded))
    }
  }

  /// A row of a data file; a row without an answer gives a group without answers.
  ///
  /// - Throws: `TrainingError` that names the line.
  public func group(_ row: Row) throws -> EncodedGroup {
    switch row.example {
    case .text(let content): return try text(content, line: row.line)
    case .prompt(let prompt): return try group(prompt: prompt, answers: [], line: row.line)
    case .completion(let prompt, let completion), .unpaired(let prompt, let completion, _):
      return try group(prompt: prompt, answers: [(completion, true)], line: row.line)
    case .preference(let pair):
      return try group(
        prompt: pair.prompt,
        answers: [
          (pair.chosen, ended(row, "chosen_finish_reason")),
          (pair.rejected, ended(row, "rejected_finish_reason")),
        ], sampled: ["chosen_ids", "rejected_ids"].map { Self.ids(row, $0) }, line: row.line)
    case .ranking(let ranking):
      let reasons = row.json["finish_reasons"]
      let answers = ranking.completions.enumerated().map { i, completion in
        var ended = true
        if case .array(let list)? = reasons, i < list.count { ended = list[i] != .string("length") }
        return (content: completion, ended: ended)
      }
      return try group(prompt: ranking.prompt, answers: answers, line: row.line)
    case .samples(let sample):
      // Token ids stay token ids, but for those of another model's tokenizer.
      guard sample.models.count < 2, let ids = sample.ids else {
        return try group(
          prompt: sample.prompt,
          answers: sample.completions.map { (.text($0.text), $0.finishReason == .stop) },
          sampled: sample.completions.map(\.ids), line: row.line)
      }
      let prompt = try named(row.line) { try self.prompt(sample.prompt) }
      let answers = ids.map {
        EncodedGroup.Answer(ids: $0, scored: [0..<$0.count], isCut: false)
      }
      return cut(EncodedGroup(line: row.line, prompt: prompt, promptCut: 0, answers: answers))
    }
  }

  /// Token ids under a key of a row; nil where there are none.
  static func ids(_ row: Row, _ key: String) -> [Int32]? {
    guard case .array(let values)? = row.json[key] else { return nil }
    let ids = values.compactMap { value -> Int32? in
      guard case .number(let digits) = value, let id = Int32(digits), id >= 0 else { return nil }
      return id
    }
    return ids.count == values.count ? ids : nil
  }

  /// The tokens that end an answer while it is sampled.
  public let endings: [Int32]

  /// The prompts of a data file, each once.
  ///
  /// - Parameters:
  ///   - data: Rows of any kind that has prompts.
  ///   - room: Tokens that must be left for an answer; longer prompts lose their start.
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  public func prompts(
    _ data: DataFile, room: Int
  ) throws -> (prompts: [Content], ids: [[Int32]]) {
    guard room < maximumLength else {
      throw TrainingError(
        .badSetting, "answers of \(room) tokens leave no room for a prompt in \(maximumLength)")
    }
    var prompts: [Content] = []
    var ids: [[Int32]] = []
    var seen: Set<Content> = []
    for row in data.rows {
      guard let prompt = row.example.prompt else {
        throw TrainingError(.badData, "\(data.url.path): line \(row.line): has no prompt")
      }
      guard seen.insert(prompt).inserted else { continue }
      do {
        prompts.append(prompt)
        ids.append(
          Array(try named(row.line) { try self.prompt(prompt) }.suffix(maximumLength - room)))
      } catch let error as TrainingError {
        throw TrainingError(error.code, "\(data.url.path): \(error.message)")
      }
    }
    return (prompts, ids)
  }

  /// Adds up what was cut from encoded rows.
  public func cuts(_ groups: [EncodedGroup]) -> CutCounts {
    var counts = CutCounts()
    for group in groups {
      if group.promptCut > 0 { counts.prompts += 1 }
      counts.answers += group.answers.count
      counts.completions += group.answers.count(where: \.isCut)
    }
    return counts
  }

  private func ended(_ row: Row, _ key: String) -> Bool { row.json[key] != .string("length") }

  private func text(_ content: Content, line: Int) throws -> EncodedGroup {
    try named(line) {
      switch content {
      case .text(let text):
        let ids = tokenizer.encode(text) + [endOfSequence]
        // The first token has nothing before it that could predict it, unless texts begin with a
        // token of their own.
        let begin = beginsTexts ? beginOfSequence.map { [$0] } ?? [] : []
        let scored = [(begin.isEmpty ? 1 : 0)..<ids.count]
        return cut(
          EncodedGroup(
            line: line, prompt: begin, promptCut: 0,
            answers: [EncodedGroup.Answer(ids: ids, scored: scored, isCut: false)]))
      case .messages(let messages):
        guard let first = messages.firstIndex(where: { $0.role == "assistant" }), first > 0 else {
          throw TrainingError(.badData, "the conversation has no answer to learn from")
        }
        let prompt = Content.messages(Array(messages[..<first]))
        let promptIds = try self.prompt(prompt)
        let answer = try answer(
          .messages(Array(messages[first...])), to: prompt, promptIds: promptIds, ended: true)
        return cut(EncodedGroup(line: line, prompt: promptIds, promptCut: 0, answers: [answer]))
      }
    }
  }

  /// Texts begin with the beginning-of-sequence token where the tokenizer puts one there, and where
  /// that token is the end of the text before (GPT-2's way).
  private var beginsTexts: Bool {
    beginOfSequence == endOfSequence
      || tokenizer.addingSequenceTokens([]).first == beginOfSequence
  }

  /// An answer's tokens after its prompt's.
  func answer(
    _ content: Content, to prompt: Content, promptIds: [Int32], ended: Bool
  ) throws -> EncodedGroup.Answer {
    switch (prompt, content) {
    case (.text, .text(let text)):
      let ids = tokenizer.encode(text) + (ended ? [endOfSequence] : [])
      return EncodedGroup.Answer(ids: ids, scored: [0..<ids.count], isCut: false)
    case (.messages(let before), .text(let text)):
      let message = Message(role: "assistant", content: text)
      return try turns([message], after: before, promptIds: promptIds, ended: ended)
    case (.messages(let before), .messages(let messages)):
      return try turns(messages, after: before, promptIds: promptIds, ended: ended)
    case (.text, .messages):
      throw TrainingError(
        .badData, "the prompt is a string and the answer a conversation; both must be of one kind")
    }
  }

  /// The tokens of turns after a prompt, with the assistant's as scored ranges. Each answer is
  /// tokenised apart, as a model says it after the tokens of what stands before.
  private func turns(
    _ turns: [Message], after before: [Message], promptIds: [Int32], ended: Bool
  ) throws -> EncodedGroup.Answer {
    let parts = try template().conversation(before + turns, answersFrom: before.count)
    guard let first = parts.firstIndex(where: { $0.answer != nil }),
      let last = parts.lastIndex(where: { $0.answer != nil })
    else { throw TrainingError(.badData, "the answer has no turn of the assistant") }
    var ids = parts[..<first].flatMap { tokenizer.encode($0.pieces) }
    guard ids.starts(with: promptIds) else {
      throw TrainingError(
        .badModel,
        "the chat template writes the prompt otherwise once an answer follows, so the loss can't "
          + "be placed")
    }
    ids.removeFirst(promptIds.count)
    var scored: [Range<Int>] = []
    for (i, part) in parts[...last].enumerated().dropFirst(first) {
      var turn = tokenizer.encode(part.pieces)
      // The last answer ends in the end of sequence, whether the template puts it there or not,
      // unless it was cut.
      if i == last, turn.last != endOfSequence { turn.append(endOfSequence) }
      if i == last, !ended { turn.removeLast() }
      if part.answer != nil { scored.append(ids.count..<ids.count + turn.count) }
      ids += turn
    }
    return EncodedGroup.Answer(ids: ids, scored: scored, isCut: false)
  }

  private func template() throws -> ChatTemplate {
    if let chatTemplate { return chatTemplate }
    throw TrainingError(
      .badData,
      "the row is a conversation, and the model has no chat template: use strings, or a model "
        + "with a template")
  }

  /// Longer prompts lose their start, so that every answer fits; an answer that is too long beside
  /// one token of prompt loses its end.
  func cut(_ group: EncodedGroup) -> EncodedGroup {
    var group = group
    let longest = group.answers.map(\.ids.count).max() ?? 0
    let kept = group.prompt.isEmpty ? 0 : 1
    if group.prompt.count + longest > maximumLength {
      let room = max(kept, maximumLength - longest)
      if group.prompt.count > room {
        group.promptCut = group.prompt.count - room
        group.prompt.removeFirst(group.promptCut)
      }
      let left = maximumLength - group.prompt.count
      for i in group.answers.indices where group.answers[i].ids.count > left {
        group.answers[i].ids.removeLast(group.answers[i].ids.count - left)
        group.answers[i].scored = group.answers[i].scored.compactMap {
          $0.lowerBound < left ? $0.lowerBound..<min($0.upperBound, left) : nil
        }
        group.answers[i].isCut = true
      }
    }
    return group
  }

  private func named<T>(_ line: Int, _ body: () throws -> T) throws -> T {
    do {
      return try body()
    } catch let error as TrainingError {
      throw TrainingError(error.code, "line \(line): \(error.message)")
    } catch let error as DataError {
      throw TrainingError(.badData, "line \(line): \(error.message)")
    }
  }
}
