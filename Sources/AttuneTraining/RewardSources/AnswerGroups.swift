// SPDX-License-Identifier: Apache-2.0

import AttuneData

extension TextEncoder {
  /// Answers as tokens, neighbours that answer one prompt in one group, all in their order.
  ///
  /// Sampled ids stay as they are where this model's tokenizer reads them as the answer's very text;
  /// else the text is tokenised.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt.
  ///   - completions: The answers.
  ///   - source: Who asks, for errors.
  /// - Throws: `AnswerFault` that names the answer.
  func groups(
    prompts: [DataPrompt], completions: [Completion], source: String
  ) throws -> [EncodedGroup] {
    var groups: [EncodedGroup] = []
    var start = 0
    while start < completions.count {
      var end = start + 1
      while end < completions.count, prompts[end].content == prompts[start].content { end += 1 }
      var group = EncodedGroup(line: start + 1, prompt: [], promptCut: 0, answers: [])
      for index in start..<end {
        do {
          if index == start { group.prompt = try prompt(prompts[start].content) }
          group.answers.append(
            try answer(completions[index], to: prompts[start].content, promptIds: group.prompt))
        } catch {
          throw AnswerFault(source: source, answer: index, message: "\(error)")
        }
      }
      groups.append(cut(group))
      start = end
    }
    return groups
  }

  private func answer(
    _ completion: Completion, to prompt: Content, promptIds: [Int32]
  ) throws -> EncodedGroup.Answer {
    let ids = completion.ids
    if let last = ids.last, completion.messages == nil,
      endings.contains(last) == completion.endedByItself,
      ids.allSatisfy({ Int($0) < tokenizer.vocabularySize }),
      tokenizer.decode(ids) == completion.text
    {
      return EncodedGroup.Answer(ids: ids, scored: [0..<ids.count], isCut: false)
    }
    return try answer(
      completion.messages.map { .messages($0) } ?? .text(completion.text), to: prompt,
      promptIds: promptIds, ended: completion.endedByItself)
  }
}
