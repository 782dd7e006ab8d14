// SPDX-License-Identifier: Apache-2.0

package import AttuneData

extension TextEncoder {
  /// Where the steps of an answer end: the places of the tokens that hold the last byte of a separator, and
  /// of the last token. A step is what is not blank between two separators.
  ///
  /// - Parameters:
  ///   - ids: The answer's tokens.
  ///   - separator: What ends a step.
  ///   - isCut: Whether the answer goes on behind its last token, which then ends no step.
  package func stepEnds(of ids: [Int32], separator: String, isCut: Bool = false) -> [Int] {
    let wanted = Array(separator.utf8)
    var ends: [Int] = []
    var bytes: [UInt8] = []
    var (hasText, place) = (false, 0)
    for (i, id) in ids.enumerated() {
      if !tokenizer.isSpecial(id), !endings.contains(id) { bytes += tokenizer.bytes(of: id) }
      while place < bytes.count {
        hasText = hasText || !(bytes[place] == 32 || (9...13).contains(bytes[place]))
        place += 1
        guard hasText, bytes[..<place].suffix(wanted.count).elementsEqual(wanted) else { continue }
        ends.append(i)
        hasText = false
      }
    }
    // What ends the answer ends its last step, with a separator before it or without.
    guard !isCut, !ids.isEmpty else { return ends }
    if !hasText, !ends.isEmpty { ends.removeLast() }
    return ends + [ids.count - 1]
  }

  /// An answer in steps, read after each of them.
  ///
  /// - Parameters:
  ///   - row: The steps.
  ///   - separator: What stands between them.
  ///   - line: The line of the data file.
  /// - Throws: `TrainingError` that names the line, also where a step holds the separator; ``PassedOver`` for
  ///   a row that is of no use.
  package func steps(_ row: StepwiseRow, separator: String, line: Int) throws -> EncodedGroup {
    if let step = row.steps.firstIndex(where: { $0.contains(separator) }) {
      throw TrainingError(
        .badData,
        "line \(line): step \(step + 1) holds the separator \(JSONValue.string(separator).text); name another "
          + "one (step_separator)")
    }
    var group = try group(
      prompt: row.prompt, answers: [(.text(row.steps.joined(separator: separator)), true)],
      line: line)
    let answer = group.answers[0]
    group.answers[0].steps = stepEnds(of: answer.ids, separator: separator, isCut: answer.isCut)
    guard answer.isCut || group.answers[0].steps.count == row.steps.count else {
      throw TrainingError(
        .badModel,
        "line \(line): \(row.steps.count) steps are \(group.answers[0].steps.count) in the model's tokens; name "
          + "another separator (step_separator)")
    }
    return group
  }
}
