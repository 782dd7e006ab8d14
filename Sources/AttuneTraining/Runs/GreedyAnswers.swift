// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import AttuneEngine
import AttuneFiles
package import Foundation

/// The greedy answers of a start and of what was trained from it, to the same few prompts: what a
/// person looks at first, without the luck of a draw.
package struct GreedyAnswers {
  /// The file of a run's folder: rows as those of `answers.jsonl`.
  package static let file = "greedy.jsonl"
  private static let count = 4
  private static let maxTokens = 64

  private let prompts: [Content]
  private let ids: [[Int32]]
  private let before: [SampledAnswer]
  private var sampling = SampleSettings()

  /// Lets the start answer.
  ///
  /// - Parameters:
  ///   - start: The start.
  ///   - data: Rows whose first prompts are asked.
  /// - Returns: Nil where no row has a prompt.
  package init?(of start: LoadedModel, to data: DataFile) throws {
    var seen: Set<Content> = []
    var prompts: [Content] = []
    let encoder = try TextEncoder(start)
    var whole: [[Int32]] = []
    for row in data.rows where prompts.count < Self.count {
      // What a template refuses is named where it is trained on; a row that is passed over may be such.
      if let prompt = row.example.prompt, seen.insert(prompt).inserted,
        let ids = try? encoder.prompt(prompt)
      {
        prompts.append(prompt)
        whole.append(ids)
      }
    }
    guard !prompts.isEmpty else { return nil }
    sampling.n = 1
    sampling.temperature = 0
    sampling.maxTokens = min(Self.maxTokens, max(1, encoder.maximumLength / 2))
    let room = max(1, encoder.maximumLength - sampling.maxTokens)
    self.prompts = prompts
    ids = whole.map { encoder.end(of: $0, room) }
    before = try Sampling.answers(start, prompts: ids, settings: sampling).map { $0[0] }
  }

  /// Lets the trained model answer, and writes both.
  package func write(after trained: LoadedModel, to folder: URL) throws {
    let after = try Sampling.answers(trained, prompts: ids, settings: sampling).map { $0[0] }
    let rows = prompts.indices.map { i in
      EvaluatedPrompt(
        prompt: prompts[i], answers: [:],
        greedy: ["start": .init(before[i]), "policy": .init(after[i])])
    }
    try AtomicFile.write(
      try rows.map { try JSONText.line($0) + "\n" }.joined(), to: folder.appending(path: Self.file))
  }
}

extension EvaluatedAnswer {
  /// An answer with its rewards.
  package init(_ answer: SampledAnswer, rewards: [String: Double] = [:]) {
    self.init(
      text: answer.completion.text, finishReason: answer.completion.endedByItself ? .stop : .length,
      tokens: answer.completion.ids.count, rewards: rewards)
  }
}
