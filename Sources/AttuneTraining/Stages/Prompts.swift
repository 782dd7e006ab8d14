// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import Foundation

extension DataFile {
  /// The prompts of the rows, each once, in their order.
  ///
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  public var prompts: [Content] {
    get throws {
      var seen: Set<Content> = []
      return try rows.compactMap { row in
        guard let prompt = row.example.prompt else {
          throw TrainingError(.badData, "\(url.path), line \(row.line): there is no prompt")
        }
        return seen.insert(prompt).inserted ? prompt : nil
      }
    }
  }
}
