// SPDX-License-Identifier: Apache-2.0

/// One turn of a conversation.
public struct Message: Sendable, Hashable {
  /// Who speaks: `system`, `user`, `assistant`, `tool`.
  public var role: String
  /// What is said.
  public var content: String
  /// Further fields of the row's message (`tool_calls`, `name`, `reasoning_content`), as a chat
  /// template may read them.
  public var fields: [JSONValue.Field]

  /// Makes a message.
  public init(role: String, content: String, fields: [JSONValue.Field] = []) {
    self.role = role
    self.content = content
    self.fields = fields
  }

  /// The message as a JSON object.
  public var json: JSONValue {
    .object(
      [JSONValue.Field("role", .string(role)), JSONValue.Field("content", .string(content))]
        + fields)
  }

  /// Reads `{"role", "content"}` or ShareGPT's `{"from", "value"}`.
  init(_ json: JSONValue, name: String, at place: DataPlace) throws {
    guard case .object(let all) = json else {
      throw place.error("\(name) must be an object with role and content, not \(json.kindName)")
    }
    let isShareGPT = json["role"] == nil && json["from"] != nil
    let (roleKey, contentKey) = isShareGPT ? ("from", "value") : ("role", "content")
    guard case .string(let named)? = json[roleKey] else {
      throw place.error("\(name).\(roleKey) must be a string")
    }
    role = isShareGPT ? Self.shareGPTRoles[named] ?? named : named
    guard isShareGPT == false || Self.shareGPTRoles[named] != nil else {
      throw place.error("\(name).from is \"\(named)\"; expected human, gpt, system or observation")
    }
    content = try Self.text(of: json[contentKey], in: json, "\(name).\(contentKey)", at: place)
    fields = try all.filter { $0.key != roleKey && $0.key != contentKey }.compactMap {
      (field) -> JSONValue.Field? in
      switch field.key {
      case "tools":
        return try Tools.read(field.value, "\(name).tools", at: place).map {
          JSONValue.Field("tools", $0)
        }
      case ToolCall.oldKey:
        guard let call = ToolCall.oldCall(in: json) else { return nil }
        guard [nil, .null, .array([])].contains(json["tool_calls"]) else {
          throw place.error(
            "\(name) has both \"tool_calls\" and \"\(field.key)\"; leave one of them out")
        }
        return JSONValue.Field(
          "tool_calls", try ToolCall.calls(call, "\(name).\(field.key)", at: place))
      // An empty list would stand beside what the old field becomes.
      case "tool_calls" where ToolCall.oldCall(in: json) != nil: return nil
      default: return field
      }
    }
    try checkLoss(name, at: place)
  }

  private static let shareGPTRoles = [
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "system": "system", "observation": "tool", "tool": "tool", "function_call": "assistant",
  ]

  /// The text of a message: a string, a list of parts of type text, or null where tools are called.
  private static func text(
    of value: JSONValue?, in message: JSONValue, _ name: String, at place: DataPlace
  ) throws -> String {
    switch value {
    case .string(let text): return text
    case nil where message.present("tool_calls") != nil, .null where message["tool_calls"] != nil:
      return ""
    case nil where ToolCall.oldCall(in: message) != nil,
      .null where ToolCall.oldCall(in: message) != nil:
      return ""
    case .array(let parts):
      return try parts.map { part in
        guard case .string("text")? = part["type"], case .string(let text)? = part["text"] else {
          throw place.error("\(name) has a part that is not text; only text is read")
        }
        return text
      }.joined()
    case nil: throw place.error("\(name) is missing")
    case let other?: throw place.error("\(name) must be a string, not \(other.kindName)")
    }
  }
}

/// What a model is given or answers: a plain text, or turns that a chat template puts into words.
public enum Content: Sendable, Hashable {
  /// A text, used as it is.
  case text(String)
  /// Turns of a conversation.
  case messages([Message])

  /// Whether it is made of turns.
  public var isConversational: Bool {
    if case .messages = self { return true }
    return false
  }

  /// The text, or the turns' texts one below the other with their roles, for people to read.
  public var readable: String {
    switch self {
    case .text(let text): text
    case .messages(let messages):
      messages.map { "\($0.role): \($0.readable)" }.joined(separator: "\n")
    }
  }

  /// The words alone: the text, or what the last turn says.
  public var lastText: String {
    switch self {
    case .text(let text): text
    case .messages(let messages): messages.last?.content ?? ""
    }
  }

  /// An answer in this prompt's own form: a message after messages, a text after a text.
  package func answer(_ text: String) -> Content {
    isConversational ? .messages([Message(role: "assistant", content: text)]) : .text(text)
  }

  /// The string or the list of messages.
  public var json: JSONValue {
    switch self {
    case .text(let text): .string(text)
    case .messages(let messages): .array(messages.map(\.json))
    }
  }

  /// Reads a string or a list of messages.
  package init(_ json: JSONValue, name: String, at place: DataPlace) throws {
    switch json {
    case .string(let text): self = .text(text)
    case .array(let values):
      guard !values.isEmpty else { throw place.error("\(name) is an empty list of messages") }
      self = .messages(
        try values.enumerated().map { try Message($1, name: "\(name)[\($0)]", at: place) })
    default:
      throw place.error("\(name) must be a string or a list of messages, not \(json.kindName)")
    }
  }
}
