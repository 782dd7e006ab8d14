// SPDX-License-Identifier: Apache-2.0

import AttuneCollective

extension LanguageModel {
  /// Answers to prompts, each rank drawing those to a contiguous block of them: the streams of random
  /// numbers are numbered through all, so that any number of ranks draws the same.
  ///
  /// - Parameters:
  ///   - prompts: Token ids, at least one each.
  ///   - settings: How to draw.
  ///   - onToken: As in `sample`; sees this rank's own answers, with the prompts' places among all.
  /// - Returns: For each prompt its answers.
  /// - Throws: As `sample` and `Collective.map`.
  package func answers(
    to prompts: [[Int32]], _ settings: SamplingSettings,
    onToken: ((SampleEvent) throws -> Bool)? = nil
  ) throws -> [[Sample]] {
    let ranks = Collective.current
    guard !ranks.isAlone else { return try sample(prompts, settings, onToken: onToken) }
    let block = ranks.share(of: prompts.count)
    return try ranks.gather {
      guard !block.isEmpty else { return [] }
      return try sample(
        Array(prompts[block]), settings,
        streams: block.map { UInt64($0) * UInt64(settings.samplesPerPrompt) },
        onToken: onToken.map { onToken in
          { event in
            var event = event
            event.prompt += block.lowerBound
            return try onToken(event)
          }
        })
    }
  }
}
