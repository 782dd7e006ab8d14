// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import Foundation

/// The prompts of a data file as a model is given them.
package struct PromptSet {
  /// The prompts, each with the row in which it stands first.
  package var prompts: [DataPrompt] = []
  /// Their tokens.
  package var ids: [[Int32]] = []
  /// How many of them lost their start.
  var cut = 0
  /// What became of the file's rows.
  package var account: RowAccount

  /// What a person should know before they are answered.
  ///
  /// - Parameters:
  ///   - file: The data file's name.
  ///   - encoder: What encoded them.
  ///   - room: Tokens that were left for an answer.
  package func remarks(of file: String, _ encoder: TextEncoder, room: Int) -> [String] {
    var lines = account.summary(of: file).map { [$0] } ?? []
    if cut > 0 {
      lines.append(
        "max_length \(encoder.maximumLength): \(cut) of \(ids.count) prompts lost their start, so "
          + "that answers of \(room) tokens fit")
    }
    return lines
  }
}

extension TextEncoder {
  /// The prompts of a data file.
  ///
  /// - Parameters:
  ///   - data: Rows of any kind that has prompts.
  ///   - room: Tokens that must be left for an answer; longer prompts lose their start.
  ///   - byRow: Whether rows of one prompt are different where their other columns are; otherwise each
  ///     prompt counts once.
  /// - Throws: `TrainingError` that names the line of a row without a prompt.
  package func prompts(_ data: DataFile, room: Int, byRow: Bool) throws -> PromptSet {
    guard room < maximumLength else {
      throw TrainingError(
        .badSetting, "answers of \(room) tokens leave no room for a prompt in \(maximumLength)")
    }
    var set = PromptSet(account: RowAccount(data))
    for (row, prompt) in try data.promptsOfRows(byRow: byRow) {
      guard let prompt else {
        set.account.leaveOut(
          line: row.line, byRow ? "the same as an earlier row" : "the prompt of an earlier row")
        continue
      }
      let ids: [Int32]
      do {
        ids = try self.prompt(prompt.content)
      } catch {
        throw TrainingError(
          (error as? TrainingError)?.code ?? .badData,
          "\(data.url.path): line \(row.line): \(error)")
      }
      set.prompts.append(prompt)
      set.ids.append(end(of: ids, maximumLength - room))
      if ids.count > maximumLength - room { set.cut += 1 }
      set.account.trained += 1
    }
    return set
  }
}
