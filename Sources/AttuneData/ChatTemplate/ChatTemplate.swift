// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A model's own way of putting a conversation into one text: its Jinja template, interpreted.
///
/// Rendered as transformers renders it (`trim_blocks`, `lstrip_blocks`, its functions and filters),
/// except that text that came from messages is kept apart (``pieces(_:addGenerationPrompt:tools:)``),
/// so that it cannot turn into control tokens. A construct outside of what the chat templates of
/// SmolLM2, Qwen2.5, Qwen3 and Llama 3 need is an error that names it and its line.
public struct ChatTemplate: Sendable {
  /// The template's text.
  public let source: String
  /// The text of the beginning-of-sequence token, `bos_token` in the template; may be empty.
  public let beginOfSequence: String
  /// The text of the end-of-sequence token, `eos_token` in the template; may be empty.
  public let endOfSequence: String
  /// Further variables of the template, such as `enable_thinking`.
  public var variables: [String: JSONValue] = [:]
  /// What `strftime_now` takes for now, as ``TemplateClock`` writes it.
  public var now = TemplateClock.now
  /// Where the template stands, for errors: `model/chat_template.jinja`.
  public let place: String?

  private let body: [TemplateStatement]

  /// Parses a template.
  ///
  /// - Parameters:
  ///   - source: The Jinja text.
  ///   - beginOfSequence: The text of `bos_token`.
  ///   - endOfSequence: The text of `eos_token`.
  ///   - place: The file that it stands in, for errors.
  /// - Throws: ``DataError`` with the line, and the construct if it is one that is not interpreted.
  public init(
    source: String, beginOfSequence: String, endOfSequence: String, place: String? = nil
  ) throws {
    self.source = source
    self.place = place
    self.beginOfSequence = beginOfSequence
    self.endOfSequence = endOfSequence
    body = try Self.named(place) { try TemplateParser.parse(source) }
  }

  /// Whether what it writes depends on the date.
  public var readsClock: Bool { source.contains("strftime_now") }

  /// Names the template's file in errors.
  private static func named<T>(_ place: String?, _ body: () throws -> T) throws -> T {
    do {
      return try body()
    } catch let error as DataError {
      throw place.map { DataError(error.code, "\($0): \(error.message)") } ?? error
    }
  }

  /// The roles whose names a template may build control tokens from; any other role is data.
  private static let knownRoles: Set<String> = [
    "system", "user", "assistant", "tool", "developer", "ipython", "model",
  ]

  /// Renders a conversation, text of messages kept apart from the template's own.
  ///
  /// - Parameters:
  ///   - messages: The conversation.
  ///   - addGenerationPrompt: Whether the text ends where an assistant's answer begins.
  ///   - tools: Descriptions of tools, a list; nil takes those that the messages bring.
  /// - Returns: Pieces that joined give the text.
  /// - Throws: ``DataError`` with the template's file and line.
  public func pieces(
    _ messages: [Message], addGenerationPrompt: Bool, tools: JSONValue? = nil
  ) throws -> [TemplatePiece] {
    var values = variables.mapValues { TemplateValue($0, isData: false) }
    values["messages"] = .list(messages.map(Self.value))
    values["add_generation_prompt"] = .bool(addGenerationPrompt)
    values["bos_token"] = .string(beginOfSequence)
    values["eos_token"] = .string(endOfSequence)
    values["tools"] = TemplateValue(tools ?? messages.tools ?? .null, isData: true)
    values["documents"] = TemplateValue.none
    return try Self.named(place) {
      try TemplateRun(variables: values, now: now).render(body).pieces
    }
  }

  /// Refuses fields that say something and that the template does not write: what is dropped would
  /// be neither read nor learned, and nobody would know.
  ///
  /// - Parameters:
  ///   - messages: The conversation.
  ///   - first: The index of the first turn whose thoughts are to be learned; templates leave out
  ///     those of earlier turns.
  /// - Throws: ``DataError`` that names the field.
  public func requireWritten(_ messages: [Message], answersFrom first: Int) throws {
    func text(_ messages: some Sequence<Message>) throws -> [TemplatePiece] {
      try pieces(Array(messages), addGenerationPrompt: false)
    }
    let fields: [(names: [String], from: Int, what: String)] = [
      (["tools"], 0, "descriptions of tools"), (["tool_calls"], 0, "calls of tools"),
      (Message.thoughtKeys, first, "thoughts"), ([Message.planKey], first, "a plan"),
    ]
    for (names, from, what) in fields {
      func says(_ field: JSONValue.Field) -> Bool {
        let isEmpty = [.null, .array([]), .string("")].contains(field.value)
        return names.contains(field.key) && !isEmpty
      }
      guard let place = messages[from...].firstIndex(where: { $0.fields.contains(where: says) }),
        let field = messages[place].fields.first(where: says)
      else { continue }
      // Tools are told of before all turns; the others stand in a turn, at their plainest in the last.
      let messages = names == ["tools"] ? messages : Array(messages[...place])
      let plain = messages.map { message in
        Message(
          role: message.role, content: message.content,
          fields: message.fields.filter { !names.contains($0.key) })
      }
      guard try text(messages) == text(plain) else { continue }
      throw DataError(
        .badData,
        "\"\(field.key)\" holds \(what), and the model's chat template does not write them: take "
          + "another model or template, or leave the field out"
          + (self.place.map { " (\($0))" } ?? ""))
    }
  }

  private static func value(of message: Message) -> TemplateValue {
    let role = TemplateText(message.role, isData: !knownRoles.contains(message.role))
    var fields: [(key: TemplateText, value: TemplateValue)] = [
      (TemplateText("role"), .text(role)),
      (TemplateText("content"), .text(TemplateText(message.content, isData: true))),
    ]
    var others = message.fields.filter { $0.key != "role" && $0.key != "content" }
    // A message's thoughts go by several names; templates read the first or the second of them.
    let all = JSONValue.object(others)
    if let thoughts = Message.thoughtKeys.lazy.compactMap({ all.present($0) }).first {
      if all["thinking"] == nil { others.append(.init("thinking", thoughts)) }
      others = JSONValue.object(others).setting("reasoning_content", thoughts).fields
    }
    for field in others {
      fields.append((TemplateText(field.key), TemplateValue(field.value, isData: true)))
    }
    return .dictionary(fields)
  }
}
