// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// A content as the page shows it: messages of safe HTML, with the tools that they call.
enum MessageView {
  /// The messages of a content.
  ///
  /// - Parameter role: Whose a text without turns is.
  static func all(_ content: Content, role: String) -> JSONValue {
    let messages: [Message]
    switch content {
    case .text(let text): messages = [Message(role: role, content: text)]
    case .messages(let all): messages = all
    }
    var called: [String: String] = [:]
    return .array(
      messages.map { message in
        for call in message.toolCalls {
          if let id = call.id { called[id] = call.name }
        }
        let tool = text(message, "name") ?? text(message, "tool_call_id").flatMap { called[$0] }
        let role = tool.map { "\(message.role): \($0)" } ?? message.role
        return .object([.init("role", .string(role)), .init("html", .string(html(message)))])
      })
  }

  private static func text(_ message: Message, _ key: String) -> String? {
    message.fields.lazy.filter { $0.key == key }.compactMap(\.value.asString).first { !$0.isEmpty }
  }

  private static func html(_ message: Message) -> String {
    var parts: [String] = []
    for key in Message.thoughtKeys {
      guard let thoughts = text(message, key) else { continue }
      parts.append(block("Reasoning", Markdown.html(thoughts)))
      break
    }
    if message.role == "tool", let result = structure(message.content) {
      parts.append("<pre>\(Markdown.escaped(result.indented))</pre>")
    } else if !message.content.allSatisfy(\.isWhitespace) {
      parts.append(Markdown.html(message.content))
    }
    for call in message.toolCalls {
      parts.append(
        block(
          "Calls <code>\(Markdown.escaped(call.name.isEmpty ? "a tool" : call.name))</code>",
          "<pre>\(Markdown.escaped(call.arguments.indented))</pre>"))
    }
    return parts.isEmpty ? "<p class=\"quiet\">(empty)</p>" : parts.joined()
  }

  private static func block(_ title: String, _ html: String) -> String {
    "<div class=\"call\"><p class=\"quiet\">\(title)</p>\(html)</div>"
  }

  /// A list or an object that a tool gave.
  private static func structure(_ text: String) -> JSONValue? {
    let value = try? JSONValue(parsing: text)
    return value?.asArray != nil || value?.asFields != nil ? value : nil
  }
}
