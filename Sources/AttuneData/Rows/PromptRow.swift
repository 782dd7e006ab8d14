// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// A prompt with what its row says beside it: a right answer, tests, where it comes from.
public struct PromptRow: Sendable, Hashable {
  /// The prompt.
  public var prompt: Content
  /// The row's further columns, as they came.
  public var fields: [JSONValue.Field]

  /// Makes a row.
  public init(_ prompt: Content, fields: [JSONValue.Field] = []) {
    self.prompt = prompt
    self.fields = fields
  }

  /// The row, which reads as a row of prompts.
  public var json: JSONValue { .object([.init("prompt", prompt.json)] + fields) }
}

extension RowFormat {
  /// Whether what a row of this shape says beside its prompt goes along with it.
  func letsColumnsGoAlong(of kind: DataKind) -> Bool {
    columnsOfPrompt != nil
      && [.promptOnly, .promptCompletion, .languageModelling, .samples].contains(kind)
  }

  /// The columns that a row of prompts does not take over: those that say the prompt, and what would
  /// make it a row of another format. Nil where the columns speak of answers that the row holds, so
  /// that none is taken over.
  fileprivate var columnsOfPrompt: Set<String>? {
    switch self {
    case .prompt, .promptCompletion: ["prompt", "completion"]
    case .questionAnswer: ["prompt", "completion", "question"]
    case .instruction: ["prompt", "completion", "instruction", "input", "context"]
    case .messages: ["prompt", "completion", "messages"]
    case .shareGPT: ["prompt", "completion", "conversations"]
    case .samples: ["prompt", "completion", "completions", "model", "sampling"]
    case .summarizeFromFeedback, .hhRLHF, .ranking, .pairwise, .preference, .unpaired, .stepwise,
      .text:
      nil
    }
  }
}

extension DataFile {
  /// A row's prompt with the columns that go along with it, into files of prompts and of samples; nil
  /// where the row has no prompt.
  public func promptRow(_ row: DataRow) -> PromptRow? {
    guard let prompt = row.example.prompt else { return nil }
    guard format.letsColumnsGoAlong(of: row.example.kind), let said = format.columnsOfPrompt else {
      return PromptRow(prompt)
    }
    return PromptRow(prompt, fields: row.json.fields.filter { !said.contains($0.key) })
  }

  /// Reads a file of prompts that Attune wrote, whose rows keep what they do not say themselves.
  ///
  /// - Throws: ``DataError`` as ``read(_:expecting:use:limit:)``.
  package static func readPrompts(_ url: URL) throws -> DataFile {
    try read(url, expecting: [.promptOnly], use: ColumnUse(carriesRows: true))
  }
}
