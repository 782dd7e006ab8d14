// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import Foundation

/// A prompt with the row of the data file that it stands in, so that a reward can read the row's other
/// columns.
public struct DataPrompt: Sendable, Hashable {
  /// The prompt.
  public var content: Content
  /// The row; nil where the prompt stands in no file.
  public var row: DataRow?

  /// Makes a prompt.
  ///
  /// - Parameters:
  ///   - content: The prompt.
  ///   - row: The row; nil where it stands in no file.
  public init(_ content: Content, row: DataRow? = nil) {
    self.content = content
    self.row = row
  }
}

extension DataFile {
  /// The prompts of the rows, each once, in their order.
  ///
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  public var prompts: [Content] {
    get throws { try prompts(byRow: false).map(\.content) }
  }

  /// The prompts of the rows, each once, in their order, with what else the row says in which each
  /// stands first.
  ///
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  public var promptRows: [PromptRow] {
    get throws { try prompts(byRow: false).compactMap { $0.row.flatMap(promptRow) } }
  }

  /// The prompts of the rows, in their order, with the row in which each stands first.
  ///
  /// - Parameter byRow: Whether rows of one prompt are different where their other columns are; only
  ///   rows that are equal then count once.
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  public func prompts(byRow: Bool) throws -> [DataPrompt] {
    try promptsOfRows(byRow: byRow).compactMap(\.prompt)
  }

  /// The same row by row; nil where a row says nothing that an earlier one has not said.
  func promptsOfRows(byRow: Bool) throws -> [(row: DataRow, prompt: DataPrompt?)] {
    struct Key: Hashable {
      var prompt: Content
      var row: JSONValue?
    }
    var seen: Set<Key> = []
    return try rows.map { row in
      guard let prompt = row.example.prompt else {
        throw TrainingError(.badData, "\(url.path), line \(row.line): there is no prompt")
      }
      let isNew = seen.insert(Key(prompt: prompt, row: byRow ? row.json : nil)).inserted
      return (row, isNew ? DataPrompt(prompt, row: row) : nil)
    }
  }
}
