// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Synchronization

/// Knows whether it was said of a model that it does not see the whole of what it is asked about.
package final class CutNotice: Sendable {
  private let isTold = Mutex(false)

  package init() {}

  /// What to say of groups of which one was cut, the first time; nil where there is nothing to say.
  ///
  /// - Parameters:
  ///   - groups: What the model is given.
  ///   - source: Who reads it: `model:runs/reward`.
  ///   - most: Tokens that it takes.
  package func warning(for groups: [EncodedGroup], source: String, most: Int) -> String? {
    guard groups.contains(where: { $0.promptCut > 0 || $0.answers.contains(where: \.isCut) }),
      !isTold.withLock({ told in
        defer { told = true }
        return told
      })
    else { return nil }
    return
      "\(source): reads \(most) tokens at most; of a longer prompt it sees the end, of a longer "
      + "answer the beginning"
  }
}

extension TextEncoder {
  /// Answers as tokens, neighbours that answer one prompt in one group, all in their order.
  ///
  /// Sampled ids stay as they are where this model's tokenizer reads them as the answer's very text;
  /// else the text is tokenised.
  ///
  /// - Parameters:
  ///   - prompts: For each answer its prompt.
  ///   - completions: The answers.
  ///   - source: Who asks, for errors and the notice.
  ///   - notice: Is given what had to be cut to fit.
  /// - Throws: `AnswerFault` that names the answer.
  package func groups(
    prompts: [DataPrompt], completions: [Completion], source: String, notice: CutNotice
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
    if let warning = notice.warning(for: groups, source: source, most: maximumLength) {
      var progress = ProgressLine("", total: 0)
      progress.say("warning: \(warning)")
    }
    return groups
  }

  private func answer(
    _ completion: Completion, to prompt: Content, promptIds: [Int32]
  ) throws -> EncodedAnswer {
    let ids = completion.ids
    if let last = ids.last, completion.messages == nil,
      endings.contains(last) == completion.endedByItself,
      ids.allSatisfy({ Int($0) < tokenizer.vocabularySize }),
      tokenizer.decode(ids) == completion.text
    {
      return EncodedAnswer(ids: ids, scored: [0..<ids.count], isCut: false)
    }
    return try answer(
      completion.messages.map { .messages($0) } ?? .text(completion.text), to: prompt,
      promptIds: promptIds, ended: completion.endedByItself)
  }
}
