// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneStore
import Synchronization

/// How often a reward model prefers what people prefer: its accuracy on labels that it has not seen,
/// unless it was trained on them.
struct RewardAccuracy: Codable, Sendable, Equatable {
  /// The accuracy on the first pairs.
  struct Point: Codable, Sendable, Equatable {
    /// How many.
    var pairs: Int
    /// Share of them that it orders as people did.
    var accuracy: Double
  }

  /// The reward model.
  var name: String
  /// Share of decided pairs that it orders as people did; nil of none.
  var accuracy: Double?
  /// Wilson's 95 % interval.
  var interval: Statistics.Interval
  /// Decided pairs of answers that it scored.
  var pairs: Int
  /// The accuracy as labels grew: of the first eighth, quarter, half, and of all.
  var growth: [Point]
}

extension Collector {
  /// What reward models said of answers, by the answers' numbers.
  struct Scores: Sendable {
    var names: [String] = []
    var byAnswer: [Int64: [Double]] = [:]
  }

  /// Questions that nobody has answered or has before them.
  public var untouched: Int { queue.withLock { $0.untouched(at: .infinity) } }

  /// Asks no question any more that nobody has answered or has before them.
  func dropUntouched() {
    let time = lastTurn.withLock { $0 }
    queue.withLock { $0.dropUntouched(at: time) }
  }

  func setScorers(_ names: [String]) { scores.withLock { $0.names = names } }

  /// Questions that are not scored yet, those that are asked sooner first.
  func unscored(_ most: Int) -> [Question] { queue.withLock { $0.unscored(most) } }

  /// Notes what reward models say: the more uncertain a question, the sooner it is asked.
  func setScores(_ values: [[Double]], of question: Question) {
    scores.withLock { scores in
      for (i, answer) in question.answers.enumerated() {
        scores.byAnswer[answer.number] = values.map { $0[i] }
      }
    }
    let uncertainty =
      question.answers.count == 1
      ? Uncertainty.ofThumb(values.map { $0[0] }) : Uncertainty.ofComparison(values)
    queue.withLock { $0.prioritise(question.key, uncertainty) }
  }

  /// How well the reward models agree with what people said so far.
  func rewardAccuracies() throws -> [RewardAccuracy] {
    let scores = scores.withLock { $0 }
    guard !scores.names.isEmpty else { return [] }
    let judgements = try store.standingJudgements().filter { !$0.isThumb }
    return scores.names.indices.map { source in
      var points: [Double] = []
      for judgement in judgements where judgement.outcome == .preferred {
        let places = judgement.answers.indices
        for i in places {
          for j in places where judgement.ranks[i] < judgement.ranks[j] {
            guard let better = scores.byAnswer[judgement.answers[i]]?[source],
              let worse = scores.byAnswer[judgement.answers[j]]?[source]
            else { continue }
            points.append(better > worse ? 1 : better == worse ? 0.5 : 0)
          }
        }
      }
      let all = points.count
      return RewardAccuracy(
        name: scores.names[source], accuracy: points.isEmpty ? nil : Statistics.mean(points),
        interval: Statistics.wilson(
          successes: points.reduce(0, +), trials: Double(all)), pairs: all,
        growth: all < 8
          ? []
          : [all / 8, all / 4, all / 2, all].map {
            .init(pairs: $0, accuracy: Statistics.mean(Array(points.prefix($0))))
          })
    }
  }
}
