// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

/// What transformers and jinja2 make of the same templates (`Scripts/fixtures/chat_templates.py`).
private enum Fixture {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures/chat_templates")

  static func load(_ name: String) throws -> JSONValue {
    let text = try String(contentsOf: folder.appending(path: "\(name).json"), encoding: .utf8)
    return try JSONValue(parsing: text, place: name)
  }
}

extension ChatTemplate {
  /// The text of a conversation.
  func render(
    _ messages: [Message], addGenerationPrompt: Bool, tools: JSONValue? = nil
  ) throws -> String {
    try pieces(messages, addGenerationPrompt: addGenerationPrompt, tools: tools)
      .map(\.text).joined()
  }
}

extension JSONValue {
  fileprivate var string: String? {
    if case .string(let text) = self { return text }
    return nil
  }

  fileprivate var list: [JSONValue] {
    if case .array(let values) = self { return values }
    return []
  }

  fileprivate func messages() throws -> [Message] {
    try list.map { try Message(json: $0, at: DataPlace(file: "fixture", line: 1)) }
  }
}

private func template(_ source: String) throws -> ChatTemplate {
  var template = try ChatTemplate(source: source, beginOfSequence: "<s>", endOfSequence: "</s>")
  // The fixtures' day, 26 July 2024.
  template.now = Date(timeIntervalSince1970: 1_721_952_000)
  return template
}

struct ChatTemplateTests {
  @Test(arguments: ["smollm2", "qwen2", "qwen3", "llama3", "llama3_2"])
  func `a family's template renders as transformers renders it`(name: String) throws {
    let fixture = try Fixture.load(name)
    var template = try template(try #require(fixture["template"]?.string))
    let cases = try #require(fixture["cases"]).list
    #expect(cases.count > 10)
    for one in cases {
      template.variables = [:]
      for field in one["variables"]?.fields ?? [] { template.variables[field.key] = field.value }
      let messages = try #require(one["messages"]).messages()
      let generation = one["add_generation_prompt"] == .bool(true)
      let tools = one["tools"] ?? .null
      func render() throws -> String {
        if one["continue_final_message"] == .bool(true) {
          var messages = messages
          if tools != .null { messages[0].fields.append(.init("tools", tools)) }
          return try template.prompt(messages).map(\.text).joined()
        }
        return try template.render(messages, addGenerationPrompt: generation, tools: tools)
      }
      if let text = one["text"]?.string {
        let ours = try render()
        #expect(Array(ours.utf8) == Array(text.utf8), "\(name): \(messages)")
      } else {
        #expect(throws: DataError.self, "\(one["error"]?.string ?? "")") { try render() }
      }
    }
  }

  @Test func `every construct renders as jinja2 renders it`() throws {
    let fixture = try Fixture.load("constructs")
    let messages = try #require(fixture["messages"]).messages()
    let cases = try #require(fixture["constructs"]).list
    #expect(cases.count > 60)
    for one in cases {
      let source = try #require(one["template"]?.string)
      let ours = try template(source).render(messages, addGenerationPrompt: false)
      #expect(Array(ours.utf8) == Array(try #require(one["text"]?.string).utf8), "\(source)")
    }
  }

  @Test func `an error names the file that the template stands in`() throws {
    func template(_ source: String) throws -> ChatTemplate {
      try ChatTemplate(
        source: source, beginOfSequence: "", endOfSequence: "", place: "m/chat_template.jinja")
    }
    let user = [Message(role: "user", content: "a")]
    let parsing = #expect(throws: DataError.self) { try template("a\n{{ 1 + }}") }
    #expect(parsing?.message.hasPrefix("m/chat_template.jinja: chat template line 2: ") == true)
    let running = #expect(throws: DataError.self) {
      try template("a\n\n{{ a.b.c }}").render(user, addGenerationPrompt: false)
    }
    #expect(running?.message.hasPrefix("m/chat_template.jinja: chat template line 3: ") == true)
    let counting = try template("{{ messages | length }}")
    let rewriting = #expect(throws: DataError.self) {
      try counting.conversation(user + [Message(role: "assistant", content: "b")])
    }
    #expect(rewriting?.code == .rewritingTemplate)
    #expect(rewriting?.message.hasPrefix("m/chat_template.jinja: ") == true)
  }

  @Test func `the date is the clock's, and only a date sets it`() throws {
    let template = try ChatTemplate(
      source: "{{ strftime_now('%Y-%m-%dT%H:%M:%S') }}", beginOfSequence: "", endOfSequence: "")
    #expect(template.readsClock)
    let text = try template.render([], addGenerationPrompt: false)
    #expect(text + "Z" == template.now.ISO8601Format())
    for wrong in ["26 July 2024", "2024-02-30", "24-07-26", "2024-07-26T9:30:00", ""] {
      #expect(!TemplateClock.set(wrong), "\(wrong)")
    }
  }

  @Test func `what cannot be rendered is named with its line`() throws {
    let fixture = try Fixture.load("constructs")
    let messages = try #require(fixture["messages"]).messages()
    for one in try #require(fixture["refused"]).list {
      let source = try #require(one["template"]?.string)
      let words = try #require(one["words"]?.string)
      let error = #expect(throws: DataError.self, "\(source)") {
        try template(source).render(messages, addGenerationPrompt: false)
      }
      let message = error?.message ?? ""
      #expect(message.contains(words) && message.hasPrefix("chat template line"), "\(message)")
      #expect(error?.code == .badTemplate && !message.contains("\n"))
    }
  }
}
