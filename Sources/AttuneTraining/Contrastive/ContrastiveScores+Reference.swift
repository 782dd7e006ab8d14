// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneObjectives
import Foundation

extension ContrastiveScores {
  /// The sums of log-probability of every answer of some groups, without a gradient.
  private func sums(
    _ model: any LanguageModel, _ groups: [EncodedGroup],
    trunk: ([EncodedGroup], [Segment]) throws -> (any Trunk)?
  ) throws -> [[Double]] {
    let pieces = cutIntoPieces(groups, for: model, budget: pieceTokens)
    return try Collective.current.map(pieces) { piece in
      try Interrupt.check()
      let made = segments(groups[piece])
      let lower = try trunk(Array(groups[piece]), made.segments)
      let scores = try model.score(
        made.segments, trunk: lower.flatMap { model.accepts($0) ? $0 : nil })
      return made.answers.map { $0.map { Self.sum(scores.logProbabilities[$0]) } }
    }.flatMap(\.self)
  }

  /// Sums as `sums` has them; an answer that is part of many rows is scored once.
  ///
  /// Pairs made from rankings repeat every answer: of ten answers each is part of nine pairs.
  private func once(
    _ model: any LanguageModel, _ groups: [EncodedGroup]
  ) throws -> [[Double]] {
    var merged: [EncodedGroup] = []
    var place: [[Int32]: Int] = [:]
    var answerPlace: [[EncodedAnswer: Int]] = []
    let indices = groups.map { group in
      let at = place[group.prompt] ?? merged.count
      if at == merged.count {
        place[group.prompt] = at
        merged.append(group)
        merged[at].answers = []
        answerPlace.append([:])
      }
      return (
        at,
        group.answers.map { answer in
          let index = answerPlace[at][answer] ?? merged[at].answers.count
          if index == merged[at].answers.count {
            answerPlace[at][answer] = index
            merged[at].answers.append(answer)
          }
          return index
        }
      )
    }
    let tokens = { (groups: [EncodedGroup]) in groups.reduce(0) { $0 + $1.tokens } }
    // Where little repeats, the rows' own passes leave the lower layers' results for training.
    guard 2 * tokens(merged) < tokens(groups) else {
      return try sums(model, groups) { try trunks.trunk(for: $0, segments: $1) }
    }
    let values = try sums(model, merged) { _, _ in nil }
    return indices.map { at, answers in answers.map { values[at][$0] } }
  }

  /// The companions under policy and reference; empty where rows have none.
  func companions(of rows: [ContrastiveRow<Label>]) throws -> [ScoredResponse] {
    let groups = rows.compactMap(\.companion)
    guard !groups.isEmpty else { return [] }
    let policy = try sums(self.policy, groups) { _, _ in nil }
    let known = rows.compactMap(\.companionReference)
    let reference =
      known.count == groups.count
      ? known : try sums(self.reference(), groups) { _, _ in nil }
    return groups.indices.map { i in
      ScoredResponse(
        policy: policy[i][0], reference: reference[i][0],
        tokens: groups[i].answers[0].scored.reduce(0) { $0 + $1.count })
    }
  }

  /// Gives rows the reference's log-probability of their companions.
  func addCompanionReference(to rows: inout [ContrastiveRow<Label>]) throws {
    let groups = rows.compactMap(\.companion)
    guard groups.count == rows.count, !rows.isEmpty else { return }
    let values = try sums(reference(), groups) { _, _ in nil }
    for i in rows.indices { rows[i].companionReference = values[i] }
  }

  /// Gives rows the reference's log-probabilities: from the file beside the data, or computed now
  /// and written there; rows in memory have no such place.
  func addReference(
    to rows: inout [ContrastiveRow<Label>], of data: DataFile, say: (String) -> Void
  ) throws {
    guard let origin else { return }
    let groups = rows.map(\.encoded)
    let file =
      data.isInMemory ? nil : try ReferenceFile(data: data, reference: origin, groups: groups)
    let values: [[Double]]
    if let file, let kept = file.read() {
      say("log-probabilities of the reference: \(file.url.lastPathComponent)")
      values = kept
    } else {
      say("log-probabilities of the reference, once for all \(rows.count) rows")
      values = try once(origin.model, groups)
      if let failure = file?.write(values) { say("they are not kept for the next run: \(failure)") }
    }
    for i in rows.indices { rows[i].reference = values[i] }
  }
}
