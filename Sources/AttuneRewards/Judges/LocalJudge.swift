// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneData
package import AttuneEngine
package import AttuneTraining
import Foundation

/// A judge of the engine's own: options are scored, not sampled.
package final class LocalJudge: JudgeModel {
  private let loaded: LoadedModel
  private let encoder: TextEncoder
  private let pieceTokens: Int

  package var name: String { loaded.name }
  package var identity: String { "model \(loaded.fingerprint)" }
  package var dealsOut: Bool { true }
  package var readsLead: Bool { true }
  package private(set) var work = JudgeWork()

  package init(_ loaded: LoadedModel, pieceTokens: Int) throws {
    self.loaded = loaded
    self.pieceTokens = pieceTokens
    encoder = try TextEncoder(loaded)
  }

  /// Reads the probabilities of the options' first tokens that differ, after a lead.
  ///
  /// A question longer than the model reads is answered by nothing.
  package func choose(_ questions: [JudgeQuestion], told: (Int, JudgeChoice) throws -> Void) throws
  {
    // What is scored together has the same candidates.
    var groups: [[String]: [Int]] = [:]
    for (place, question) in questions.enumerated() {
      groups[question.options.map { question.lead + $0 }, default: []].append(place)
    }
    for (options, places) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
      let (common, candidates) = try tokens(of: options)
      var kept: [(place: Int, ids: [Int32])] = []
      for place in places {
        let ids = try prompt(questions[place].askingForOption) + common
        if ids.count < loaded.model.spec.maximumPositions {
          kept.append((place, ids))
        } else {
          try told(
            place,
            JudgeChoice(
              probabilities: nil,
              unread: "a question of \(ids.count) tokens is longer than it reads"))
        }
      }
      var costs: [Int] = []
      for (index, item) in kept.enumerated() {
        costs.append(
          item.ids.count - (index > 0 ? Self.shared(item.ids, kept[index - 1].ids) : 0))
      }
      // As many pieces as there are ranks at a time: what was told is not lost where a run ends.
      let pieces = cutIntoPieces(costs, budget: pieceTokens)
      let ranks = Collective.current
      for first in stride(from: 0, to: pieces.count, by: ranks.count) {
        let some = Array(pieces[first..<min(first + ranks.count, pieces.count)])
        let choices = try ranks.map(some) { piece in
          // One candidate stands at the end: the position at which all of them are scored.
          let tree = TokenTree(kept[piece].map { $0.ids + [candidates[0]] })
          let scores = try loaded.model.score(tree.segments, HeadRequest(candidates: candidates))
          return tree.leaves.map { leaf in
            let values = scores.candidates[leaf][0]
            let mass = values.reduce(0) { $0 + exp($1) }
            let top = values.max() ?? 0
            let shares = values.map { exp($0 - top) }
            let sum = shares.reduce(0, +)
            return JudgeChoice(probabilities: shares.map { $0 / sum }, mass: min(1, mass))
          }
        }
        work.calls += choices.reduce(0) { $0 + $1.count }
        work.tokens += some.joined().reduce(0) { $0 + costs[$1] + 1 }
        for (item, choice) in zip(some.flatMap { kept[$0] }, choices.joined()) {
          try told(item.place, choice)
        }
        try Interrupt.check()
      }
    }
  }

  package func write(
    _ conversations: [[Message]], about subjects: [String?], maxTokens: Int,
    told: (Int, String) throws -> Void
  ) throws {
    var settings = SampleSettings()
    settings.n = 1
    settings.temperature = 0
    settings.maxTokens = maxTokens
    var prompts: [(place: Int, ids: [Int32])] = []
    for (place, conversation) in conversations.enumerated() {
      let ids = try prompt(conversation)
      if ids.count + maxTokens <= loaded.model.spec.maximumPositions {
        prompts.append((place, ids))
      } else {
        try told(place, "")
      }
    }
    for start in stride(from: 0, to: prompts.count, by: settings.batch) {
      let batch = prompts[start..<min(start + settings.batch, prompts.count)]
      let answers = try Sampling.answers(loaded, prompts: batch.map(\.ids), settings: settings)
      work.calls += batch.count
      for (item, answers) in zip(batch, answers) {
        work.tokens += item.ids.count + answers[0].completion.ids.count
        try told(item.place, answers[0].completion.text)
      }
    }
  }

  /// Turns as the model is given them; one under the other where it has no chat template.
  private func prompt(_ messages: [Message]) throws -> [Int32] {
    if loaded.chatTemplate != nil { return try encoder.prompt(.messages(messages)) }
    return try encoder.prompt(.text(messages.map(\.content).joined(separator: "\n\n") + "\n\n"))
  }

  /// The tokens that options have in common, their lead among them, and the first token of each that
  /// tells it from the others: tokenised with the lead, as a model would write them.
  private func tokens(of options: [String]) throws -> (common: [Int32], candidates: [Int32]) {
    let ids = options.map { loaded.tokenizer.encode($0) }
    let depth = ids.dropFirst().map { Self.shared($0, ids[0]) }.min() ?? 0
    let candidates = ids.compactMap { $0.count > depth ? $0[depth] : nil }
    guard Set(candidates).count == options.count else {
      throw TrainingError(
        .badModel,
        "\(name): its tokenizer does not tell \(options.joined(separator: ", ")) apart by one token, "
          + "so it can't judge")
    }
    return (Array(ids[0].prefix(depth)), candidates)
  }

  /// How many tokens two texts have in common at their start.
  private static func shared(_ a: [Int32], _ b: [Int32]) -> Int {
    zip(a, b).prefix { $0 == $1 }.count
  }
}

/// Texts as segments of which each holds what several texts have in common, so that it is read once.
/// The last token of each text is scored.
package struct TokenTree {
  package private(set) var segments: [Segment] = []
  /// For each text the segment that it ends in.
  package private(set) var leaves: [Int]

  /// Makes a tree of texts of at least two tokens each.
  package init(_ texts: [[Int32]]) {
    leaves = Array(repeating: 0, count: texts.count)
    grow(texts, Array(texts.indices), from: 0, parent: nil)
  }

  private mutating func grow(_ texts: [[Int32]], _ places: [Int], from depth: Int, parent: Int?) {
    // Each text keeps its last token for a segment of its own.
    let limit = places.map { texts[$0].count - 1 }.min() ?? 0
    var end = depth
    while places.count > 1, end < limit,
      places.allSatisfy({ texts[$0][end] == texts[places[0]][end] })
    { end += 1 }
    var parent = parent
    if end > depth {
      segments.append(Segment(Array(texts[places[0]][depth..<end]), parent: parent))
      parent = segments.count - 1
    }
    var branches: [Int32: [Int]] = [:]
    for place in places { branches[texts[place][end], default: []].append(place) }
    for (_, branch) in branches.sorted(by: { $0.value[0] < $1.value[0] }) {
      if branch.count > 1, end + 1 < branch.map({ texts[$0].count }).min() ?? 0,
        branch.count < places.count || end > depth
      {
        grow(texts, branch, from: end, parent: parent)
        continue
      }
      for place in branch {
        let rest = Array(texts[place][end...])
        leaves[place] = segments.count
        segments.append(Segment(rest, parent: parent, scored: [rest.count - 1..<rest.count]))
      }
    }
  }
}
