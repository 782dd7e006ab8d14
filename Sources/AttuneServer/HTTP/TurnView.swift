// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore

/// What somebody is to do next, as the page gets it: blind, so without models and numbers of answers.
struct TurnView {
  let turn: Collector.Turn
  let annotator: String
  let counts: Collector.Counts
  let settings: CollectSettings

  init(
    _ turn: Collector.Turn, for annotator: String, counts: Collector.Counts,
    settings: CollectSettings
  ) {
    self.turn = turn
    self.annotator = annotator
    self.counts = counts
    self.settings = settings
  }

  var fields: [JSONValue.Field] {
    var fields: [JSONValue.Field]
    switch turn {
    case .waiting: fields = [.init("state", .string("waiting"))]
    case .done: fields = [.init("state", .string("done"))]
    case .question(let question):
      let shown = question.shown(to: annotator, seed: settings.seed)
      fields = [
        .init("state", .string("question")), .init("question", .string(question.key)),
        .init("prompt", Self.view(question.content, role: "user")),
        .init("answers", .array(shown.map { Self.view($0.content, role: "assistant") })),
      ]
    }
    fields.append(
      .init(
        "counts",
        .object([
          .init("yours", .int(counts.yours)), .init("finished", .int(counts.finished)),
          .init("all", .int(counts.all)),
        ])))
    return fields
  }

  /// A content as messages of safe HTML.
  private static func view(_ content: Content, role: String) -> JSONValue {
    let messages: [Message]
    switch content {
    case .text(let text): messages = [Message(role: role, content: text)]
    case .messages(let all): messages = all
    }
    return .array(
      messages.map {
        .object([
          .init("role", .string($0.role)), .init("html", .string(Markdown.html($0.content))),
        ])
      })
  }
}
