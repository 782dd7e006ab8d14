// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import Foundation

/// What Ollama needs to know of a model beside its GGUF file: how turns are written, as a template of Go's,
/// and what ends an answer.
///
/// The template is found from what the model's own writes of a few conversations, and is only taken where it
/// writes them all alike.
struct Modelfile {
  /// What stands around the parts of a conversation.
  private struct Turns {
    /// Before and behind a system text that is a turn, or behind one that stands in the user's.
    var system: (before: String, behind: String)?
    /// Whether the system text stands in the user's turn.
    var isInUserTurn = false
    var beforeUser = ""
    var betweenUserAndAnswer = ""
    var behindAnswer = ""
    /// The system text of a conversation that has none.
    var plainSystem = ""
  }

  private let turns: Turns?
  private let stops: [String]
  /// Why there is no template, or what it lacks.
  private(set) var remark: String?

  /// Finds what a model's chat template writes.
  ///
  /// - Throws: `DataError` if the template can't be run at all.
  init(of model: LoadedModel) throws {
    stops = model.model.spec.endOfSequence.compactMap { model.tokenizer.token(of: $0) }
    guard let template = model.chatTemplate else {
      turns = nil
      remark = "the model has no chat template, so the Modelfile has none"
      return
    }
    let begin =
      model.tokenizer.sequencePrefix.isEmpty
      ? "" : model.tokenizer.beginOfSequence.flatMap { model.tokenizer.token(of: $0) } ?? ""
    func render(_ messages: [Message]) throws -> String {
      let text = try template.pieces(messages, addGenerationPrompt: true).map(\.text).joined()
      // Ollama puts it there itself.
      return text.hasPrefix(begin) ? String(text.dropFirst(begin.count)) : text
    }
    let found = Self.turns(of: render, end: template.endOfSequence)
    let isSafe = found.map { !Self.text(of: $0).contains("\"\"\"") } ?? false
    turns = isSafe ? found : nil
    if turns == nil {
      remark =
        "the chat template does more than put text around turns, so the Modelfile has none: Ollama "
        + "chooses by the template in the GGUF file"
    } else if turns?.system == nil {
      remark = "the chat template takes no system text, and so does the Modelfile's"
    }
  }

  /// The file's text.
  ///
  /// - Parameter file: The GGUF file's path beside it.
  func text(from file: String) -> String {
    var lines = ["FROM \(file)"]
    if let turns {
      lines.append("TEMPLATE \"\"\"\(Self.text(of: turns))\"\"\"")
      if !turns.plainSystem.isEmpty { lines.append("SYSTEM \"\"\"\(turns.plainSystem)\"\"\"") }
    }
    for stop in stops where !stop.contains("\"") { lines.append("PARAMETER stop \"\(stop)\"") }
    return lines.joined(separator: "\n") + "\n"
  }

  // MARK: - Finding it

  private static let (systemMark, userMark, answerMark) = ("QsystemQ", "QuserQ", "QanswerQ")

  private static func turns(
    of render: ([Message]) throws -> String, end: String
  ) -> Turns? {
    func user(_ number: Int) -> Message { Message(role: "user", content: userMark + "\(number)") }
    func answer(_ number: Int) -> Message {
      Message(role: "assistant", content: answerMark + "\(number)")
    }
    let system = Message(role: "system", content: systemMark)
    guard let one = try? render([user(1)]),
      let two = try? render([user(1), answer(1), user(2)]),
      let (before, rest) = one.parted(at: userMark + "1"),
      let between = two.between(answerMark + "1", userMark + "2")
    else { return nil }
    var turns = Turns()
    turns.betweenUserAndAnswer = rest
    // An answer ends with its end of sequence and the white space behind it, or as a question does.
    let alike = String(zip(between, rest).prefix { $0 == $1 }.map(\.0))
    if !end.isEmpty, between.hasPrefix(end) {
      let tail = between.dropFirst(end.count)
      turns.behindAnswer = end + tail.prefix { $0.isWhitespace }
      turns.beforeUser = String(tail.drop { $0.isWhitespace })
    } else if let last = alike.lastIndex(where: \.isWhitespace) {
      turns.behindAnswer = String(alike[...last])
      turns.beforeUser = String(between.dropFirst(turns.behindAnswer.count))
    }
    if turns.beforeUser.isEmpty || !before.hasSuffix(turns.beforeUser) {
      turns.beforeUser = String(
        zip(before.reversed(), between.reversed()).prefix { $0 == $1 }.map(\.0).reversed())
      turns.behindAnswer = String(between.dropLast(turns.beforeUser.count))
    }
    let first = String(before.dropLast(turns.beforeUser.count))
    if let whole = try? render([system, user(1)]),
      let (front, tail) = whole.parted(at: systemMark),
      let (behind, last) = tail.parted(at: userMark + "1"), last == rest
    {
      if behind.hasSuffix(turns.beforeUser), !turns.beforeUser.isEmpty {
        turns.system = (front, String(behind.dropLast(turns.beforeUser.count)))
      } else if front == turns.beforeUser {
        (turns.system, turns.isInUserTurn) = (("", behind), true)
      }
    }
    if !first.isEmpty {
      guard let system = turns.system, !turns.isInUserTurn, first.hasPrefix(system.before),
        first.hasSuffix(system.behind), first.count > system.before.count + system.behind.count
      else { return nil }
      turns.plainSystem = String(first.dropFirst(system.before.count).dropLast(system.behind.count))
    }
    let conversations: [[Message]] = [
      [user(1)], [user(1), answer(1), user(2)], [user(1), answer(1), user(2), answer(2), user(3)],
    ]
    let all = conversations + (turns.system == nil ? [] : conversations.map { [system] + $0 })
    let agrees = all.allSatisfy { messages in
      (try? render(messages)).map { $0 == written(messages, turns) } ?? false
    }
    return agrees ? turns : nil
  }

  /// What Ollama writes of a conversation.
  private static func written(_ messages: [Message], _ turns: Turns) -> String {
    var text = ""
    var system = messages.first?.role == "system" ? messages[0].content : turns.plainSystem
    for message in messages where message.role != "system" {
      if message.role == "assistant" {
        text += message.content + turns.behindAnswer
        continue
      }
      let own =
        system.isEmpty ? "" : (turns.system?.before ?? "") + system + (turns.system?.behind ?? "")
      text += turns.isInUserTurn ? turns.beforeUser + own : own + turns.beforeUser
      text += message.content + turns.betweenUserAndAnswer
      system = ""
    }
    return text
  }

  /// The template in Go's language, which Ollama runs once for each question with its answer.
  private static func text(of turns: Turns) -> String {
    let system =
      turns.system.map {
        "{{ if .System }}\(plain($0.before)){{ .System }}\(plain($0.behind)){{ end }}"
      } ?? ""
    let user = plain(turns.beforeUser)
    return (turns.isInUserTurn ? user + system : system + user)
      + "{{ .Prompt }}\(plain(turns.betweenUserAndAnswer)){{ .Response }}\(plain(turns.behindAnswer))"
  }

  /// Text that Go's templates write as it is.
  private static func plain(_ text: String) -> String {
    text.contains("{{") ? "{{ `\(text)` }}" : text
  }
}

extension String {
  /// What stands before and behind the only place of a text.
  fileprivate func parted(at text: String) -> (String, String)? {
    let parts = components(separatedBy: text)
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }

  /// What stands between two texts, each of which is there once.
  fileprivate func between(_ first: String, _ second: String) -> String? {
    parted(at: first).flatMap { $0.1.parted(at: second)?.0 }
  }
}
