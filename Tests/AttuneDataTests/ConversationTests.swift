// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

private let chatML = """
  {% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}\
  {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
  """

private func template(_ source: String, end: String = "<|im_end|>") throws -> ChatTemplate {
  try ChatTemplate(source: source, beginOfSequence: "", endOfSequence: end)
}

private func text(_ pieces: [TemplatePiece]) -> String { pieces.map(\.text).joined() }

private let user = Message(role: "user", content: "Hi")

struct ConversationTests {
  @Test func `text of messages is data, whatever is done to it`() throws {
    let source = """
      {% macro wrap(x) %}[{{ x }}]{% endmacro %}{% set c = messages[0].content | trim %}\
      {{ 'T' ~ wrap(c | upper) }}{{ c.split('-')[1] + c[:2] }}{{ c.replace('b', 'T') }}\
      {{ {'k': c} | tojson }}{{ [c, 'T'] | join('|') }}{% set d %}{{ c }}{% endset %}{{ d }}
      """
    let message = Message(role: "user", content: "  ab-<|im_end|>\"x\n ")
    let pieces = try template(source).pieces([message], addGenerationPrompt: false)
    let whole = "ab-<|im_end|>\"x"
    let expected: [(String, Bool)] = [
      ("T[", false), ("AB-<|IM_END|>\"X", true), ("]", false), ("<|im_end|>\"xaba", true),
      ("T", false), ("-<|im_end|>\"x", true), ("{\"k\": \"", false),
      ("ab-<|im_end|>\\\"x", true), ("\"}", false), (whole, true), ("|T", false), (whole, true),
    ]
    #expect(pieces == expected.map { TemplatePiece(text: $0.0, isData: $0.1) })
  }

  @Test func `a role that is not known is data, a known one the template's`() throws {
    let source = "{{ '<|' + messages[0].role + '|>' }}"
    let known = try template(source).pieces([user], addGenerationPrompt: false)
    #expect(known == [TemplatePiece(text: "<|user|>", isData: false)])
    let other = try template(source).pieces(
      [Message(role: "im_end", content: "")], addGenerationPrompt: false)
    #expect(other.map(\.isData) == [false, true, false])
  }

  @Test func `a conversation is parted at its answers`() throws {
    let messages = [
      Message(role: "system", content: "S"), user,
      Message(role: "assistant", content: "\n\nA <|im_end|>\n"),
      Message(role: "user", content: "B"),
      Message(role: "assistant", content: ""),
    ]
    let template = try template(chatML)
    let parts = try template.conversation(messages)
    #expect(parts.map(\.answer) == [nil, 2, nil, 4])
    #expect(
      parts.map { text($0.pieces) } == [
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "\n\nA <|im_end|>\n<|im_end|>",
        "\n<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>",
      ])
    // The answer's own words are data, the token that ends it is not.
    #expect(parts[1].pieces.map(\.isData) == [true, false])
    let prompt = try template.pieces(Array(messages[..<2]), addGenerationPrompt: true)
    #expect(parts[0].pieces == prompt)
    #expect(try template.conversation(messages, answersFrom: 3).map(\.answer) == [nil, 4])
    // What follows the last answer is kept if it says something.
    let open = try template.conversation([user, messages[2], user])
    #expect(open.map(\.answer) == [nil, 1, nil])
    #expect(text(open[2].pieces) == "\n<|im_start|>user\nHi<|im_end|>\n")
  }

  @Test func `an answer without an end token is all that the template gives`() throws {
    let plain = try template(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        + "{% if add_generation_prompt %}assistant: {% endif %}", end: "</s>")
    let parts = try plain.conversation([user, Message(role: "assistant", content: "A")])
    #expect(parts.map { text($0.pieces) } == ["user: Hi\nassistant: ", "A\n"])
  }

  @Test func `a template that rewrites earlier turns is refused with what differs`() throws {
    let counting = try template(
      "{{ messages | length }}" + chatML)
    let error = #expect(throws: DataError.self) {
      try counting.conversation([user, Message(role: "assistant", content: "A")])
    }
    let message = error?.message ?? ""
    #expect(message.contains("prefix-preserving") && message.contains("\"2<|im_start|>user"))
    #expect(message.contains("\"1<|im_start|>user") && !message.contains("\n"))
  }

  @Test(arguments: Hostile.all)
  func `a hostile template ends in an error, soon`(hostile: Hostile) throws {
    #expect(throws: DataError.self) {
      try template(hostile.source).render([user], addGenerationPrompt: false)
    }
  }
}

/// A template that would take all time, memory or stack.
struct Hostile: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let source: String

  private static func many(_ part: String, _ count: Int = 5_000) -> String {
    String(repeating: part, count: count)
  }

  static let all: [Hostile] = [
    (
      "loops",
      "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}"
    ),
    (
      "a doubled text",
      "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        + "{% endfor %}"
    ),
    (
      "a doubled list",
      "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}"
    ),
    ("recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    ("repetition", "{{ 'a' * 9999999999999 }}"), ("a range", "{{ range(1000000000) }}"),
    ("overflow", "{{ 9223372036854775807 + 1 }}"),
    ("underflow", "{{ -9223372036854775807 - 2 }}"), ("a power", "{{ 3 ** 99999 // 0 }}"),
    ("the least number", "{{ (-9223372036854775807 - 1) // -1 }}"),
    ("an empty pattern", "{{ 'ab' | replace('', 'x') }}"),
    ("a step of 0", "{{ messages[:99][::0] }}"), ("brackets", "{{ " + many("(")),
    ("lists", "{{ " + many("[")), ("signs", "{{ " + many("-")),
    ("a sum", "{{ 1" + many(" + 1") + " }}"), ("filters", "{{ x" + many("|upper") + " }}"),
    ("negations", "{{ " + many("not ") + "1 }}"), ("blocks", many("{% if 1 %}")),
    ("size", many("x", 2 << 20)),
  ].map { Hostile(testDescription: $0.0, source: $0.1) }
}
