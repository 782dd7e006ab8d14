// SPDX-License-Identifier: Apache-2.0

/// Anthropic's way of writing a dialogue as one text (Bai et al. 2022, 2204.05862):
/// `\n\nHuman: …\n\nAssistant: …`, turn after turn.
enum Dialogue {
  private static let marks = [
    (role: "user", mark: Array("\n\nHuman:".utf8)),
    (role: "assistant", mark: Array("\n\nAssistant:".utf8)),
  ]

  /// The turns of a dialogue; nil where the text does not begin with one. One space after the
  /// colon belongs to the mark.
  static func messages(_ text: String) -> [Message]? {
    let bytes = Array(text.utf8)
    var turns: [(role: String, start: Int, end: Int)] = []
    var at = 0
    while at < bytes.count {
      guard bytes[at] == 10, let hit = marks.first(where: { bytes[at...].starts(with: $0.mark) })
      else {
        if turns.isEmpty { return nil }
        at += 1
        continue
      }
      if !turns.isEmpty { turns[turns.count - 1].end = at }
      at += hit.mark.count
      if at < bytes.count, bytes[at] == 32 { at += 1 }
      turns.append((hit.role, at, bytes.count))
    }
    return turns.isEmpty
      ? nil
      : turns.map {
        Message(role: $0.role, content: String(decoding: bytes[$0.start..<$0.end], as: UTF8.self))
      }
  }

  /// A row of `chosen` and `rejected` dialogues: the prompt is every turn before the last answer,
  /// which both must share.
  static func preference(_ columns: Columns) throws -> Preference {
    func turns(_ key: String) throws -> [Message] {
      guard let all = messages(try columns.string(key)) else {
        throw UnusableRow(reason: "\(key) does not begin with \"\\n\\nHuman:\"")
      }
      guard all.count > 1, all.last?.role == "assistant" else {
        throw UnusableRow(reason: "\(key) does not end with an \"\\n\\nAssistant:\" turn")
      }
      return all
    }
    let chosen = try turns("chosen")
    let rejected = try turns("rejected")
    guard chosen.dropLast() == rejected.dropLast() else {
      throw UnusableRow(reason: "chosen and rejected differ before the last \"\\n\\nAssistant:\"")
    }
    var pair = Preference(
      prompt: try columns.withSystem(.messages(chosen.dropLast())),
      chosen: .messages(chosen.suffix(1)), rejected: .messages(rejected.suffix(1)))
    try pair.readMarks(columns)
    return pair
  }
}
