// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneObjectives
public import AttuneTraining
import Foundation

/// The grade that a judge expects an answer to deserve: `judge:M|URL`.
///
/// The judge reads prompt, answer and a principle and is to give a grade; the reward is Σ grade·p(grade)
/// under its log-probabilities (G-Eval: Liu et al. 2023, arXiv:2303.16634), the mean over principles,
/// which are drawn by the prompt.
public final class JudgeReward: RewardSource {
  /// `judge:smollm2`.
  public let name: String
  /// What tells it from others.
  let fingerprint: String
  private let judge: RewardJudge
  private let scale: GradeScale
  private let together: Int

  /// Makes a source.
  ///
  /// - Parameters:
  ///   - argument: What stands behind `judge:`.
  ///   - answers: Where the judge's answers are kept; nil: for as long as this lives.
  ///   - engine: What computes models.
  ///   - policy: A model that is open already.
  /// - Throws: An error that says what is wrong with argument, model or server.
  init(
    _ argument: String, answers: URL?, on engine: any Engine, beside policy: LoadedModel?
  ) throws {
    let knobs = try JudgedKnobs.reading(argument, of: .judge)
    name = "judge:\(argument)"
    scale = GradeScale(knobs.scale) ?? GradeScale()
    together = knobs.together
    judge = try RewardJudge(name, knobs, answers: answers, on: engine, beside: policy)
    fingerprint = try judge.fingerprint(with: [argument])
  }

  /// The expected grade of every answer.
  ///
  /// - Throws: `AnswerFault` where the judge gives none that can be read.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    var items: [RewardJudge.Item] = []
    var requests: [Range<Int>] = []
    var principles: [String] = []
    for group in prompts.groups {
      let prompt = prompts[group.lowerBound].content
      for principle in try judge.principles(for: prompt) {
        let first = items.count
        items += group.map {
          RewardJudge.Item(
            answer: $0, completion: completions[$0],
            question: .grade(prompt, completions[$0].text, principle: principle, scale: scale))
        }
        principles += group.map { _ in principle }
        requests += pieces(of: first..<items.count, at: together)
      }
    }
    let found = try judge.probabilities(
      items, in: requests,
      several: { request in
        .grades(
          prompts[items[request.lowerBound].answer].content,
          request.map { completions[items[$0].answer].text },
          principle: principles[request.lowerBound], scale: scale)
      }, prompts: prompts)
    var grades: [[Double]] = completions.map { _ in [] }
    for (item, shares) in zip(items, found) { grades[item.answer].append(scale.mean(shares)) }
    return grades.map(Statistics.mean)
  }

  /// What asking has cost since this was last read.
  public func takeCost() -> RewardCost? { judge.takeCost() }
}

/// A range in pieces of a length.
func pieces(of range: Range<Int>, at length: Int) -> [Range<Int>] {
  stride(from: range.lowerBound, to: range.upperBound, by: length).map {
    $0..<min($0 + length, range.upperBound)
  }
}
