// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneTraining
import Foundation

/// The share of criteria that an answer meets, by weight, as a judge sees it: `rubric:M|URL`.
///
/// Σ w·p(yes) / Σ w over the criteria of the answer's row or of a file, each judged alone by the probability
/// of Yes against No (explicit aggregation in Rubrics as Rewards: Gunjal et al. 2025, arXiv:2507.17746;
/// there yes counts 1 and no 0).
public final class RubricReward: RewardSource {
  /// `rubric:smollm2,criteria=kind.jsonl`.
  public let name: String
  /// What tells it from others.
  let fingerprint: String
  private let judge: RewardJudge
  /// Those of the file; nil: they stand in the row.
  private let criteria: [Criterion]?
  private let column: String
  private let together: Int

  /// Makes a source.
  ///
  /// - Parameters:
  ///   - argument: What stands behind `rubric:`.
  ///   - answers: Where the judge's answers are kept; nil: for as long as this lives.
  ///   - engine: What computes models.
  ///   - policy: A model that is open already.
  /// - Throws: An error that says what is wrong with argument, file, model or server.
  init(
    _ argument: String, answers: URL?, on engine: any Engine, beside policy: LoadedModel?
  ) throws {
    let knobs = try JudgedKnobs.reading(argument, of: .rubric)
    name = "rubric:\(argument)"
    criteria = knobs.criteria.isEmpty ? nil : try Criterion.list(inFile: knobs.criteria)
    column = knobs.column
    together = knobs.together
    judge = try RewardJudge(name, knobs, answers: answers, on: engine, beside: policy)
    let listed = (criteria ?? []).map { "\($0.weight) \($0.text)" }
    fingerprint = try judge.fingerprint(with: [argument] + listed)
  }

  /// Whether the criteria stand in the row.
  public var readsRows: Bool { criteria == nil }

  /// Refuses a row without criteria.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    if criteria == nil { _ = try Criterion.list(in: row.json, column: column, at: place) }
  }

  /// The weighted mean probability of Yes of every answer.
  ///
  /// - Throws: `AnswerFault` where the judge says nothing that can be read.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    var items: [RewardJudge.Item] = []
    var requests: [Range<Int>] = []
    var asked: [Criterion] = []
    for group in prompts.groups {
      let prompt = prompts[group.lowerBound]
      let own =
        try criteria
        ?? prompt.reading(for: name, answer: group.lowerBound) {
          try Criterion.list(in: $0.json, column: column, at: $1)
        }
      for answer in group {
        let first = items.count
        items += own.map {
          RewardJudge.Item(
            answer: answer, completion: completions[answer],
            question: .criterion(prompt.content, completions[answer].text, $0.text))
        }
        asked += own
        requests += pieces(of: first..<items.count, at: together)
      }
    }
    let found = try judge.probabilities(
      items, in: requests,
      several: { request in
        let answer = items[request.lowerBound].answer
        return .criteria(
          prompts[answer].content, completions[answer].text, asked[request].map(\.text))
      }, prompts: prompts)
    var sums = completions.map { _ in (met: 0.0, weight: 0.0) }
    for ((item, criterion), shares) in zip(zip(items, asked), found) {
      sums[item.answer].met += criterion.weight * shares[0]
      sums[item.answer].weight += criterion.weight
    }
    return sums.map { $0.met / $0.weight }
  }

  /// What asking has cost since this was last read.
  public func takeCost() -> RewardCost? { judge.takeCost() }
}
