// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation
import Testing

struct MessageTrainingTests {
  private func message(_ json: String) throws -> Message {
    try Message(
      json: JSONValue(parsing: json, place: "test"), at: DataPlace(file: "test", line: 1))
  }

  private func row(_ json: String) throws -> DataRow {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "data.jsonl")
    try Data((json + "\n").utf8).write(to: file)
    return try #require(try DataFile.read(file).rows.first)
  }

  @Test(arguments: [
    (#""weight": 0"#, false), (#""weight": 1"#, true), (#""weight": 1.0"#, true),
    (#""weight": null"#, true), (#""train_detail": null"#, true), (#""loss_weight": 0.0"#, false),
    (#""train": false"#, false),
    (#""train": true"#, true), (#""training": false"#, false), (#""loss": false"#, false),
    (#""name": "x""#, true), (#""weight": 1, "train": false"#, false),
  ])
  func `a turn says whether it is learned`(field: String, carries: Bool) throws {
    let turn = try message(#"{"role": "assistant", "content": "a", \#(field)}"#)
    #expect(turn.carriesLoss == carries)
    let shareGPT = try message(#"{"from": "gpt", "value": "a", \#(field)}"#)
    #expect(shareGPT.carriesLoss == carries)
    // It is written as it came.
    #expect(try message(turn.json.text).carriesLoss == carries)
  }

  @Test(arguments: [
    (#"{"role": "assistant", "content": "a", "weight": 0.5}"#, "weight is 0.5"),
    (#"{"role": "assistant", "content": "a", "train": "no"}"#, "train is \"no\""),
    (#"{"role": "user", "content": "a", "train": true}"#, "a turn of the user"),
    (#"{"role": "assistant", "content": "a", "train_detail": []}"#, "train_detail"),
    (#"{"role": "user", "content": "a", "tools": "x"}"#, "tools is a string that is not JSON"),
  ])
  func `what is not done is refused by name`(json: String, words: String) throws {
    let error = #expect(throws: DataError.self) { try message(json) }
    #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [
    #""prompt": [{"role": "user", "content": "q"}]"#,
    #""messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]"#,
    #""prompt": [{"role": "user", "content": "q"}], "completion": "a""#,
    #""prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b""#,
    #""prompt": [{"role": "user", "content": "q"}], "completion": "a", "label": true"#,
    #""prompt": [{"role": "user", "content": "q"}], "completions": ["a"], "scores": [1]"#,
    #""instruction": "q", "output": "a""#,
  ])
  func `a row's tools go with its prompt`(fields: String) throws {
    let list = #"[{"type": "function", "function": {"name": "f"}}]"#
    let expected = try JSONValue(parsing: list, place: "test")
    let quoted = JSONValue.string(list).text
    for tools in [list, quoted] {
      let row = try row("{\(fields), \"tools\": \(tools)}")
      guard case .messages(let messages)? = row.example.prompt else {
        Issue.record("no conversation")
        return
      }
      #expect(messages.tools == expected)
      // Written and read again they are there.
      guard
        case .messages(let again)? = try self.row(
          JSONValue.object([.init("prompt", .array(messages.map(\.json)))]).text
        ).example.prompt
      else { return }
      #expect(again.tools == expected)
    }
    for none in ["null", "\"\"", "[]"] {
      let row = try row("{\(fields), \"tools\": \(none)}")
      guard case .messages(let messages)? = row.example.prompt else { return }
      #expect(messages.tools ?? .array([]) == .array([]))
    }
    for (wrong, words) in [("3", "a list of tools"), ("[1]", "tools\"[0]"), ("\"{\"", "not JSON")] {
      let error = #expect(throws: DataError.self) {
        try self.row("{\(fields), \"tools\": \(wrong)}")
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test func `one list of tools goes with a conversation`() throws {
    func conversation(_ first: String, _ second: String) -> String {
      #"{"messages": [{"role": "user", "content": "q", "tools": \#(first)}, "#
        + #"{"role": "assistant", "content": "a", "tools": \#(second)}]}"#
    }
    let (one, other) = (#"[{"name": "f"}]"#, #"[{"name": "g"}]"#)
    let error = #expect(throws: DataError.self) { try row(conversation(one, other)) }
    #expect(error?.message.contains("data.jsonl:1: the \"tools\" of its messages differ") == true)
    for (first, second) in [(one, one), (one, "[]"), ("[]", one), ("null", one)] {
      guard case .text(.messages(let messages)) = try row(conversation(first, second)).example
      else {
        Issue.record("no conversation")
        return
      }
      #expect(messages.tools?.text == #"[{"name":"f"}]"#)
    }
  }

  @Test(arguments: [
    #""content": null, "function_call": {"name": "f", "arguments": "{\"x\": 1}"}"#,
    #""function_call": {"name": "f", "arguments": "{\"x\": 1}"}, "tool_calls": []"#,
    #""content": "", "function_call": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}""#,
  ])
  func `a call of a function is a call of a tool`(fields: String) throws {
    let turn = try message(#"{"role": "assistant", \#(fields)}"#)
    #expect(turn.fields.map(\.key) == ["tool_calls"] && !turn.isEmpty)
    #expect(turn.toolCalls.map(\.name) == ["f"])
    #expect(turn.toolCalls.map(\.arguments.text) == [#"{"x":1}"#])
    #expect(try message(turn.json.text) == turn)
  }

  @Test func `a call that says nothing is none, and one given twice or without a name is refused`()
    throws
  {
    for nothing in ["null", "\"\"", #"{"name": null, "arguments": ""}"#] {
      let turn = try message(
        #"{"role": "assistant", "content": "a", "function_call": \#(nothing)}"#)
      #expect(turn.fields.isEmpty)
    }
    for (fields, words) in [
      (#""function_call": {"arguments": "{}"}"#, "function_call must be an object with name"),
      (#""function_call": {"name": "f"}, "tool_calls": [{"name": "g"}]"#, "has both"),
    ] {
      let error = #expect(throws: DataError.self) {
        try message(#"{"role": "assistant", "content": "a", \#(fields)}"#)
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test func `a plan that the template does not write is refused`() throws {
    let asked = Message(role: "user", content: "q")
    let planned = try message(#"{"role": "assistant", "content": "", "tool_plan": "look it up"}"#)
    #expect(!planned.isEmpty)
    let template = try ChatTemplate(
      source: "{% for m in messages %}{{ m.content }}{% endfor %}", beginOfSequence: "",
      endOfSequence: "")
    let error = #expect(throws: DataError.self) {
      try template.requireWritten([asked, planned], answersFrom: 1)
    }
    #expect(error?.message.contains("\"tool_plan\" holds a plan") == true)
  }

  @Test func `tools beside a prompt that is a string are refused`() throws {
    let error = #expect(throws: DataError.self) {
      try row(#"{"prompt": "q", "completion": "a", "tools": [{"name": "f"}]}"#)
    }
    #expect(error?.message.contains("only a chat template writes tools") == true)
  }
}
