// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives

extension RightAnswers {
  /// Which answers a source that checks them holds for right.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - scores: Its rewards, before any weight.
  ///   - completions: The answers.
  ///   - prompts: For each answer the place of its prompt.
  package init(
    by source: any RewardSource, scores: [Double], completions: [Completion], prompts: [Int]
  ) {
    var groups = [[Answer]](repeating: [], count: (prompts.max() ?? -1) + 1)
    for (i, prompt) in prompts.enumerated() {
      groups[prompt].append(
        Answer(isRight: scores[i] >= 1, given: source.given(in: completions[i])))
    }
    self.init(groups)
  }
}
