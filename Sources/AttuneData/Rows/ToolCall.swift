// SPDX-License-Identifier: Apache-2.0

/// A tool that a turn calls.
public struct ToolCall: Sendable, Hashable {
  /// The tool's name; empty where the row has none.
  public var name: String
  /// What it is given: mostly an object, also where the row has that as a string of JSON.
  public var arguments: JSONValue
  /// What a later turn of role `tool` answers to, where the row says so.
  public var id: String?
}

extension ToolCall {
  /// OpenAI's field of one call, from before there were `tool_calls`; no chat template reads it.
  static let oldKey = "function_call"

  /// What a message has in that field; nil where it says nothing, as in tables, which have no gaps.
  static func oldCall(in message: JSONValue) -> JSONValue? {
    guard let call = message.present(oldKey), call != .string("") else { return nil }
    if case .object(let fields) = call,
      fields.allSatisfy({ [.null, .string("")].contains($0.value) })
    {
      return nil
    }
    return call
  }

  /// The `tool_calls` that say what a `function_call` says.
  static func calls(_ call: JSONValue, _ name: String, at place: DataPlace) throws -> JSONValue {
    var call = call
    if case .string(let text) = call, let parsed = try? JSONValue(parsing: text) { call = parsed }
    guard case .string? = call["name"] else {
      throw place.error("\(name) must be an object with name and arguments")
    }
    return .array([
      .object([.init("type", .string("function")), .init("function", call)])
    ])
  }
}

extension Message {
  /// The tools that this turn calls.
  public var toolCalls: [ToolCall] {
    var calls: [JSONValue] = []
    for field in fields {
      switch (field.key, field.value) {
      case ("tool_calls", .array(let all)): calls += all
      case ("tool_calls", .object), ("tool_calls", .string): calls.append(field.value)
      default: break
      }
    }
    return calls.map { call in
      let function = call["function"] ?? call
      let id = call["id"]?.asString
      guard case .string(let name)? = function["name"] else {
        return ToolCall(name: "", arguments: call, id: id)
      }
      var arguments = function["arguments"] ?? function["parameters"] ?? .object([])
      if case .string(let text) = arguments, let parsed = try? JSONValue(parsing: text) {
        arguments = parsed
      }
      return ToolCall(name: name, arguments: arguments, id: id)
    }
  }

  /// What is said and which tools are called, for people to read.
  public var readable: String {
    let calls = toolCalls.map { "[calls \($0.name) \($0.arguments.text)]" }
    return (content.isEmpty && !calls.isEmpty ? calls : [content] + calls).joined(separator: " ")
  }
}
