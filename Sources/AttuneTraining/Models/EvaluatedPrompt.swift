// SPDX-License-Identifier: Apache-2.0

package import AttuneData

/// An answer of a model that is evaluated, with its rewards.
package struct EvaluatedAnswer: Codable {
  package var text: String
  package var finishReason: SampleRow.FinishReason
  var tokens: Int
  package var rewards: [String: Double]

  package init(
    text: String, finishReason: SampleRow.FinishReason, tokens: Int, rewards: [String: Double]
  ) {
    self.text = text
    self.finishReason = finishReason
    self.tokens = tokens
    self.rewards = rewards
  }
}

/// A prompt's answers from every model, with their rewards: a row of `answers.jsonl`.
package struct EvaluatedPrompt: Codable {
  package var prompt: Content
  /// The models' answers by role.
  package var answers: [String: [EvaluatedAnswer]]
  /// Their greedy answers by role, of the prompts that were asked for one.
  package var greedy: [String: EvaluatedAnswer]?

  package init(
    prompt: Content, answers: [String: [EvaluatedAnswer]], greedy: [String: EvaluatedAnswer]? = nil
  ) {
    self.prompt = prompt
    self.answers = answers
    self.greedy = greedy
  }
}
