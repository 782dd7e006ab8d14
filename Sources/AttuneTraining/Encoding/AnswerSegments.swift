// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

/// Prompts and answers as the segments of one pass: each prompt, then the answers that continue it.
public struct AnswerSegments: Sendable {
  /// The segments.
  public private(set) var segments: [Segment] = []
  /// Of each prompt its answers' segments.
  public private(set) var answers: [[Int]] = []

  /// Groups as segments; one without a prompt has its answers alone.
  ///
  /// - Parameters:
  ///   - groups: The groups.
  ///   - scored: Whether log-probabilities of the answers' scored tokens are wanted.
  ///   - scoringPrompts: Whether those of the prompts are wanted too, but for their first token.
  ///   - rewards: Whether the scalar head is read after each answer's last token, or after each of its steps.
  public init(
    _ groups: some Sequence<EncodedGroup>, scored: Bool = true, scoringPrompts: Bool = false,
    rewards: Bool = false
  ) {
    for group in groups {
      append(
        Segment(
          group.prompt,
          scored: scoringPrompts && group.prompt.count > 1 ? [1..<group.prompt.count] : []),
        group.answers.map {
          Segment(
            $0.ids, scored: scored ? $0.scored : [],
            scalarsAfter: !rewards ? [] : $0.steps.isEmpty ? [$0.ids.count - 1] : $0.steps)
        })
    }
  }

  /// Prompts and answers as segments of which nothing is asked.
  init(prompts: [[Int32]], answers: [[[Int32]]]) {
    for (prompt, answers) in zip(prompts, answers) {
      append(Segment(prompt), answers.map { Segment($0) })
    }
  }

  private mutating func append(_ prompt: Segment, _ answers: [Segment]) {
    let parent = prompt.ids.isEmpty ? nil : segments.count
    if parent != nil { segments.append(prompt) }
    self.answers.append(Array(segments.count..<segments.count + answers.count))
    segments += answers.map { answer in
      var answer = answer
      answer.parent = parent
      return answer
    }
  }
}
