// SPDX-License-Identifier: Apache-2.0

/// A prompt of a data file, with every row that has it.
public struct PromptGroup: Sendable, Hashable {
  /// The prompt.
  public var prompt: Content
  /// Indices of the rows, in their order.
  public var rows: [Int]
}

extension DataFile {
  /// The different prompts of the file, in the order in which they first come.
  ///
  /// - Throws: ``DataError`` with the line of a row that has no prompt, such as a plain text.
  public func prompts() throws -> [PromptGroup] {
    var places: [Content: Int] = [:]
    var groups: [PromptGroup] = []
    for (i, row) in rows.enumerated() {
      guard let prompt = row.example.prompt else {
        throw DataPlace(url, line: row.line)
          .error("a prompt is needed, but this row is \(kind.rawValue) without one")
      }
      if let place = places[prompt] {
        groups[place].rows.append(i)
      } else {
        places[prompt] = groups.count
        groups.append(PromptGroup(prompt: prompt, rows: [i]))
      }
    }
    return groups
  }
}
