// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore

/// What somebody is to do next, as the page gets it: blind, so without models and numbers of answers.
struct TurnView {
  let turn: Collector.Turn
  /// What the annotator said of the question before, where it is shown again.
  var given: StandingJudgement?
  let annotator: String
  let counts: Collector.Counts
  let settings: CollectSettings

  var fields: [JSONValue.Field] {
    var fields: [JSONValue.Field]
    switch turn {
    case .waiting: fields = [.init("state", .string("waiting"))]
    case .done: fields = [.init("state", .string("done"))]
    case .question(let question):
      let shown = question.shown(to: annotator, seed: settings.seed)
      fields = [
        .init("state", .string("question")), .init("question", .string(question.key)),
        .init("prompt", MessageView.all(question.content, role: "user")),
        .init("answers", .array(shown.map { MessageView.all($0.content, role: "assistant") })),
      ]
      if let given {
        fields.append(.init("given", .object(Self.verdict(given, of: shown.map(\.number)))))
      }
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

  /// A judgement as the page sends one.
  ///
  /// - Parameter answers: The answers by their numbers, in the order in which they are shown.
  static func verdict(_ judgement: StandingJudgement, of answers: [Int64]) -> [JSONValue.Field] {
    var fields: [JSONValue.Field]
    if judgement.isThumb {
      fields = [.init("good", .bool(judgement.ranks == [1]))]
    } else {
      let ranks = Dictionary(zip(judgement.answers, judgement.ranks)) { first, _ in first }
      fields = [
        .init("ranks", .array(answers.map { .int(ranks[$0] ?? 1) })),
        .init("both_bad", .bool(judgement.outcome == .bothBad)),
      ]
      if let strength = judgement.strength { fields.append(.init("strength", .int(strength))) }
    }
    return fields + [
      .init("reason", .string(judgement.reason)), .init("time", .double(judgement.time)),
    ]
  }
}
