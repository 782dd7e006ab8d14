// SPDX-License-Identifier: Apache-2.0

public import AttuneData

/// Which answers of a conversation are learned.
public enum LearnedAnswers: String, Codable, Sendable, CaseIterable {
  /// Every answer.
  case all
  /// The last one alone.
  case last
}

extension TextEncoder {
  /// A prompt and its answers, cut to the longest length.
  ///
  /// - Parameters:
  ///   - prompt: The prompt.
  ///   - answers: The answers, and whether each ended by itself.
  ///   - sampled: For each answer its tokens as a model sampled them, where they are known: those that
  ///     say its text in this tokenizer stay as they are, for a text can be cut in more ways than one.
  ///   - line: The line of the data file.
  /// - Throws: `TrainingError` that names the line; ``PassedOver`` for a row that is of no use.
  public func group(
    prompt: Content, answers: [(content: Content, ended: Bool)], sampled: [[Int32]?] = [], line: Int
  ) throws -> EncodedGroup {
    try named(line) {
      let promptIds = try self.prompt(prompt)
      let encoded = try answers.enumerated().map { i, answer in
        if i < sampled.count, let ids = sampled[i], !ids.isEmpty,
          tokenizer.decode(ids) == answer.content.lastText
        {
          return EncodedAnswer(ids: ids, scored: [0..<ids.count], isCut: false)
        }
        return try self.answer(
          answer.content, to: prompt, promptIds: promptIds, ended: answer.ended)
      }
      return try fitted(EncodedGroup(line: line, prompt: promptIds, promptCut: 0, answers: encoded))
    }
  }

  /// A row of a data file; a row without an answer gives a group without answers.
  ///
  /// - Throws: `TrainingError` that names the line, also of a conversation that only
  ///   ``learned(_:answers:)`` can take apart; ``PassedOver`` for a row that is of no use.
  public func group(_ row: DataRow) throws -> EncodedGroup {
    var group = try encoded(row)
    group.row = row.number
    return group
  }

  private func encoded(_ row: DataRow) throws -> EncodedGroup {
    switch row.example {
    case .text:
      let groups = try learned(row)
      guard groups.count == 1 else {
        throw TrainingError(
          .badModel,
          "line \(row.line): the chat template rewrites earlier turns, so the conversation is no one "
            + "text; only sft learns from it")
      }
      return groups[0]
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
    case .stepwise:
      throw TrainingError(
        .badData,
        "line \(row.line): stepwise data; attune reward learns from steps (loss pointwise)")
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
        EncodedAnswer(ids: $0, scored: [0..<$0.count], isCut: false)
      }
      return try fitted(
        EncodedGroup(line: row.line, prompt: prompt, promptCut: 0, answers: answers))
    }
  }

  /// What is learned from a row by supervision: its answers, but for empty ones and those of weight 0;
  /// the whole of a plain text.
  ///
  /// - Parameters:
  ///   - row: The row.
  ///   - answers: Which answers of a conversation.
  /// - Returns: One group; of a conversation one for each answer where the template writes earlier turns
  ///   otherwise once others follow, so that every answer stands behind the very text that the model
  ///   would have been given.
  /// - Throws: `TrainingError` that names the line; ``PassedOver`` for a row without such an answer.
  public func learned(_ row: DataRow, answers: LearnedAnswers = .all) throws -> [EncodedGroup] {
    try encoded(row, answers).map { group in
      var group = group
      group.row = row.number
      return group
    }
  }

  private func encoded(_ row: DataRow, _ answers: LearnedAnswers) throws -> [EncodedGroup] {
    switch row.example {
    case .text(.text(let text)): return [try whole(text, line: row.line)]
    case .text(.messages(let messages)):
      return try learned(messages, from: messages.answersFrom, answers, line: row.line)
    case .completion(.messages(let before), let completion)
    where before.last?.role != "assistant":
      let turns = completion.turns
      return try learned(before + turns, from: before.count, answers, line: row.line)
    case .completion(_, let completion):
      guard answers == .all || completion.turns.count(where: { $0.role == "assistant" }) < 2 else {
        throw TrainingError(
          .badData,
          "line \(row.line): the answer goes on with a turn of the assistant's and has several; "
            + "answers=last does not tell them apart")
      }
      guard completion.turns.contains(where: { !$0.isEmpty && $0.carriesLoss }) else {
        throw PassedOver(row.line, Self.noAnswer)
      }
      return [try group(row)]
    default: return [try group(row)]
    }
  }

  private static let noAnswer = "no answer to learn from"

  private func learned(
    _ messages: [Message], from start: Int, _ answers: LearnedAnswers, line: Int
  ) throws -> [EncodedGroup] {
    var places = messages.indices.filter { i in
      i >= start && messages[i].role == "assistant" && messages[i].carriesLoss
        && !messages[i].isEmpty
    }
    if answers == .last { places = places.suffix(1) }
    guard let first = places.first, let last = places.last else {
      throw PassedOver(line, Self.noAnswer)
    }
    func group(_ first: Int, _ last: Int) throws -> EncodedGroup {
      let before = Array(messages[..<first])
      let promptIds = try prompt(.messages(before))
      let answer = try turns(
        Array(messages[first...last]), after: before, promptIds: promptIds, ended: true,
        passingOverEmpty: true)
      return try fitted(
        EncodedGroup(line: line, prompt: promptIds, promptCut: 0, answers: [answer]))
    }
    return try named(line) {
      do {
        return [try group(first, last)]
      } catch let error as DataError where error.code == .rewritingTemplate && places.count > 1 {
        return try places.map { try group($0, $0) }
      }
    }
  }

  /// Token ids under a key of a row; nil where there are none.
  static func ids(_ row: DataRow, _ key: String) -> [Int32]? {
    guard case .array(let values)? = row.json[key] else { return nil }
    let ids = values.compactMap { value -> Int32? in
      guard case .number(let digits) = value, let id = Int32(digits), id >= 0 else { return nil }
      return id
    }
    return ids.count == values.count ? ids : nil
  }

  private func ended(_ row: DataRow, _ key: String) -> Bool { row.json[key] != .string("length") }

  // MARK: - Answers

  /// An answer's tokens after its prompt's.
  func answer(
    _ content: Content, to prompt: Content, promptIds: [Int32], ended: Bool
  ) throws -> EncodedAnswer {
    switch (prompt, content) {
    case (.text, .text(let text)):
      let ids = tokenizer.encode(text) + (ended ? [endOfSequence] : [])
      return EncodedAnswer(ids: ids, scored: [0..<ids.count], isCut: false)
    case (.messages(let before), _):
      return try turns(content.turns, after: before, promptIds: promptIds, ended: ended)
    case (.text, .messages):
      throw TrainingError(
        .badData, "the prompt is a string and the answer a conversation; both must be of one kind")
    }
  }

  /// The tokens of turns after a prompt, with the assistant's as scored ranges. Each answer is
  /// tokenised apart, as a model says it after the tokens of what stands before. Where the prompt ends
  /// in a turn of the assistant, the first one goes on with it.
  private func turns(
    _ turns: [Message], after before: [Message], promptIds: [Int32], ended: Bool,
    passingOverEmpty: Bool = false
  ) throws -> EncodedAnswer {
    var all = before + turns
    var start = before.count
    var prefill: String?
    if let begun = before.last, begun.role == "assistant", let next = turns.first,
      next.role == "assistant"
    {
      prefill = begun.content
      start -= 1
      var joined = next
      joined.content = begun.content + next.content
      joined.fields =
        begun.fields.reduce(JSONValue.object(next.fields)) { fields, field in
          fields[field.key] == nil ? fields.setting(field.key, field.value) : fields
        }.fields
      all = before.dropLast() + [joined] + turns.dropFirst()
    }
    let template = try template()
    try template.requireWritten(all, answersFrom: start)
    let parts = try template.conversation(all, answersFrom: start, prefill: prefill)
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
      if let place = part.answer {
        // What is given already says nothing of the rest: the words behind it are what may be empty.
        let message = place == start && prefill != nil ? turns[0] : all[place]
        if message.carriesLoss, !(passingOverEmpty && message.isEmpty) {
          scored.append(ids.count..<ids.count + turn.count)
        }
      }
      ids += turn
    }
    return EncodedAnswer(ids: ids, scored: scored, isCut: false)
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

extension Content {
  /// The turns; a text is one of the assistant's.
  var turns: [Message] {
    switch self {
    case .text(let text): [Message(role: "assistant", content: text)]
    case .messages(let messages): messages
    }
  }
}
