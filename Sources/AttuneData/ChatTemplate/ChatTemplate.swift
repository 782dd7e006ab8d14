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
  /// Whether this is ``chatML(beginOfSequence:endOfSequence:)``, because the model has none.
  public let isDefault: Bool
  /// The text of the beginning-of-sequence token, `bos_token` in the template; may be empty.
  public let beginOfSequence: String
  /// The text of the end-of-sequence token, `eos_token` in the template; may be empty.
  public let endOfSequence: String
  /// Further variables of the template, such as `enable_thinking`.
  public var variables: [String: JSONValue] = [:]
  /// What `strftime_now` takes for now. A fixed day, the one that Llama's templates fall back on
  /// where they have no clock (26 July 2024): what is trained today must be the same text
  /// tomorrow, or no run could be resumed. Set it to `Date()` for a chat.
  public var now = Date(timeIntervalSince1970: 1_721_952_000)

  private let body: [TemplateStatement]

  /// Parses a template.
  ///
  /// - Parameters:
  ///   - source: The Jinja text.
  ///   - beginOfSequence: The text of `bos_token`.
  ///   - endOfSequence: The text of `eos_token`.
  /// - Throws: ``DataError`` with the line, and the construct if it is one that is not interpreted.
  public init(source: String, beginOfSequence: String, endOfSequence: String) throws {
    try self.init(source, beginOfSequence, endOfSequence, isDefault: false)
  }

  private init(_ source: String, _ begin: String, _ end: String, isDefault: Bool) throws {
    self.source = source
    self.isDefault = isDefault
    beginOfSequence = begin
    endOfSequence = end
    body = try TemplateParser.parse(source)
  }

  /// The template for a model that has none: ChatML, each turn `<|im_start|>role`, line feed,
  /// content, then the model's end-of-sequence token (`<|im_end|>` if it has none), line feed.
  public static func chatML(beginOfSequence: String, endOfSequence: String) throws -> ChatTemplate {
    let source = """
      {% for message in messages %}
      {{- '<|im_start|>' + message.role + '\\n' + message.content }}
      {{- (eos_token or '<|im_end|>') + '\\n' }}
      {%- endfor %}
      {%- if add_generation_prompt %}
      {{- '<|im_start|>assistant\\n' }}
      {%- endif %}
      """
    return try ChatTemplate(source, beginOfSequence, endOfSequence, isDefault: true)
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
  ///   - tools: Descriptions of tools, a list, for templates that know of them.
  /// - Returns: Pieces that joined give ``render(_:addGenerationPrompt:tools:)``.
  /// - Throws: ``DataError`` with the template's line.
  public func pieces(
    _ messages: [Message], addGenerationPrompt: Bool, tools: JSONValue = .null
  ) throws -> [TemplatePiece] {
    var values = variables.mapValues { TemplateValue($0, isData: false) }
    values["messages"] = .list(messages.map(Self.value))
    values["add_generation_prompt"] = .bool(addGenerationPrompt)
    values["bos_token"] = .string(beginOfSequence)
    values["eos_token"] = .string(endOfSequence)
    values["tools"] = TemplateValue(tools, isData: true)
    values["documents"] = TemplateValue.none
    return try TemplateRun(variables: values, now: now).render(body).pieces
  }

  /// Renders a conversation to one text.
  public func render(
    _ messages: [Message], addGenerationPrompt: Bool, tools: JSONValue = .null
  ) throws -> String {
    try pieces(messages, addGenerationPrompt: addGenerationPrompt, tools: tools)
      .map(\.text).joined()
  }

  private static func value(of message: Message) -> TemplateValue {
    let role = TemplateText(message.role, isData: !knownRoles.contains(message.role))
    var fields: [(key: TemplateText, value: TemplateValue)] = [
      (TemplateText("role"), .text(role)),
      (TemplateText("content"), .text(TemplateText(message.content, isData: true))),
    ]
    var others = message.fields.filter { $0.key != "role" && $0.key != "content" }
    // A message's thoughts go by several names; templates read the first or the second of them.
    let names = ["reasoning_content", "thinking", "reasoning"]
    let all = JSONValue.object(others)
    if let thoughts = names.lazy.compactMap({ all.present($0) }).first {
      if all["thinking"] == nil { others.append(.init("thinking", thoughts)) }
      others = JSONValue.object(others).setting("reasoning_content", thoughts).fields
    }
    for field in others {
      fields.append((TemplateText(field.key), TemplateValue(field.value, isData: true)))
    }
    return .dictionary(fields)
  }
}
